import GraftIR

/// BatchNormalization: opset 9 dropped `spatial`, opset 14 has a switch for training and other outputs.
enum BatchNormalizationOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(
            ["BatchNormalization"], 9,
            up: { editor in
                guard try editor.reader.flag("spatial", default: true) else {
                    throw editor.refusal("statistics of each activation (spatial 0) went with opset 9")
                }
                editor.set("spatial", to: nil)
            }),
        OpsetAdapter(["BatchNormalization"], 14, up: up, down: down),
    ]

    private static func up(_ editor: inout OpsetEditor) throws {
        let node = editor.node
        guard node.outputs.count > 1 else { return }
        for index in [4, 3] { try editor.dropUnusedOutput(index) }
        if editor.isUsed(output: 3) || editor.isUsed(output: 4) {
            throw editor.refusal("its saved statistics are used, which went with opset 14")
        }
        let trains = node.outputs.dropFirst().contains { $0 != nil }
        var attributes = editor.node.attributes
        if trains { attributes["training_mode"] = .int(1) }
        try editor.rebuild(node.op, node.inputs, trains ? Array(node.outputs.prefix(3)) : [node.outputs[0]], attributes)
    }

    private static func down(_ editor: inout OpsetEditor) throws {
        let node = editor.node
        var attributes = node.attributes
        attributes["training_mode"] = nil
        if try editor.reader.flag("training_mode") {
            // Before opset 14 a node trains where it makes all five outputs.
            var outputs = node.outputs
            while outputs.count < 5 { outputs.append(nil) }
            for (index, name) in [(1, "mean"), (2, "var"), (3, "saved_mean"), (4, "saved_var")]
            where outputs[index] == nil {
                outputs[index] = editor.graph.addValue(editor.freshName(name))
            }
            try editor.rebuild(node.op, node.inputs, outputs, attributes)
        } else {
            if editor.isUsed(output: 1) || editor.isUsed(output: 2) {
                throw editor.refusal("its running statistics are used outside training")
            }
            if node.outputs.count > 1 {
                try editor.rebuild(node.op, node.inputs, [node.outputs[0]], attributes)
            } else {
                editor.set("training_mode", to: nil)
            }
        }
    }
}

import GraftIR

/// Max, Min, Mean and Sum broadcast their inputs since opset 8.
enum BroadcastOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Max", "Min", "Mean", "Sum"], 8, down: down)
    ]

    private static func down(_ editor: inout OpsetEditor) throws {
        let node = editor.node
        let shapes = node.inputs.map { editor.shape($0)?.extents }
        let isSame = shapes.allSatisfy { $0 != nil && $0 == shapes[0] && !($0 ?? []).contains(.unknown) }
        if isSame || node.inputs.count < 2 { return }
        guard node.op.type == "Sum" || node.op.type == "Mean" else {
            throw editor.refusal("inputs of several shapes came with opset 8")
        }
        // Add broadcasts since opset 7.
        var sum = node.inputs[0]
        for input in node.inputs.dropFirst().dropLast(node.op.type == "Sum" ? 1 : 0) {
            sum = editor.emit("Add", [sum, input])
        }
        if node.op.type == "Sum" {
            try editor.replace("Add", [sum, node.inputs[node.inputs.count - 1]])
        } else {
            let count = try editor.scalar(Double(node.inputs.count), like: node.inputs[0], "count")
            try editor.replace("Div", [sum, count])
        }
    }
}

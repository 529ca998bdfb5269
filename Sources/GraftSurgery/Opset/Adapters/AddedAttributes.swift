import GraftCore
import GraftIR

/// Attributes, inputs and outputs that a version added and whose absence means what it always meant.
///
/// Going up nothing changes. Going down they are taken away where they say what the older version does anyway.
enum AddedAttributes: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] =
        [
            added(["ArgMax", "ArgMin"], 12, "select_last_index", .int(0)),
            added(["AveragePool"], 10, "ceil_mode", .int(0)),
            added(["AveragePool"], 19, "dilations", .ints([1])),
            added(["Attention"], 25, "left_window_size", .int(-1)),
            added(["Attention"], 25, "right_window_size", .int(-1)),
            added(["DepthToSpace"], 11, "mode", .string("DCR")),
            added(["GRU", "LSTM", "RNN"], 14, "layout", .int(0)),
            added(["GatherND"], 12, "batch_dims", .int(0)),
            added(["LpPool"], 18, "ceil_mode", .int(0)),
            added(["LpPool"], 18, "dilations", .ints([1])),
            added(["MaxPool"], 8, "storage_order", .int(0)),
            added(["MaxPool"], 10, "ceil_mode", .int(0)),
            added(["MaxPool"], 10, "dilations", .ints([1])),
            added(["Range"], 27, "stash_type", .int(1)),
            added(["ScatterElements", "ScatterND"], 16, "reduction", .string("none")),
            added(["SpaceToDepth"], 28, "mode", .string("DCR")),
            added(["TopK"], 11, "largest", .int(1)),
            // Sorted results are one of the orders that an unsorted TopK may give.
            OpsetAdapter(["TopK"], 11, down: { $0.set("sorted", to: nil) }),
            OpsetAdapter(
                ["MaxPool"], 8,
                down: { editor in
                    if editor.isUsed(output: 1) {
                        throw editor.refusal("its indices are used, which came with opset 8")
                    }
                    try editor.dropUnusedOutput(1)
                }),
            OpsetAdapter(
                ["Attention"], 24,
                down: { editor in
                    if editor.input(6) != nil { throw editor.refusal("the lengths of its keys came with opset 24") }
                }),
            OpsetAdapter(
                ["OptionalHasElement"], 18,
                down: { editor in
                    if editor.input(0) == nil { throw editor.refusal("an input that is left out came with opset 18") }
                }),
            OpsetAdapter(
                ["Scan"], 9,
                up: { throw $0.refusal("Scan of opset 8 runs over a batch, which later versions do not") },
                down: { throw $0.refusal("Scan of opset 8 runs over a batch, which this node does not") }),
            OpsetAdapter(
                ["ScatterElements", "ScatterND"], 18,
                down: { editor in
                    if let kind = try editor.reader.string("reduction"), ["max", "min"].contains(kind) {
                        throw editor.refusal("the reduction \(kind) came with opset 18")
                    }
                }),
            // The softened rule of opset 13 takes C as given; before opset 11 it had to be there.
            OpsetAdapter(
                ["Gemm"], 11,
                down: { editor in
                    guard editor.input(2) == nil else { return }
                    let type = try editor.requiredElementType(editor.input(0))
                    guard let zero = Tensor.filled(0, type, shape: [1]) else {
                        throw editor.refusal("there is no zero of type \(type.name)")
                    }
                    editor.setInput(2, to: editor.stored(zero, "zero"))
                }),
            OpsetAdapter(
                ["Pow"], 12,
                down: { editor in
                    let base = try editor.requiredElementType(editor.input(0))
                    guard try editor.requiredElementType(editor.input(1)) != base else { return }
                    let cast = editor.emit("Cast", [editor.input(1)], ["to": .int(Int(base.rawValue))])
                    editor.setInput(1, to: cast)
                }),
        ]

    private static func added(
        _ operators: [String], _ version: Int, _ attribute: String, _ neutral: AttributeValue
    ) -> OpsetAdapter {
        OpsetAdapter(
            operators, version,
            down: { editor in
                guard let value = editor.node.attributes[attribute] else { return }
                guard isNeutral(value, neutral) else {
                    throw editor.refusal("the attribute \"\(attribute)\" came with opset \(version)")
                }
                editor.set(attribute, to: nil)
            })
    }

    private static func isNeutral(_ value: AttributeValue, _ neutral: AttributeValue) -> Bool {
        if case .ints(let all) = value, case .ints(let one) = neutral { return all.allSatisfy { [$0] == one } }
        return value == neutral
    }
}

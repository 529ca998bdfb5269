import GraftCore
import GraftIR

/// Axes that were an attribute and became an input.
enum AxesOpset: OpsetAdapterFamily {
    private static let reductions = [
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
        "ReduceSumSquare",
    ]

    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(
            ["Squeeze", "Unsqueeze"], 13, up: { try $0.moveToInput("axes", 1) },
            down: { try $0.moveToAttribute("axes", 1) }),
        OpsetAdapter(["ReduceSum"], 13, up: reductionUp, down: reductionDown),
        OpsetAdapter(reductions, 18, up: reductionUp, down: reductionDown),
    ]

    private static func reductionUp(_ editor: inout OpsetEditor) throws {
        if editor.node.attributes.ints("axes") == [] { editor.set("axes", to: nil) }
        try editor.moveToInput("axes", 1)
    }

    private static func reductionDown(_ editor: inout OpsetEditor) throws {
        let keepsAll = try editor.reader.flag("noop_with_empty_axes")
        let axes = editor.input(1) == nil ? [] : try editor.constantIntegers(1, "axes")
        if axes.isEmpty, keepsAll {
            guard ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"].contains(editor.node.op.type)
            else { throw editor.refusal("a reduction over no axes came with its present version") }
            return try editor.replace("Identity", [editor.input(0)])
        }
        editor.set("noop_with_empty_axes", to: nil)
        if axes.isEmpty {
            if editor.input(1) != nil { editor.setInput(1, to: nil) }
        } else {
            try editor.moveToAttribute("axes", 1)
        }
    }
}

/// Axes and indices counted from the end, which came with opset 11.
enum NegativeAxesOpset: OpsetAdapterFamily {
    private static let listed = [
        "ArgMax", "ArgMin", "Compress", "Concat", "Flatten", "Hardmax", "LogSoftmax", "ReduceL1", "ReduceL2",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare", "Softmax", "Split", "Squeeze", "Unsqueeze",
    ]

    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(listed, 11, down: axes),
        OpsetAdapter(["Gather"], 11, down: indices),
    ]

    private static func axes(_ editor: inout OpsetEditor) throws {
        let axis = try editor.reader.int("axis")
        let axes = try editor.reader.ints("axes")
        guard axis ?? 0 < 0 || (axes ?? []).contains(where: { $0 < 0 }) else { return }
        let rank: Int
        if editor.node.op.type == "Unsqueeze" {
            rank = try editor.requiredRank(editor.input(0)) + (axes?.count ?? 0)
        } else {
            rank = try editor.requiredRank(editor.input(0))
        }
        if let axis { editor.set("axis", to: .int(try editor.normalized([axis], rank: rank)[0])) }
        if let axes { editor.set("axes", to: .ints(try editor.normalized(axes, rank: rank))) }
    }

    private static func indices(_ editor: inout OpsetEditor) throws {
        guard let id = editor.input(1), let values = editor.integers(id), values.contains(where: { $0 < 0 }),
            let tensor = editor.constant(id)
        else { return }
        let data = editor.shape(editor.input(0))
        let axis = try editor.reader.int("axis", default: 0)
        guard let data, let front = try editor.normalized([axis], rank: data.rank).first,
            let count = data[front].count
        else { throw editor.refusal("indices counted from the end need the extent of the axis, which is not known") }
        let positive = values.map { Int64($0 < 0 ? $0 + count : $0) }
        let fresh =
            tensor.elementType == .int32
            ? Tensor(positive.map { Int32(truncatingIfNeeded: $0) }, shape: tensor.shape)
            : Tensor(positive, shape: tensor.shape)
        editor.setInput(1, to: editor.stored(fresh, "indices"))
    }
}

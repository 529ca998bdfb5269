import GraftIR

/// Softmax, LogSoftmax and Hardmax: before opset 13 all axes from `axis` on count as one, since then only the one.
enum SoftmaxOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Softmax", "LogSoftmax", "Hardmax"], 13, up: up, down: down)
    ]

    private static func up(_ editor: inout OpsetEditor) throws {
        let axis = try editor.reader.int("axis", default: 1)
        let x = try editor.requiredInput(0)
        if axis == -1 { return }
        if let shape = editor.shape(x) {
            let front = axis < 0 ? axis + shape.rank : axis
            let rest = shape.dimensions.dropFirst(front + 1)
            if front >= 0, front < shape.rank, rest.allSatisfy({ $0.count == 1 }) {
                return editor.set("axis", to: .int(rest.isEmpty ? -1 : front))
            }
        }
        let shape = editor.emit("Shape", [x])
        let flat = editor.emit("Flatten", [x], ["axis": .int(axis)])
        editor.setInput(0, to: flat)
        editor.set("axis", to: .int(-1))
        try editor.follow { _, result in ("Reshape", [result, shape], [:]) }
    }

    private static func down(_ editor: inout OpsetEditor) throws {
        let axis = try editor.reader.int("axis", default: -1)
        let x = try editor.requiredInput(0)
        if axis == -1 { return editor.set("axis", to: .int(-1)) }
        let rank = try editor.requiredRank(x)
        guard let front = try editor.normalized([axis], rank: rank).first else { return }
        editor.set("axis", to: .int(rank - 1))
        let rest = editor.shape(x)?.dimensions.dropFirst(front + 1) ?? []
        if rest.allSatisfy({ $0.count == 1 }) { return editor.set("axis", to: .int(front)) }
        var order = Array(0..<rank)
        order.swapAt(front, rank - 1)
        editor.setInput(0, to: editor.emit("Transpose", [x], ["perm": .ints(order)]))
        try editor.follow { _, result in ("Transpose", [result], ["perm": .ints(order)]) }
    }
}

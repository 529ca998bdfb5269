import GraftIR

/// Slice and TopK: settings became inputs with opset 10.
enum SliceOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Slice"], 10, up: up, down: down),
        OpsetAdapter(
            ["TopK"], 10, up: { try $0.moveToInput("k", 1) }, down: { try $0.moveToAttribute("k", 1, isScalar: true) }),
    ]

    private static func up(_ editor: inout OpsetEditor) throws {
        try editor.moveToInput("starts", 1)
        try editor.moveToInput("ends", 2)
        try editor.moveToInput("axes", 3)
    }

    private static func down(_ editor: inout OpsetEditor) throws {
        if editor.input(4) != nil {
            guard try editor.constantIntegers(4, "steps").allSatisfy({ $0 == 1 }) else {
                throw editor.refusal("steps came with opset 10")
            }
            editor.setInput(4, to: nil)
        }
        if editor.input(3) != nil {
            let axes = try editor.constantIntegers(3, "axes")
            if axes.contains(where: { $0 < 0 }) {
                let front = try editor.normalized(axes, rank: editor.requiredRank(editor.input(0)))
                editor.setInput(3, to: editor.stored(front, "axes"))
            }
        }
        // All are looked at before one is moved, so that a refusal names the right one.
        let starts = try editor.constantIntegers(1, "starts")
        let ends = try editor.constantIntegers(2, "ends")
        let axes = editor.input(3) == nil ? nil : try editor.constantIntegers(3, "axes")
        editor.setInputs([editor.input(0)])
        editor.set("starts", to: .ints(starts))
        editor.set("ends", to: .ints(ends))
        if let axes { editor.set("axes", to: .ints(axes)) }
    }
}

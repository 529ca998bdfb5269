import GraftIR

/// Reshape got `allowzero` with opset 14, Shape a range of axes with 15, ConstantOfShape and Expand came late.
enum ShapeOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(
            ["Reshape"], 14,
            down: { editor in
                if try editor.reader.flag("allowzero") {
                    guard let target = editor.integers(editor.input(1)), !target.contains(0) else {
                        throw editor.refusal("a 0 in its target that means no elements came with opset 14")
                    }
                }
                editor.set("allowzero", to: nil)
            }),
        OpsetAdapter(["Shape"], 15, down: shapeDown),
    ]

    private static func shapeDown(_ editor: inout OpsetEditor) throws {
        let start = try editor.reader.int("start", default: 0)
        let end = try editor.reader.int("end")
        editor.set("start", to: nil)
        editor.set("end", to: nil)
        guard start != 0 || end != nil else { return }
        try editor.follow { editor, whole in
            let bounds: [ValueID?] = [editor.stored([start], "start"), editor.stored([end ?? Int(Int32.max)], "end")]
            return ("Slice", [whole] + bounds + [editor.stored([0], "axes")], [:])
        }
    }
}

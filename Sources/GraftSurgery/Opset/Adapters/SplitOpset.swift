import GraftIR

/// Split: the parts became an input with opset 13, their number an attribute with 18.
enum SplitOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(
            ["Split"], 13, up: { try $0.moveToInput("split", 1) }, down: { try $0.moveToAttribute("split", 1) }),
        OpsetAdapter(
            ["Split"], 18,
            up: { editor in
                if editor.input(1) == nil { editor.set("num_outputs", to: .int(editor.node.outputs.count)) }
            }, down: down),
    ]

    private static func down(_ editor: inout OpsetEditor) throws {
        guard let number = try editor.reader.int("num_outputs") else { return }
        editor.set("num_outputs", to: nil)
        guard editor.input(1) == nil, number > 0 else { return }
        let axis = try editor.reader.int("axis", default: 0)
        guard let shape = editor.shape(editor.input(0)),
            let count = shape[try editor.normalized([axis], rank: shape.rank)[0]].count
        else { throw editor.refusal("whether its parts are equal depends on an extent that is not known") }
        guard count % number != 0 else { return }
        let each = (count + number - 1) / number
        let last = count - each * (number - 1)
        guard last >= 0 else { throw editor.refusal("\(count) entries cannot be \(number) parts") }
        let parts = [Int](repeating: each, count: number - 1) + [last]
        editor.setInput(1, to: editor.stored(parts, "split"))
    }
}

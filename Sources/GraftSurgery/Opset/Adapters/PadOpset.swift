import GraftCore
import GraftIR

/// Pad: paddings and value became inputs with opset 11, axes came with 18, wrapping with 19.
enum PadOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Pad"], 11, up: up, down: down),
        OpsetAdapter(["Pad"], 18, down: withoutAxes),
        OpsetAdapter(
            ["Pad"], 19,
            down: { editor in
                if try editor.reader.string("mode") == "wrap" {
                    throw editor.refusal("padding that wraps around came with opset 19")
                }
            }),
    ]

    private static func up(_ editor: inout OpsetEditor) throws {
        let value = try editor.reader.float("value", default: 0)
        editor.set("value", to: nil)
        try editor.moveToInput("pads", 1)
        if value != 0 { editor.setInput(2, to: try editor.scalar(Double(value), like: editor.input(0), "value")) }
    }

    private static func down(_ editor: inout OpsetEditor) throws {
        if editor.input(2) != nil {
            guard let value = try editor.constant(editor.input(2))?.floats().first else {
                throw editor.refusal("the number it pads with is computed while the model runs")
            }
            editor.setInput(2, to: nil)
            editor.set("value", to: .float(value))
        }
        try editor.moveToAttribute("pads", 1)
    }

    private static func withoutAxes(_ editor: inout OpsetEditor) throws {
        guard editor.input(3) != nil else { return }
        let rank = try editor.requiredRank(editor.input(0))
        let axes = try editor.normalized(editor.constantIntegers(3, "axes"), rank: rank)
        let pads = try editor.constantIntegers(1, "paddings")
        guard pads.count == axes.count * 2 else { throw editor.refusal("its paddings do not fit its axes") }
        var full = [Int](repeating: 0, count: rank * 2)
        for (index, axis) in axes.enumerated() {
            full[axis] = pads[index]
            full[rank + axis] = pads[axes.count + index]
        }
        editor.setInput(3, to: nil)
        editor.setInput(1, to: editor.stored(full, "pads"))
    }
}

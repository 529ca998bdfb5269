import GraftCore
import GraftIR

/// QuantizeLinear and DequantizeLinear: axes came with opset 13, blocks and output types with 21 and 23.
enum QuantizationOpset: OpsetAdapterFamily {
    private static let both = ["QuantizeLinear", "DequantizeLinear"]

    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(
            both, 13,
            down: { editor in
                guard editor.shape(editor.input(1))?.counts.flatMap({ Checked.product($0) }) == 1 else {
                    throw editor.refusal("a scale for each entry of an axis came with opset 13")
                }
                editor.set("axis", to: nil)
            }),
        OpsetAdapter(["QuantizeLinear"], 19, down: { $0.set("saturate", to: nil) }),
        OpsetAdapter(
            both, 21,
            down: { editor in
                if try editor.reader.int("block_size", default: 0) != 0 {
                    throw editor.refusal("scales for blocks came with opset 21")
                }
                editor.set("block_size", to: nil)
                guard editor.node.op.type == "QuantizeLinear", let type = try editor.reader.elementType("output_dtype")
                else { return editor.set("output_dtype", to: nil) }
                if editor.input(2) == nil, type != .uint8 { try addZeroPoint(type, &editor) }
                editor.set("output_dtype", to: nil)
            }),
        OpsetAdapter(
            ["DequantizeLinear"], 23,
            down: { editor in
                if let type = try editor.reader.elementType("output_dtype"),
                    type != editor.elementType(editor.input(1))
                {
                    throw editor.refusal("another output type than the scale's came with opset 23")
                }
                editor.set("output_dtype", to: nil)
            }),
        OpsetAdapter(
            ["QuantizeLinear"], 23,
            down: { editor in
                if try editor.reader.int("precision", default: 0) != 0 {
                    throw editor.refusal("the attribute \"precision\" came with opset 23")
                }
                editor.set("precision", to: nil)
            }),
    ]

    private static func addZeroPoint(_ type: ElementType, _ editor: inout OpsetEditor) throws {
        guard let shape = editor.shape(editor.input(1))?.counts, (Checked.product(shape) ?? .max) < 1 << 24 else {
            throw editor.refusal("its output type needs a zero point of the scale's shape, which is not known")
        }
        editor.setInput(2, to: editor.stored(Tensor.zeros(type, shape: shape), "zero_point"))
    }
}

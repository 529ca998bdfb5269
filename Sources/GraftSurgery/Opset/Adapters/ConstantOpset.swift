import GraftCore
import GraftIR

/// Constant: opset 11 added sparse tensors, opset 12 numbers, texts and lists of them.
enum ConstantOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(
            ["Constant"], 11,
            down: { editor in
                if editor.reader.has("sparse_value") { throw editor.refusal("sparse constants came with opset 11") }
            }),
        OpsetAdapter(["Constant"], 12, down: down),
    ]

    private static func down(_ editor: inout OpsetEditor) throws {
        for attribute in editor.node.attributes.all where attribute.name.hasPrefix("value_") {
            let tensor: Tensor
            switch attribute.value {
            case .float(let number): tensor = Tensor(scalar: number)
            case .floats(let numbers): tensor = Tensor(numbers)
            case .int(let number): tensor = Tensor(scalar: number)
            case .ints(let numbers): tensor = Tensor(numbers)
            case .string(let text): tensor = try Tensor(.string, shape: [], storage: .strings([text]))
            case .strings(let texts): tensor = try Tensor(.string, shape: [texts.count], storage: .strings(texts))
            default: throw editor.refusal("\(attribute.name) came with opset 12")
            }
            editor.set(attribute.name, to: nil)
            editor.set("value", to: .tensor(tensor))
        }
    }
}

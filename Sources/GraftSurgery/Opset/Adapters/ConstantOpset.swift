import GraftCore
import GraftIR

/// Constant: opset 9 added types that are no floating-point numbers, 11 sparse tensors, 12 numbers, texts and lists.
enum ConstantOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Constant"], 9, down: stored),
        OpsetAdapter(
            ["Constant"], 11,
            down: { editor in
                if editor.reader.has("sparse_value") { throw editor.refusal("sparse constants came with opset 11") }
            }),
        OpsetAdapter(["Constant"], 12, down: down),
    ]

    /// Other types than floating-point numbers are stored tensors instead, which any type may be.
    private static func stored(_ editor: inout OpsetEditor) throws {
        guard case .tensor(var stored)? = editor.node.attributes["value"], !editor.isFunction,
            ![.float32, .float64, .float16].contains(stored.tensor.elementType)
        else { return }
        let output = try editor.requiredOutput()
        stored.name = ""
        editor.graph.removeNode(editor.id)
        editor.graph.setInitializer(output, stored)
    }

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

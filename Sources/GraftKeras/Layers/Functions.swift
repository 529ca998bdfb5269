import GraftCore
import GraftIR

/// Calls of TensorFlow functions in Keras 2 models: element-wise arithmetic and rectifiers.
enum FunctionLayers: LayerFamily {
    static let classNames = ["TFOpLambda"]

    private static let binary: [String: String] = [
        "math.add": "Add", "__operators__.add": "Add", "math.subtract": "Sub", "math.multiply": "Mul",
        "math.truediv": "Div", "math.divide": "Div", "math.maximum": "Max", "math.minimum": "Min",
    ]
    private static let unary: [String: String] = [
        "nn.relu": "relu", "nn.relu6": "relu6", "math.sigmoid": "sigmoid", "nn.sigmoid": "sigmoid",
        "math.tanh": "tanh", "nn.softmax": "softmax", "nn.silu": "silu", "nn.swish": "silu", "math.exp": "exponential",
    ]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        guard let function = layer["function"]?.string else {
            throw layer.malformed("function", expected: "the name of a function")
        }
        if let name = unary[function] {
            return [try Activation.apply(named: name, layer, to: single(layer, inputs), &builder)]
        }
        guard let op = binary[function] else { throw layer.unsupported("the function \(function)") }
        if inputs.count == 2 { return [try MergingLayers.binary(op, layer, inputs[0], inputs[1], &builder)] }
        let input = try single(layer, inputs)
        guard let constant = builder.keyword("y")?.double else {
            throw layer.unsupported("the function \(function) of something else than tensors and one number")
        }
        let operand = builder.constant("y", Tensor(scalar: Float(constant)))
        let value = builder.emit(op, [input.value, operand], shape: input.storedShape)
        return [ImportedTensor(value: value, shape: input.shape, layout: input.layout)]
    }
}

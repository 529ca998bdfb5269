import GraftCore

/// Steps of optimizers in ONNX's domain for training, where each output replaces the input of the same meaning; and the
/// gradients that they need.
enum PreviewOptimizers: OperatorFamily {
    private static let domain = "ai.onnx.preview.training"

    static let schemas: [OperatorSchema] = [
        // (rate, step, parameters..., gradients..., states...) -> (parameters..., states...), one or two states each.
        schema("Adagrad", states: 1), schema("Adam", states: 2), schema("Momentum", states: 1),
        // (xs..., zs...) -> (the derivative of y by each of xs...); y, xs and zs are names in attributes.
        OperatorSchema(
            OperatorName("Gradient", domain: domain), inputs: 1...OperatorSchema.many, outputs: 1...OperatorSchema.many,
            gradient: .unsupported(reason: "the gradient that it stands for is not spelled out"),
            inference: { context in
                for output in 0..<min(context.node.outputs.count, context.node.inputs.count) {
                    context.setType(context.type(output), of: output)
                }
            }),
    ]

    private static func schema(_ type: String, states: Int) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type, domain: domain), inputs: 3...OperatorSchema.many, outputs: 1...OperatorSchema.many,
            gradient: .none,
            inference: { context in
                let given = context.node.inputs.count - 2
                guard given % (states + 2) == 0 else {
                    throw context.failure("has \(given) tensors, which are not \(states + 2) for each parameter")
                }
                let parameters = given / (states + 2)
                for output in 0..<min(context.node.outputs.count, parameters * (states + 1)) {
                    // Gradients lie between the parameters and their states, and have no output.
                    let input = 2 + output + (output < parameters ? 0 : parameters)
                    context.setType(context.type(input), of: output)
                }
            })
    }
}

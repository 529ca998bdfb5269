import GraftCore

/// Steps of optimizers, as operators of ``graftDomain``: each output replaces the input of the same meaning, in place.
enum Optimizers: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        // (parameter, gradient, momentum buffer, rate, weight decay, step[, gradient scale]) -> (parameter, momentum
        // buffer); attributes: momentum, dampening, nesterov. The step counts from 1 for each parameter.
        OperatorSchema(
            OperatorName("SGDStep", domain: graftDomain), inputs: 6...7, outputs: 2...2, gradient: .none,
            inference: { context in
                try checkShapes(context, same: [1, 2])
                context.setType(context.type(0))
                context.setType(context.type(2), of: 1)
            }),
        // (parameter, gradient, first moment, second moment, rate, weight decay, step[, gradient scale])
        // -> (parameter, first moment, second moment); attributes: beta1, beta2, epsilon.
        OperatorSchema(
            OperatorName("AdamWStep", domain: graftDomain), inputs: 7...8, outputs: 3...3, gradient: .none,
            inference: { context in
                try checkShapes(context, same: [1, 2, 3])
                context.setType(context.type(0))
                context.setType(context.type(2), of: 1)
                context.setType(context.type(3), of: 2)
            }),
        // (limit, gradients...) -> (scale, norm): the factor that brings the gradients' common norm under the limit.
        OperatorSchema(
            OperatorName("GradientScale", domain: graftDomain), inputs: 2...OperatorSchema.many, outputs: 1...2,
            gradient: .none,
            inference: { context in
                context.setTensor(.float32, [])
                context.setTensor(.float32, [], of: 1)
            }),
    ]

    private static func checkShapes(_ context: InferenceContext, same inputs: [Int]) throws {
        guard let parameter = context.shape(0) else { return }
        for input in inputs {
            if let shape = context.shape(input), shape.plain.unified(with: parameter.plain) == nil {
                throw context.failure("input \(input) has the shape \(shape), but the parameter \(parameter)")
            }
        }
    }
}

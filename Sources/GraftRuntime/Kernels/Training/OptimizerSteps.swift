import GraftCore
import GraftIR

/// The update rules of optimizers, one parameter a node, in place where the executor allows it.
///
/// `SGDStep(parameter, gradient, momentum, rate, decay, step[, scale]) → (parameter, momentum)` and
/// `AdamWStep(parameter, gradient, mean, square, rate, decay, step[, scale]) → (parameter, mean, square)`; `rate`, `decay`
/// and `scale` are float scalars, `step` is an int64 scalar that is 1 at the parameter's first step; `scale` multiplies
/// the gradient first. The formulas are those of `torch.optim.SGD` and `torch.optim.AdamW`.
/// `GradientScale(limit, gradients...) → (scale, norm)`: what clips the gradients' common norm to a limit, by the rule of
/// `torch.nn.utils.clip_grad_norm_`.
enum OptimizerStepKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "SGDStep", domain: graftDomain, isPure: false,
                prepare: { node in
                    SGDSettings(
                        momentum: node.attributes.float("momentum") ?? 0,
                        dampening: node.attributes.float("dampening") ?? 0,
                        isNesterov: (node.attributes.int("nesterov") ?? 0) != 0)
                }, run: sgdStep),
            .function(
                "AdamWStep", domain: graftDomain, isPure: false,
                prepare: { node in
                    AdamWSettings(
                        beta1: node.attributes.float("beta1") ?? 0.9, beta2: node.attributes.float("beta2") ?? 0.999,
                        epsilon: node.attributes.float("epsilon") ?? 1e-8)
                }, run: adamWStep),
            .function("GradientScale", domain: graftDomain, isPure: false, run: gradientScale),
        ]
    }

    private struct SGDSettings: Sendable {
        let momentum: Float
        let dampening: Float
        let isNesterov: Bool
    }

    private struct AdamWSettings: Sendable {
        let beta1: Float
        let beta2: Float
        let epsilon: Float
    }

    /// The tensors of the state, ready to be written, and the gradient beside them.
    private static func state(_ context: KernelContext, slots: Int) throws -> ([RuntimeTensor], RuntimeTensor) {
        let shape = try context.input(0).shape
        var targets: [RuntimeTensor] = []
        for output in 0...slots {
            // Output 0 is the parameter, the others are the inputs after the gradient.
            let input = output == 0 ? 0 : output + 1
            _ = try context.plain(input, .float32)
            let target = try context.output(output, reusing: input, .float32, shape)
            let source = try context.plain(input, .float32)
            guard source.shape == shape else {
                throw KernelFailure("input \(input) has the shape \(source.shape), not \(shape)")
            }
            if source.pointer != target.pointer {
                target.pointer.copyMemory(from: source.pointer, byteCount: source.byteCount)
            }
            targets.append(target)
        }
        let gradient = try context.plain(1, .float32)
        guard gradient.shape == shape else {
            throw KernelFailure("the gradient has the shape \(gradient.shape), the parameter \(shape)")
        }
        return (targets, gradient)
    }

    private static func scalar(_ context: KernelContext, _ index: Int) throws -> Float {
        guard let value = try context.numbers(index).first else { throw KernelFailure("input \(index) is empty") }
        return value
    }

    private static func step(_ context: KernelContext, _ index: Int) throws -> Int {
        guard let value = try context.integers(index).first, value >= 1 else {
            throw KernelFailure("the step of an update counts from 1")
        }
        return value
    }

    private static func sgdStep(_ settings: SGDSettings, _ context: KernelContext) throws {
        let rate = try scalar(context, 3)
        let decay = try scalar(context, 4)
        let isFirst = try step(context, 5) == 1
        let scale = context.has(6) ? try scalar(context, 6) : 1
        let (targets, gradientTensor) = try state(context, slots: 1)
        let (weights, momentum, gradient) = (targets[0].floats, targets[1].floats, gradientTensor.floats)
        let kept = isFirst ? 0 : settings.momentum
        let added = isFirst ? 1 : 1 - settings.dampening
        let (ahead, isNesterov) = (settings.momentum, settings.isNesterov)
        Parallel.forEachRange(gradientTensor.count, grain: 16_384) { range in
            for i in range {
                let g = gradient[i] * scale + decay * weights[i]
                let b = kept * momentum[i] + added * g
                momentum[i] = b
                weights[i] -= rate * (isNesterov ? g + ahead * b : b)
            }
        }
    }

    private static func adamWStep(_ settings: AdamWSettings, _ context: KernelContext) throws {
        let rate = try scalar(context, 4)
        let decay = try scalar(context, 5)
        let step = try step(context, 6)
        let scale = context.has(7) ? try scalar(context, 7) : 1
        let (targets, gradientTensor) = try state(context, slots: 2)
        let (weights, mean, square) = (targets[0].floats, targets[1].floats, targets[2].floats)
        let gradient = gradientTensor.floats
        let (beta1, beta2, epsilon) = (settings.beta1, settings.beta2, settings.epsilon)
        let correction1 = 1 - power(Double(beta1), step)
        let correction2 = 1 - power(Double(beta2), step)
        let stepSize = Float(Double(rate) / correction1)
        let root = Float(correction2.squareRoot())
        let shrink = 1 - rate * decay
        Parallel.forEachRange(gradientTensor.count, grain: 16_384) { range in
            for i in range {
                let g = gradient[i] * scale
                let m = mean[i] + (1 - beta1) * (g - mean[i])
                let v = beta2 * square[i] + (1 - beta2) * g * g
                mean[i] = m
                square[i] = v
                weights[i] = weights[i] * shrink - stepSize * m / (v.squareRoot() / root + epsilon)
            }
        }
    }

    private static func power(_ base: Double, _ exponent: Int) -> Double {
        var result = 1.0
        var factor = base
        var left = exponent
        while left > 0 {
            if left & 1 == 1 { result *= factor }
            factor *= factor
            left >>= 1
        }
        return result
    }

    private static func gradientScale(_ context: KernelContext) throws {
        let limit = try scalar(context, 0)
        var sum = 0.0
        for index in 1..<max(1, context.inputCount) {
            let gradient = try context.plain(index, .float32)
            let values = gradient.floats
            var part = 0.0
            for i in 0..<gradient.count { part += Double(values[i]) * Double(values[i]) }
            sum += part
        }
        let norm = Float(sum.squareRoot())
        try context.output(0, .float32, []).floats[0] = min(1, limit / (norm + 1e-6))
        if context.outputCount > 1 { try context.output(1, .float32, []).floats[0] = norm }
    }
}

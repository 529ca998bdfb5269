import COneDNN
import GraftCore
import GraftIR

/// Activations of onnxruntime's domain: forms of Gelu with a bias before them, and sums with a bias.
enum ContributedActivationKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            activation("Gelu") { _ in Activation(GDNN_GELU_ERF) },
            activation("BiasGelu") { _ in Activation(GDNN_GELU_ERF) },
            activation("FastGelu") { _ in Activation(GDNN_GELU_TANH) },
            activation("QuickGelu") { Activation(GDNN_SWISH, alpha: $0.attributes.float("alpha") ?? 1.702) },
            KernelDefinition("BiasSplitGelu", domain: contributedDomain, widens: true) { _ in BiasSplitGeluKernel() },
            .function("BiasAdd", domain: contributedDomain, widens: true) { context in
                let y = try biased(context)
                let skip = try context.plain(2, .float32)
                guard skip.shape == y.shape else { throw KernelFailure("a skip of shape \(skip.shape) for \(y.shape)") }
                let (target, other) = (y.floats, skip.floats)
                Parallel.forEachRange(y.count, grain: 16384) { for index in $0 { target[index] += other[index] } }
            },
        ]
    }

    private static func activation(
        _ type: String, _ make: @escaping @Sendable (KernelNode) -> Activation
    ) -> KernelDefinition {
        KernelDefinition(type, domain: contributedDomain, widens: true) { BiasedActivationKernel(make($0)) }
    }

    /// Output 0: the first input plus a bias along its last axis, where there is one.
    fileprivate static func biased(_ context: KernelContext) throws -> RuntimeTensor {
        let shape = try context.plain(0, .float32).shape
        let bias = context.has(1) ? try context.plain(1, .float32) : nil
        if let bias, bias.count != shape.last ?? 1 {
            throw KernelFailure("a bias of \(bias.count) for an input of shape \(shape)")
        }
        let y = try context.output(0, reusing: 0, .float32, shape)
        let (source, target) = (try context.plain(0).floats, y.floats)
        let length = max(1, shape.last ?? 1)
        Parallel.forEachRange(y.count / length, grain: max(1, 16384 / length)) { range in
            for row in range {
                let (from, to) = (source + row * length, target + row * length)
                if let bias = bias?.floats {
                    for index in 0..<length { to[index] = from[index] + bias[index] }
                } else if from != to {
                    to.update(from: from, count: length)
                }
            }
        }
        return y
    }
}

/// An activation of the sum with a bias along the last axis.
final class BiasedActivationKernel: Kernel {
    private let runner: ElementwiseRunner

    init(_ activation: Activation) { runner = ElementwiseRunner(activation) }

    func run(_ context: KernelContext) throws {
        let y = try ContributedActivationKernels.biased(context)
        try runner.run(y.pointer, y.pointer, y.count, context.arena)
    }
}

/// `(x + bias)` split along the last axis: the first half times the Gelu of the second.
final class BiasSplitGeluKernel: Kernel {
    private let gelu = ElementwiseRunner(Activation(GDNN_GELU_ERF))

    func run(_ context: KernelContext) throws {
        let (x, bias) = (try context.plain(0, .float32), try context.plain(1, .float32))
        guard let width = x.shape.last, width % 2 == 0, bias.count == width else {
            throw KernelFailure("an input of shape \(x.shape) and a bias of \(bias.count)")
        }
        let half = width / 2
        let y = try context.output(0, .float32, Array(x.shape.dropLast()) + [half])
        guard y.count > 0 else { return }
        let gate = try context.temporary(.float32, y.shape)
        let (source, shift, other, target) = (x.floats, bias.floats, gate.floats, y.floats)
        let rows = y.count / half
        Parallel.forEachRange(rows, grain: max(1, 16384 / width)) { range in
            for row in range {
                let from = source + row * width + half
                for index in 0..<half { other[row * half + index] = from[index] + shift[half + index] }
            }
        }
        try gelu.run(gate.pointer, gate.pointer, gate.count, context.arena)
        Parallel.forEachRange(rows, grain: max(1, 16384 / width)) { range in
            for row in range {
                let from = source + row * width
                for index in 0..<half {
                    target[row * half + index] = (from[index] + shift[index]) * other[row * half + index]
                }
            }
        }
    }
}

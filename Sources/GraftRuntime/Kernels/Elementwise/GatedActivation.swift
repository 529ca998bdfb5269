import COneDNN
import GraftCore
import GraftIR

/// SwiGLU: a Swish that gates a second operand.
enum GatedActivationKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("SwiGLU", opsets: 28...KernelRegistry.newestOpset, widens: true) { node in
                SwiGLUKernel(alpha: node.attributes.float("alpha") ?? 1)
            }
        ]
    }
}

final class SwiGLUKernel: Kernel {
    private let alpha: Float
    private let swish: ElementwiseRunner

    init(alpha: Float) {
        self.alpha = alpha
        swish = ElementwiseRunner(Activation(GDNN_SWISH, alpha: alpha))
    }

    func run(_ context: KernelContext) throws {
        let (a, b) = (try context.plain(0), try context.plain(1))
        guard a.shape == b.shape, a.elementType == b.elementType else {
            throw KernelFailure("operands \(a.elementType.name) \(a.shape) and \(b.elementType.name) \(b.shape)")
        }
        let y = try context.output(0, a.elementType, a.shape)
        switch a.elementType {
        case .float32:
            try swish.run(a.pointer, y.pointer, y.count, context.arena)
            let (other, target) = (b.floats, y.floats)
            Parallel.forEachRange(y.count, grain: 16384) { for index in $0 { target[index] *= other[index] } }
        case .float64:
            let (gate, other, target) = (a.typed(Double.self), b.typed(Double.self), y.typed(Double.self))
            let alpha = Double(alpha)
            Parallel.forEachRange(y.count, grain: 8192) { range in
                for index in range {
                    target[index] = gate[index] / (1 + (-alpha * gate[index]).exponential) * other[index]
                }
            }
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }
}

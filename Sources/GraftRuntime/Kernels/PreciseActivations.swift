import CNumerics
import COneDNN
import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// Activations that do not go through oneDNN: 64-bit ones, and those whose small results it computes inexactly.
enum PreciseActivations {
    /// Computes output 0 where the activation and the type of input 0 ask for it.
    static func run(_ activation: Activation, _ context: KernelContext) throws -> Bool {
        switch (context.elementType(0), activation.algorithm) {
        case (.float32, GDNN_LOG): try mapVectors(context, cvectormath_log)
        case (.float32, GDNN_SOFTPLUS): try mapVectors(context, cvectormath_softplus)
        case (.float64, _): try mapDoubles(context, activation)
        default: return false
        }
        return true
    }

    private static func mapVectors(
        _ context: KernelContext, _ function: (UnsafePointer<Float>?, UnsafeMutablePointer<Float>?, Int) -> Void
    ) throws {
        let (shape, layout) = try { (try context.input(0).shape, try context.input(0).layout) }()
        let y = try context.output(0, reusing: 0, .float32, shape, layout: layout).floats
        let x = try context.input(0)
        let (source, count) = (x.floats, x.count)
        Parallel.forEachRange(count, grain: 8192) { function(source + $0.lowerBound, y + $0.lowerBound, $0.count) }
    }

    private static func mapDoubles(_ context: KernelContext, _ activation: Activation) throws {
        let alpha = Double(activation.alpha)
        func map(_ function: (Double) -> Double) throws {
            try ElementwiseKernels.map(Double.self, context, function)
        }
        func softplus(_ x: Double) -> Double { max(x, 0) + log1p(exp(-abs(x))) }
        switch activation.algorithm {
        case GDNN_RELU: try map { $0 > 0 ? $0 : $0.isNaN ? $0 : alpha == 0 ? 0 : alpha * $0 }
        case GDNN_LOGISTIC: try map { 1 / (1 + exp(-$0)) }
        case GDNN_TANH: try map { tanh($0) }
        case GDNN_ELU: try map { $0 > 0 ? $0 : alpha * expm1($0) }
        case GDNN_SOFTPLUS: try map { softplus($0) }
        case GDNN_HARDSWISH: try map { $0 * max(0, min(1, $0 / 6 + 0.5)) }
        case GDNN_MISH: try map { $0 * tanh(softplus($0)) }
        case GDNN_GELU_ERF: try map { 0.5 * $0 * (1 + erf($0 * 0.5.squareRoot())) }
        case GDNN_GELU_TANH:
            try map { x in
                0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
            }
        case GDNN_SWISH: try map { $0 / (1 + exp(-alpha * $0)) }
        case GDNN_EXP: try map { exp($0) }
        case GDNN_LOG: try map { log($0) }
        case GDNN_SQRT: try map { $0.squareRoot() }
        default: throw KernelFailure("elements of type double")
        }
    }
}

import CNumerics
import COneDNN
import GraftCore

/// Activations that do not go through oneDNN, because it computes their small results inexactly or moves large tensors
/// through the caches.
enum PreciseActivations {
    /// A function of many numbers: where they are, where the results go, how many there are, and whether the results go
    /// past the caches.
    typealias VectorFunction = (UnsafePointer<Float>?, UnsafeMutablePointer<Float>?, Int, Int32) -> Void

    /// Computes output 0 where the activation and the type of input 0 ask for it.
    static func run(_ activation: Activation, _ context: KernelContext) throws -> Bool {
        switch (context.elementType(0), activation.algorithm) {
        case (.float32, GDNN_LOG): try mapVectors(context, cvectormath_log)
        case (.float32, GDNN_SOFTPLUS): try mapVectors(context, cvectormath_softplus)
        case (.float32, GDNN_EXP) where !context.isBlocked(0): try mapVectors(context, cvectormath_exp)
        case (.float32, GDNN_LOGISTIC) where !context.isBlocked(0): try mapVectors(context, cvectormath_sigmoid)
        case (.float32, GDNN_TANH) where !context.isBlocked(0): try mapVectors(context, cvectormath_tanh)
        case (.float32, GDNN_SQRT) where !context.isBlocked(0): try mapVectors(context, cvectormath_sqrt)
        case (.float32, GDNN_RELU) where !context.isBlocked(0):
            let slope = activation.alpha
            try mapVectors(context) { cvectormath_slope($0, slope, $1, $2, $3) }
        default: return false
        }
        return true
    }

    /// Computes output 0 with a function of many numbers.
    static func mapVectors(
        _ context: KernelContext, _ function: VectorFunction
    ) throws {
        let (shape, layout) = try { (try context.input(0).shape, try context.input(0).layout) }()
        let y = try context.output(0, reusing: 0, .float32, shape, layout: layout).floats
        let x = try context.input(0)
        let (source, count) = (x.floats, x.count)
        let streams =
            UnsafePointer(source) != UnsafePointer(y) && Streaming.isWorthwhile(count * MemoryLayout<Float>.size)
        Parallel.forEachRange(count, grain: 8192) {
            function(source + $0.lowerBound, y + $0.lowerBound, $0.count, streams ? 1 : 0)
            Streaming.finish(streams)
        }
    }
}

import COneDNN
import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Element-wise functions on numbers that oneDNN has no kernels for: float64, and integers where ONNX allows them.
enum WideElementwise {
    /// The function of an operator on float64; nil for another operator.
    static func function(_ node: KernelNode) -> ((Double) -> Double)? {
        func number(_ name: String, _ otherwise: Double) -> Double {
            node.attributes.float(name).map { Double($0) } ?? otherwise
        }
        switch node.op.type {
        case "Exp": return { exp($0) }
        case "Log": return { log($0) }
        case "Sqrt": return { $0.squareRoot() }
        case "Sigmoid": return { logistic($0) }
        case "Tanh": return { tanh($0) }
        case "Softplus": return { softplus($0) }
        case "Mish": return { $0 * tanh(softplus($0)) }
        case "HardSwish": return { $0 * min(max($0 / 6 + 0.5, 0), 1) }
        case "LeakyRelu":
            let alpha = number("alpha", 0.01)
            return { $0 < 0 ? alpha * $0 : $0 }
        case "ThresholdedRelu":
            let alpha = number("alpha", 1)
            return { $0 > alpha ? $0 : 0 }
        case "Elu":
            let alpha = number("alpha", 1)
            return { $0 < 0 ? alpha * expm1($0) : $0 }
        case "Celu":
            let alpha = number("alpha", 1)
            return { max(0, $0) + min(0, alpha * expm1($0 / alpha)) }
        case "Selu":
            let alpha = number("alpha", 1.67326319217681884765625)
            let gamma = number("gamma", 1.05070102214813232421875)
            return { gamma * ($0 > 0 ? $0 : alpha * expm1($0)) }
        case "HardSigmoid":
            let (alpha, beta) = (number("alpha", Double(Float(0.2))), number("beta", 0.5))
            return { min(max(alpha * $0 + beta, 0), 1) }
        case "Swish":
            let alpha = number("alpha", 1)
            return { $0 * logistic(alpha * $0) }
        case "Gelu":
            if node.attributes.string("approximate") == "tanh" {
                return { geluTanh($0) }
            }
            return { gelu($0) }
        case "Shrink":
            let (lambda, bias) = (number("lambd", 0.5), number("bias", 0))
            return { $0 < -lambda ? $0 + bias : $0 > lambda ? $0 - bias : 0 }
        default: return nil
        }
    }

    private static func gelu(_ x: Double) -> Double { x / 2 * (1 + erf(x / 2.0.squareRoot())) }
    private static func geluTanh(_ x: Double) -> Double {
        x / 2 * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    }
    private static func logistic(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
    private static func softplus(_ x: Double) -> Double { max(x, 0) + log1p(exp(-abs(x))) }

    /// Runs a function of one operand on float64 or, through it, on integers: those of at most 32 bits exactly.
    static func map(_ context: KernelContext, _ function: (Double) -> Double) throws {
        context.set(0, try mapped(context.input(0), context, function))
    }

    private static func mapped(
        _ tensor: RuntimeTensor, _ context: KernelContext, _ function: (Double) -> Double
    ) throws -> RuntimeTensor {
        let x = try context.cast(tensor, .float64)
        let y = try context.temporary(.float64, x.shape, layout: x.layout)
        let (source, target) = (x.typed(Double.self), y.typed(Double.self))
        Parallel.forEachRange(x.count, grain: 4096) { range in
            for index in range { target[index] = function(source[index]) }
        }
        return try context.cast(y, tensor.elementType)
    }

    /// What a fused activation makes of a tensor that is not float32.
    static func applied(
        _ activation: Activation, _ tensor: RuntimeTensor, _ context: KernelContext
    ) throws -> RuntimeTensor {
        let (alpha, beta) = (Double(activation.alpha), Double(activation.beta))
        func run(_ function: (Double) -> Double) throws -> RuntimeTensor { try mapped(tensor, context, function) }
        switch activation.algorithm {
        case GDNN_RELU: return try run { $0 < 0 ? alpha * $0 : $0 }
        case GDNN_CLIP: return try run { min(max($0, alpha), beta) }
        case GDNN_LOGISTIC: return try run { logistic($0) }
        case GDNN_TANH: return try run { tanh($0) }
        case GDNN_ELU: return try run { $0 < 0 ? alpha * expm1($0) : $0 }
        case GDNN_SWISH: return try run { $0 * logistic(alpha * $0) }
        case GDNN_GELU_ERF: return try run { gelu($0) }
        case GDNN_GELU_TANH: return try run { geluTanh($0) }
        case GDNN_SOFTPLUS: return try run { softplus($0) }
        case GDNN_MISH: return try run { $0 * tanh(softplus($0)) }
        case GDNN_HARDSWISH: return try run { $0 * min(max($0 / 6 + 0.5, 0), 1) }
        case GDNN_EXP: return try run { exp($0) }
        case GDNN_LOG: return try run { log($0) }
        case GDNN_SQRT: return try run { $0.squareRoot() }
        default: throw KernelFailure("an activation of elements of type \(tensor.elementType.name)")
        }
    }

    /// Relu on float64 and signed integers.
    static func relu(_ context: KernelContext) throws {
        switch try context.input(0).elementType {
        case .float64: try ElementwiseKernels.map(Double.self, context) { $0 > 0 || $0.isNaN ? $0 : 0 }
        case .int8: try ElementwiseKernels.map(Int8.self, context) { max($0, 0) }
        case .int16: try ElementwiseKernels.map(Int16.self, context) { max($0, 0) }
        case .int32: try ElementwiseKernels.map(Int32.self, context) { max($0, 0) }
        case .int64: try ElementwiseKernels.map(Int64.self, context) { max($0, 0) }
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    /// PRelu on float64 and integers.
    static func prelu(_ context: KernelContext) throws {
        switch try context.input(0).elementType {
        case .float64: try prelu(Double.self, context) { $0 < 0 ? $0 * $1 : $0 }
        case .int32: try prelu(Int32.self, context) { $0 < 0 ? $0 &* $1 : $0 }
        case .int64: try prelu(Int64.self, context) { $0 < 0 ? $0 &* $1 : $0 }
        case .uint32, .uint64: context.set(0, try context.input(0))
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    @inline(__always)
    private static func prelu<T: TensorElement>(
        _ type: T.Type, _ context: KernelContext, _ function: (T, T) -> T
    ) throws {
        guard try context.input(1).elementType == T.elementType else {
            throw KernelFailure("operands of different types")
        }
        let (tensors, walk) = try context.broadcast([0, 1])
        let y = try context.output(0, T.elementType, walk.shape, layout: walk.layout)
        combine(
            walk, UnsafePointer(tensors[0].typed(T.self)), UnsafePointer(tensors[1].typed(T.self)), y.typed(T.self),
            function)
    }
}

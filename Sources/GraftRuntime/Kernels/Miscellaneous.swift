import COneDNN
import GraftCore
import GraftIR

/// LRN, Pow and Mod.
enum MiscellaneousKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("LRN", widens: true) { LocalResponseKernel($0) },
            .function("Pow", prepare: { LegacyAxis($0) }, run: { try powerKernel($1, $0) }),
            .function("Mod", prepare: { $0.attributes.int("fmod") ?? 0 != 0 }, run: { try modulo($1, truncates: $0) }),
        ]
    }

    private static func powerKernel(_ context: KernelContext, _ axis: LegacyAxis?) throws {
        if let axis { try axis.align(context) }
        let type = try context.input(0).elementType
        let exponentType = try context.input(1).elementType
        // The exponent may have another type; products of whole numbers stay exact up to 2^53.
        if type == .float32, exponentType == .float32 {
            if try context.input(1).count == 1 {
                let exponent = try context.numbers(1)[0]
                let (shape, layout) = (try context.input(0).shape, try context.input(0).layout)
                guard try Broadcast.shape([shape, context.input(1).shape]) == shape else {
                    return try runPower(context)
                }
                let y = try context.output(0, .float32, shape, layout: layout)
                let (source, target) = (try context.input(0).floats, y.floats)
                Parallel.forEachRange(y.count, grain: 8192) { range in
                    switch exponent {
                    case 2: for index in range { target[index] = source[index] * source[index] }
                    case 3: for index in range { target[index] = source[index] * source[index] * source[index] }
                    case 0.5: for index in range { target[index] = source[index].squareRoot() }
                    case -1: for index in range { target[index] = 1 / source[index] }
                    default: for index in range { target[index] = power(source[index], exponent) }
                    }
                }
                return
            }
            try runPower(context)
            return
        }
        let base = try context.cast(context.input(0), .float64)
        context.replaceInput(0, base)
        context.replaceInput(1, try context.cast(context.input(1), .float64))
        let (tensors, walk) = try context.broadcast([0, 1])
        let result = try context.temporary(.float64, walk.shape, layout: walk.layout)
        combine(
            walk, UnsafePointer(tensors[0].typed(Double.self)), UnsafePointer(tensors[1].typed(Double.self)),
            result.typed(Double.self)
        ) { power($0, $1) }
        context.set(0, try context.cast(result, type))
    }

    private static func runPower(_ context: KernelContext) throws {
        let (tensors, walk) = try context.broadcast([0, 1])
        let y = try context.output(0, .float32, walk.shape, layout: walk.layout)
        combine(walk, UnsafePointer(tensors[0].floats), UnsafePointer(tensors[1].floats), y.floats) { power($0, $1) }
    }

    private static func modulo(_ context: KernelContext, truncates: Bool) throws {
        switch try context.input(0).elementType {
        case .float32: try moduloFloating(Float.self, context, truncates)
        case .float64: try moduloFloating(Double.self, context, truncates)
        case .float16, .bfloat16:
            let type = try context.input(0).elementType
            context.replaceInput(0, try context.cast(context.input(0), .float32))
            context.replaceInput(1, try context.cast(context.input(1), .float32))
            try moduloFloating(Float.self, context, truncates)
            if case .tensor(let y)? = context.output(at: 0) { context.set(0, try context.cast(y, type)) }
        case .int8: try moduloInteger(Int8.self, context, truncates)
        case .int16: try moduloInteger(Int16.self, context, truncates)
        case .int32: try moduloInteger(Int32.self, context, truncates)
        case .int64: try moduloInteger(Int64.self, context, truncates)
        case .uint8: try moduloInteger(UInt8.self, context, truncates)
        case .uint16: try moduloInteger(UInt16.self, context, truncates)
        case .uint32: try moduloInteger(UInt32.self, context, truncates)
        case .uint64: try moduloInteger(UInt64.self, context, truncates)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static func moduloFloating<T: BinaryFloatingPoint & TensorElement>(
        _ type: T.Type, _ context: KernelContext, _ truncates: Bool
    ) throws {
        if truncates { return try modulo(T.self, context) { $0.truncatingRemainder(dividingBy: $1) } }
        try modulo(T.self, context) { a, b in
            let remainder = a.truncatingRemainder(dividingBy: b)
            // A zero takes the sign of the divisor, as in Python.
            if remainder == 0 { return T(signOf: b, magnitudeOf: 0) }
            return (remainder < 0) != (b < 0) ? remainder + b : remainder
        }
    }

    private static func moduloInteger<T: FixedWidthInteger & TensorElement>(
        _ type: T.Type, _ context: KernelContext, _ truncates: Bool
    ) throws {
        try modulo(T.self, context) { a, b in
            guard b != 0 else { return 0 }
            let remainder = a.remainderReportingOverflow(dividingBy: b).partialValue
            // Python's remainder has the sign of the divisor.
            return !truncates && remainder != 0 && (remainder < 0) != (b < 0) ? remainder &+ b : remainder
        }
    }

    @inline(__always)
    private static func modulo<T: TensorElement>(
        _ type: T.Type, _ context: KernelContext, _ function: (T, T) -> T
    ) throws {
        let (tensors, walk) = try context.broadcast([0, 1])
        guard tensors[1].elementType == tensors[0].elementType else {
            throw KernelFailure("operands of different types")
        }
        let y = try context.output(0, T.elementType, walk.shape, layout: walk.layout)
        combine(
            walk, UnsafePointer(tensors[0].typed(T.self)), UnsafePointer(tensors[1].typed(T.self)), y.typed(T.self),
            function)
    }
}

extension KernelContext {
    /// A tensor with its elements converted to another type; the tensor itself where it has the type.
    func cast(_ tensor: RuntimeTensor, _ type: ElementType) throws -> RuntimeTensor {
        tensor.elementType == type ? tensor : try CastKernels.cast(self, tensor, to: type)
    }
}

/// Local response normalization across channels.
final class LocalResponseKernel: Kernel {
    private let size: Int
    private let (alpha, beta, bias): (Float, Float, Float)

    init(_ node: KernelNode) {
        size = node.attributes.int("size") ?? 1
        alpha = node.attributes.float("alpha") ?? 0.0001
        beta = node.attributes.float("beta") ?? 0.75
        bias = node.attributes.float("bias") ?? 1
    }

    func run(_ context: KernelContext) throws {
        let x = try context.channelsLast(0)
        guard x.elementType == .float32, size >= 1 else { throw KernelFailure("elements of \(x.elementType.name)") }
        let y = try context.output(0, .float32, x.shape, layout: .channelsLast)
        let channels = x.shape[1]
        let (before, after) = ((size - 1) / 2, size / 2)
        let (source, target) = (x.floats, y.floats)
        let (scale, beta, bias) = (alpha / Float(size), beta, bias)
        Parallel.forEachRange(x.count / max(1, channels), grain: max(1, 512 / max(1, channels))) { range in
            for row in range {
                let (from, to) = (source + row * channels, target + row * channels)
                for c in 0..<channels {
                    var sum: Float = 0
                    for other in max(0, c - before)...min(channels - 1, c + after) { sum += from[other] * from[other] }
                    let base = bias + scale * sum
                    to[c] =
                        from[c]
                        * (beta == 0.75
                            ? 1 / (base.squareRoot() * base.squareRoot().squareRoot())
                            : power(base, -beta))
                }
            }
        }
    }
}

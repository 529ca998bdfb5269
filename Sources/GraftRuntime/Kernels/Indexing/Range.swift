import GraftCore
import GraftIR

/// Range.
enum RangeKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("Range") { context in
                let type = try context.input(0).elementType
                switch type {
                case .float32: try fill(Float.self, type, context) { $0 + Float($2) * $1 }
                case .float64: try fill(Double.self, type, context) { $0 + Double($2) * $1 }
                case .float16: try fillHalf(context)
                case .bfloat16: try fillBFloat(context)
                case .int64: try fill(Int64.self, type, context) { $0 &+ Int64($2) &* $1 }
                case .int32: try fill(Int32.self, type, context) { $0 &+ Int32(truncatingIfNeeded: $2) &* $1 }
                case .int16: try fill(Int16.self, type, context) { $0 &+ Int16(truncatingIfNeeded: $2) &* $1 }
                default: throw KernelFailure("elements of type \(type.name)")
                }
            }
        ]
    }

    /// The number of elements: max(ceil((limit - start) / delta), 0), the Range page of the ONNX reference.
    private static func count(_ start: Double, _ limit: Double, _ step: Double) throws -> Int {
        guard step != 0 else { throw KernelFailure("a step of 0") }
        let length = ((limit - start) / step).rounded(.up)
        guard length.isFinite, length < 1e15 else { throw KernelFailure("a range of \(length) elements") }
        return max(0, Int(length))
    }

    private static func single<T: BitwiseCopyable>(
        _ context: KernelContext, _ input: Int, _ type: ElementType, as element: T.Type
    ) throws -> T {
        let tensor = try context.plain(input, type)
        guard tensor.count == 1 else { throw KernelFailure("input \(input) has \(tensor.count) elements, not one") }
        return tensor.typed(T.self).pointee
    }

    private static func fill<T: BinaryInteger & BitwiseCopyable>(
        _ element: T.Type, _ type: ElementType, _ context: KernelContext, _ value: (T, T, Int) -> T
    ) throws {
        let start = try single(context, 0, type, as: T.self)
        let limit = try single(context, 1, type, as: T.self)
        let step = try single(context, 2, type, as: T.self)
        // Whole numbers beyond 2^53 count exactly.
        guard step != 0 else { throw KernelFailure("a step of 0") }
        let (span, overflow) = Int(limit).subtractingReportingOverflow(Int(start))
        guard !overflow else { throw KernelFailure("a range from \(start) to \(limit)") }
        let isEmpty = span == 0 || (span < 0) != (step < 0)
        let count = isEmpty ? 0 : (span - (span > 0 ? 1 : -1)).dividedReportingOverflow(by: Int(step)).partialValue + 1
        try fill(context, type, count) { value(start, step, $0) }
    }

    private static func fill<T: BinaryFloatingPoint & BitwiseCopyable>(
        _ element: T.Type, _ type: ElementType, _ context: KernelContext, _ value: (T, T, Int) -> T
    ) throws {
        let start = try single(context, 0, type, as: T.self)
        let limit = try single(context, 1, type, as: T.self)
        let step = try single(context, 2, type, as: T.self)
        let count = try count(Double(start), Double(limit), Double(step))
        try fill(context, type, count) { value(start, step, $0) }
    }

    /// Narrow numbers are computed in 32 bits and rounded once.
    private static func fillHalf(_ context: KernelContext) throws {
        try fill(Float16.self, .float16, context) { Float16(Float($0) + Float($2) * Float($1)) }
    }

    private static func fillBFloat(_ context: KernelContext) throws {
        let (start, limit, step) = (
            try single(context, 0, .bfloat16, as: UInt16.self), try single(context, 1, .bfloat16, as: UInt16.self),
            try single(context, 2, .bfloat16, as: UInt16.self)
        )
        func wide(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }
        let count = try count(Double(wide(start)), Double(wide(limit)), Double(wide(step)))
        try fill(context, .bfloat16, count) { BFloat16.rounded((wide(start) + Float($0) * wide(step)).bitPattern) }
    }

    @inline(__always)
    private static func fill<T: BitwiseCopyable>(
        _ context: KernelContext, _ type: ElementType, _ count: Int, _ value: (Int) -> T
    ) throws {
        let target = try context.output(0, type, [count]).typed(T.self)
        Parallel.forEachRange(count, grain: 16384) { range in
            for index in range { target[index] = value(index) }
        }
    }
}

import GraftCore
import GraftIR

/// Cast and CastLike between numbers of at least one byte, and truth values.
enum CastKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "Cast",
                prepare: { node -> ElementType in
                    guard let code = node.attributes.int("to"), let value = Int32(exactly: code),
                        let type = ElementType(rawValue: value)
                    else { throw KernelFailure("the attribute \"to\" is missing or names no type") }
                    guard isSupported(type) else { throw KernelFailure("conversion to \(type.name)") }
                    if let from = node.elementType(0), !isSupported(from) {
                        throw KernelFailure("conversion from \(from.name)")
                    }
                    return type
                }, run: { try cast($1, to: $0) }),
            .function("CastLike") { context in
                guard let type = try context.value(1).elementType else { throw KernelFailure("not a tensor") }
                try cast(context, to: type)
            },
        ]
    }

    private static func isSupported(_ type: ElementType) -> Bool {
        switch type {
        case .float32, .float64, .float16, .bfloat16, .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64,
            .bool:
            true
        default: false
        }
    }

    static func cast(_ context: KernelContext, to type: ElementType) throws {
        let x = try context.input(0)
        if x.elementType == type {
            context.set(0, x)
            return
        }
        context.set(0, try cast(context, x, to: type))
    }

    static func cast(_ context: KernelContext, _ x: RuntimeTensor, to type: ElementType) throws -> RuntimeTensor {
        // Narrow floating-point numbers go through float32.
        switch (x.elementType, type) {
        case (.float16, .float32), (.bfloat16, .float32), (.float32, .float16), (.float32, .bfloat16):
            return try context.converted(x, type)
        case (.float16, _), (.bfloat16, _): return try cast(context, context.converted(x, .float32), to: type)
        case (_, .float16), (_, .bfloat16): return try context.converted(cast(context, x, to: .float32), type)
        default: break
        }
        let y = try context.temporary(type, x.shape, layout: x.layout)
        switch x.elementType {
        case .float32: try fromFloating(Float.self, x, y)
        case .float64: try fromFloating(Double.self, x, y)
        case .int8: try fromInteger(Int8.self, x, y)
        case .int16: try fromInteger(Int16.self, x, y)
        case .int32: try fromInteger(Int32.self, x, y)
        case .int64: try fromInteger(Int64.self, x, y)
        case .uint8, .bool: try fromInteger(UInt8.self, x, y)
        case .uint16: try fromInteger(UInt16.self, x, y)
        case .uint32: try fromInteger(UInt32.self, x, y)
        case .uint64: try fromInteger(UInt64.self, x, y)
        default: throw KernelFailure("conversion from \(x.elementType.name)")
        }
        return y
    }

    private static func fromFloating<S: BinaryFloatingPoint & BitwiseCopyable>(
        _ type: S.Type, _ x: RuntimeTensor, _ y: RuntimeTensor
    ) throws {
        switch y.elementType {
        case .float32: convert(S.self, Float.self, x, y) { Float($0) }
        case .float64: convert(S.self, Double.self, x, y) { Double($0) }
        case .int8: convert(S.self, Int8.self, x, y) { Int8(truncatingIfNeeded: saturated($0)) }
        case .int16: convert(S.self, Int16.self, x, y) { Int16(truncatingIfNeeded: saturated($0)) }
        case .int32: convert(S.self, Int32.self, x, y) { Int32(truncatingIfNeeded: saturated($0)) }
        case .int64: convert(S.self, Int64.self, x, y) { saturated($0) }
        case .uint8: convert(S.self, UInt8.self, x, y) { UInt8(truncatingIfNeeded: saturated($0)) }
        case .uint16: convert(S.self, UInt16.self, x, y) { UInt16(truncatingIfNeeded: saturated($0)) }
        case .uint32: convert(S.self, UInt32.self, x, y) { UInt32(truncatingIfNeeded: saturated($0)) }
        case .uint64:
            convert(S.self, UInt64.self, x, y) {
                $0 >= 9.3e18 ? ($0 < 1.8446744e19 ? UInt64($0) : .max) : UInt64(truncatingIfNeeded: saturated($0))
            }
        case .bool: convert(S.self, UInt8.self, x, y) { $0 != 0 ? 1 : 0 }
        default: throw KernelFailure("conversion to \(y.elementType.name)")
        }
    }

    /// The integer part of a number; the nearest 64-bit integer where it is out of range, 0 for NaN.
    @inline(__always) private static func saturated<S: BinaryFloatingPoint>(_ value: S) -> Int64 {
        if value > -9.2e18, value < 9.2e18 { return Int64(value) }
        return value.isNaN ? 0 : value < 0 ? .min : .max
    }

    private static func fromInteger<S: FixedWidthInteger & BitwiseCopyable>(
        _ type: S.Type, _ x: RuntimeTensor, _ y: RuntimeTensor
    ) throws {
        switch y.elementType {
        case .float32: convert(S.self, Float.self, x, y) { Float($0) }
        case .float64: convert(S.self, Double.self, x, y) { Double($0) }
        case .int8: convert(S.self, Int8.self, x, y) { Int8(truncatingIfNeeded: $0) }
        case .int16: convert(S.self, Int16.self, x, y) { Int16(truncatingIfNeeded: $0) }
        case .int32: convert(S.self, Int32.self, x, y) { Int32(truncatingIfNeeded: $0) }
        case .int64: convert(S.self, Int64.self, x, y) { Int64(truncatingIfNeeded: $0) }
        case .uint8: convert(S.self, UInt8.self, x, y) { UInt8(truncatingIfNeeded: $0) }
        case .uint16: convert(S.self, UInt16.self, x, y) { UInt16(truncatingIfNeeded: $0) }
        case .uint32: convert(S.self, UInt32.self, x, y) { UInt32(truncatingIfNeeded: $0) }
        case .uint64: convert(S.self, UInt64.self, x, y) { UInt64(truncatingIfNeeded: $0) }
        case .bool: convert(S.self, UInt8.self, x, y) { $0 != 0 ? 1 : 0 }
        default: throw KernelFailure("conversion to \(y.elementType.name)")
        }
    }

    @inline(__always)
    private static func convert<S: BitwiseCopyable, T: BitwiseCopyable>(
        _ from: S.Type, _ to: T.Type, _ x: RuntimeTensor, _ y: RuntimeTensor, _ function: (S) -> T
    ) {
        let (source, target) = (x.typed(S.self), y.typed(T.self))
        Parallel.forEachRange(x.count, grain: 16384) { range in
            for index in range { target[index] = function(source[index]) }
        }
    }
}

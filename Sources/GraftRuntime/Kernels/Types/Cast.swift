import CNumerics
import GraftCore
import GraftIR

/// Cast and CastLike.
enum CastKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "Cast",
                prepare: { node -> CastSettings in
                    let type = try target(node)
                    guard isSupported(type) else { throw KernelFailure("conversion to \(type.name)") }
                    if let from = node.elementType(0), !isSupported(from) {
                        throw KernelFailure("conversion from \(from.name)")
                    }
                    return try CastSettings(node, type)
                }, run: { try cast($1, $0) }),
            .function(
                "CastLike", prepare: { try CastSettings($0, .float32) },
                run: { settings, context in
                    guard let type = try context.value(1).elementType else { throw KernelFailure("not a tensor") }
                    try cast(context, settings.to(type))
                }),
        ]
    }

    private static func target(_ node: KernelNode) throws -> ElementType {
        if let name = node.attributes.string("to"), let type = ElementType(name: name) { return type }
        guard let code = node.attributes.int("to"), let value = Int32(exactly: code),
            let type = ElementType(rawValue: value)
        else { throw KernelFailure("the attribute \"to\" is missing or names no type") }
        return type
    }

    private static func isSupported(_ type: ElementType) -> Bool { type != .complex64 && type != .complex128 }

    static func cast(_ context: KernelContext, _ settings: CastSettings) throws {
        if case .strings(let texts) = try context.value(0) {
            if settings.type == .string {
                context.set(0, .strings(texts))
            } else {
                context.set(0, try StringCast.parse(texts, settings, context))
            }
            return
        }
        let x = try context.input(0)
        if x.elementType == settings.type {
            context.set(0, x)
        } else if settings.type == .string {
            context.set(0, .strings(try StringCast.text(context.plain(0), context)))
        } else if SmallElements.contains(x.elementType) || SmallElements.contains(settings.type) {
            context.set(0, try context.castSmall(x, settings))
        } else {
            context.set(0, try cast(context, x, to: settings.type))
        }
    }

    static func cast(_ context: KernelContext, _ x: RuntimeTensor, to type: ElementType) throws -> RuntimeTensor {
        // Narrow floating-point numbers go through float32.
        switch (x.elementType, type) {
        case (.float64, .float16):
            // Through float32 it would be rounded twice.
            let y = try context.temporary(type, x.shape, layout: x.layout)
            convert(Double.self, Float16.self, x, y) { Float16($0) }
            return y
        case (.float64, .bfloat16):
            let y = try context.temporary(type, x.shape, layout: x.layout)
            convert(Double.self, UInt16.self, x, y) { BFloat16.rounded($0) }
            return y
        case (.int32, .bfloat16), (.uint32, .bfloat16), (.int64, .bfloat16), (.uint64, .bfloat16):
            return try cast(context, cast(context, x, to: .float64), to: type)
        case (.float16, .float32), (.bfloat16, .float32), (.float32, .float16), (.float32, .bfloat16):
            return try context.converted(x, type)
        case (.float16, _), (.bfloat16, _): return try cast(context, context.converted(x, .float32), to: type)
        case (_, .float16), (_, .bfloat16): return try context.converted(cast(context, x, to: .float32), type)
        default: break
        }
        let y = try context.temporary(type, x.shape, layout: x.layout)
        if vectorized(x, y) { return y }
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

    /// Converts between the types that loops over vectors know.
    static func vectorized(_ x: RuntimeTensor, _ y: RuntimeTensor) -> Bool {
        guard let from = code(x.elementType), let to = code(y.elementType),
            cconvert(x.elementType == .bool ? CCONVERT_UINT8 : from, to, x.pointer, y.pointer, 0) != 0
        else { return false }
        let (source, target) = (x.pointer, y.pointer)
        let (width, widthTo) = (x.elementType.byteWidth, y.elementType.byteWidth)
        Parallel.forEachRange(x.count, grain: 16384) { range in
            let start = range.lowerBound
            _ = cconvert(
                x.elementType == .bool ? CCONVERT_UINT8 : from, to, source + start * width, target + start * widthTo,
                range.count)
        }
        return true
    }

    private static func code(_ type: ElementType) -> cconvert_type? {
        switch type {
        case .float32: CCONVERT_FLOAT
        case .float64: CCONVERT_DOUBLE
        case .int8: CCONVERT_INT8
        case .uint8: CCONVERT_UINT8
        case .int32: CCONVERT_INT32
        case .int64: CCONVERT_INT64
        case .bool: CCONVERT_BOOL
        case .bfloat16: CCONVERT_BFLOAT16
        default: nil
        }
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

extension KernelContext {
    /// A tensor with its elements converted to another type; the tensor itself where it has the type.
    func cast(_ tensor: RuntimeTensor, _ type: ElementType) throws -> RuntimeTensor {
        tensor.elementType == type ? tensor : try CastKernels.cast(self, tensor, to: type)
    }
}

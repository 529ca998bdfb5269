import CNumerics
import GraftCore

/// Conversions between the element types of data sets.
enum ElementConversion {
    /// The tensor with another element type; nil where a value would change, except by rounding to a float type.
    static func convert(_ tensor: Tensor, to type: ElementType) throws -> Tensor? {
        if tensor.elementType == type { return type == .string ? nil : tensor }
        let result: ByteBuffer? = try tensor.withBytes { bytes in
            switch tensor.elementType {
            case .bool, .uint8: convert(bytes.bindMemory(to: UInt8.self), to: type)
            case .int8: convert(bytes.bindMemory(to: Int8.self), to: type)
            case .uint16: convert(unaligned(bytes, UInt16.self), to: type)
            case .int16: convert(unaligned(bytes, Int16.self), to: type)
            case .uint32: convert(unaligned(bytes, UInt32.self), to: type)
            case .int32: convert(unaligned(bytes, Int32.self), to: type)
            case .uint64: convert(unaligned(bytes, UInt64.self), to: type)
            case .int64: convert(unaligned(bytes, Int64.self), to: type)
            case .float32: convert(floats: unaligned(bytes, Float.self), to: type)
            case .float64: convert(floats: unaligned(bytes, Double.self), to: type)
            case .float16: convert(floats: halves(unaligned(bytes, UInt16.self)), to: type)
            default: nil
            }
        }
        return try result.map { try Tensor(type, shape: tensor.shape, storage: .owned($0)) }
    }

    private static func unaligned<T: BitwiseCopyable>(_ bytes: UnsafeRawBufferPointer, _ type: T.Type) -> [T] {
        let count = bytes.count / MemoryLayout<T>.stride
        return [T](unsafeUninitializedCapacity: count) { target, initialized in
            UnsafeMutableRawBufferPointer(target).copyMemory(from: bytes)
            initialized = count
        }
    }

    private static func halves(_ bits: [UInt16]) -> [Float] {
        [Float](unsafeUninitializedCapacity: bits.count) { target, initialized in
            bits.withUnsafeBufferPointer { cnumerics_half_to_float($0.baseAddress, target.baseAddress, bits.count) }
            initialized = bits.count
        }
    }

    private static func convert<T: BinaryInteger, S: Sequence<T>>(_ values: S, to type: ElementType) -> ByteBuffer? {
        switch type {
        case .float32: buffer(values.map { Float($0) })
        case .float64: buffer(values.map { Double($0) })
        case .float16: buffer(halfBits(values.map { Float($0) }))
        case .int64: exact(values, Int64.self)
        case .int32: exact(values, Int32.self)
        case .int16: exact(values, Int16.self)
        case .int8: exact(values, Int8.self)
        case .uint64: exact(values, UInt64.self)
        case .uint32: exact(values, UInt32.self)
        case .uint16: exact(values, UInt16.self)
        case .uint8: exact(values, UInt8.self)
        default: nil
        }
    }

    private static func convert<T: BinaryFloatingPoint>(floats values: [T], to type: ElementType) -> ByteBuffer? {
        switch type {
        case .float32: buffer(values.map { Float($0) })
        case .float64: buffer(values.map { Double($0) })
        case .float16: buffer(halfBits(values.map { Float($0) }))
        default: nil
        }
    }

    private static func halfBits(_ values: [Float]) -> [UInt16] {
        [UInt16](unsafeUninitializedCapacity: values.count) { target, initialized in
            values.withUnsafeBufferPointer { cnumerics_float_to_half($0.baseAddress, target.baseAddress, values.count) }
            initialized = values.count
        }
    }

    private static func exact<T: BinaryInteger, U: FixedWidthInteger & BitwiseCopyable>(
        _ values: some Sequence<T>, _ type: U.Type
    ) -> ByteBuffer? {
        var result: [U] = []
        for value in values {
            guard let converted = U(exactly: value) else { return nil }
            result.append(converted)
        }
        return buffer(result)
    }

    private static func buffer<T: BitwiseCopyable>(_ values: [T]) -> ByteBuffer {
        values.withUnsafeBytes { ByteBuffer(copying: $0) }
    }
}

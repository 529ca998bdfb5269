import COnnxProto
import GraftCore

/// How ONNX holds elements in the typed lists of a tensor, and the way to and from the packed bytes.
///
/// Source of the rules: `TensorProto` in onnx.proto. `int32_data` holds the bits of every type of at most 32 bits but
/// float and uint32; two elements of 4 bits share an entry, four of 2 bits, and one of 6 bits has one of its own.
enum TypedData {
    /// A list of a tensor message.
    enum List {
        case float, int32, string, int64, double, uint64

        /// The list's field number and name.
        var field: (number: Int, name: String) {
            switch self {
            case .float: (4, "float_data")
            case .int32: (5, "int32_data")
            case .string: (6, "string_data")
            case .int64: (7, "int64_data")
            case .double: (10, "double_data")
            case .uint64: (11, "uint64_data")
            }
        }

        /// The bytes of one entry in memory; 0 for strings.
        var entryWidth: Int {
            switch self {
            case .float, .int32: 4
            case .int64, .double, .uint64: 8
            case .string: 0
            }
        }
    }

    /// The list that holds elements of a type.
    static func list(of type: ElementType) -> List {
        switch type {
        case .float32, .complex64: .float
        case .float64, .complex128: .double
        case .string: .string
        case .int64: .int64
        case .uint32, .uint64: .uint64
        default: .int32
        }
    }

    /// How many entries the list of a type has for `count` elements.
    static func entryCount(_ type: ElementType, elements count: Int) -> Int? {
        switch type {
        case .complex64, .complex128:
            let (doubled, overflow) = count.multipliedReportingOverflow(by: 2)
            return overflow ? nil : doubled
        case .uint2, .int2, .uint4, .int4, .float4e2m1: return type.byteCount(elements: count)
        default: return count
        }
    }

    /// Packs the entries of `int32_data` into bytes.
    ///
    /// - Returns: whether ``widen(_:type:count:into:)`` gives the same entries back.
    static func narrow(
        _ entries: UnsafeBufferPointer<Int32>, type: ElementType, into bytes: UnsafeMutableRawBufferPointer
    ) -> Bool {
        var isExact = true
        switch (type.bitWidth, type) {
        case (32, _): bytes.copyMemory(from: UnsafeRawBufferPointer(entries))
        case (16, .int16):
            for (index, entry) in entries.enumerated() {
                let value = Int16(truncatingIfNeeded: entry)
                bytes.storeBytes(of: value.littleEndian, toByteOffset: 2 * index, as: Int16.self)
                isExact = isExact && Int32(value) == entry
            }
        case (16, _):
            for (index, entry) in entries.enumerated() {
                let value = UInt16(truncatingIfNeeded: entry)
                bytes.storeBytes(of: value.littleEndian, toByteOffset: 2 * index, as: UInt16.self)
                isExact = isExact && Int32(value) == entry
            }
        case (8, .int8):
            for (index, entry) in entries.enumerated() {
                let value = Int8(truncatingIfNeeded: entry)
                bytes.storeBytes(of: value, toByteOffset: index, as: Int8.self)
                isExact = isExact && Int32(value) == entry
            }
        case (6, _):
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
            for (index, entry) in entries.enumerated() {
                let value = UInt16(truncatingIfNeeded: entry) & 63
                isExact = isExact && Int32(value) == entry
                let bit = 6 * index
                let shifted = value << UInt16(bit % 8)
                bytes[bit / 8] |= UInt8(truncatingIfNeeded: shifted)
                if bit % 8 > 2 { bytes[bit / 8 + 1] |= UInt8(truncatingIfNeeded: shifted >> 8) }
            }
        default:
            for (index, entry) in entries.enumerated() {
                let value = UInt8(truncatingIfNeeded: entry)
                bytes[index] = value
                isExact = isExact && Int32(value) == entry
            }
        }
        return isExact
    }

    /// Unpacks bytes into the entries of `int32_data`.
    static func widen(
        _ bytes: UnsafeRawBufferPointer, type: ElementType, into entries: UnsafeMutableBufferPointer<Int32>
    ) {
        switch (type.bitWidth, type) {
        case (32, _): UnsafeMutableRawBufferPointer(entries).copyMemory(from: bytes)
        case (16, .int16):
            for index in entries.indices {
                entries[index] = Int32(
                    Int16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * index, as: Int16.self)))
            }
        case (16, _):
            for index in entries.indices {
                entries[index] = Int32(
                    UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)))
            }
        case (8, .int8):
            for index in entries.indices { entries[index] = Int32(Int8(bitPattern: bytes[index])) }
        case (6, _):
            for index in entries.indices {
                let bit = 6 * index
                var pair = UInt16(bytes[bit / 8])
                if bit / 8 + 1 < bytes.count { pair |= UInt16(bytes[bit / 8 + 1]) << 8 }
                entries[index] = Int32(pair >> UInt16(bit % 8) & 63)
            }
        default:
            for index in entries.indices { entries[index] = Int32(bytes[index]) }
        }
    }

    /// Packs the entries of `uint64_data` into bytes.
    ///
    /// - Returns: whether widening gives the same entries back.
    static func narrow(
        _ entries: UnsafeBufferPointer<UInt64>, type: ElementType, into bytes: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard type == .uint32 else {
            bytes.copyMemory(from: UnsafeRawBufferPointer(entries))
            return true
        }
        var isExact = true
        for (index, entry) in entries.enumerated() {
            let value = UInt32(truncatingIfNeeded: entry)
            bytes.storeBytes(of: value.littleEndian, toByteOffset: 4 * index, as: UInt32.self)
            isExact = isExact && UInt64(value) == entry
        }
        return isExact
    }
}

import CNumerics

extension Tensor {
    /// The elements converted to `Float`: floating-point numbers and integers of every width, and truth values.
    ///
    /// - Throws: ``TensorError/typeMismatch(expected:actual:)`` for other types.
    public func floats() throws -> [Float] {
        let count = self.count
        return try withBytes { bytes in
            func converted<Element>(_ type: Element.Type, _ convert: (Element) -> Float) -> [Float] {
                (0..<count).map {
                    convert(bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Element>.stride, as: type))
                }
            }
            switch elementType {
            case .float32:
                return [Float](unsafeUninitializedCapacity: count) { target, initialized in
                    UnsafeMutableRawBufferPointer(target).copyMemory(from: bytes)
                    initialized = count
                }
            case .float16:
                let halves = (0..<count).map { bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self) }
                return [Float](unsafeUninitializedCapacity: count) { target, initialized in
                    halves.withUnsafeBufferPointer {
                        if count > 0 { cnumerics_half_to_float($0.baseAddress!, target.baseAddress!, count) }
                    }
                    initialized = count
                }
            case .bfloat16: return converted(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
            case .float64: return converted(Double.self) { Float($0) }
            case .int8: return converted(Int8.self) { Float($0) }
            case .uint8: return converted(UInt8.self) { Float($0) }
            case .int16: return converted(Int16.self) { Float($0) }
            case .uint16: return converted(UInt16.self) { Float($0) }
            case .int32: return converted(Int32.self) { Float($0) }
            case .uint32: return converted(UInt32.self) { Float($0) }
            case .int64: return converted(Int64.self) { Float($0) }
            case .uint64: return converted(UInt64.self) { Float($0) }
            case .bool: return converted(UInt8.self) { $0 == 0 ? 0 : 1 }
            default:
                guard let numbers = SmallElements.numbers(elementType) else {
                    throw TensorError.typeMismatch(expected: .float32, actual: elementType)
                }
                return SmallElements.codes(elementType, bytes, count: count).map { numbers[Int($0)] }
            }
        }
    }

    /// The elements of an integer tensor converted to `Int`; nil for other types and where one does not fit.
    public func integers() throws -> [Int]? {
        let count = self.count
        return try withBytes { bytes -> [Int]? in
            func converted<Element: FixedWidthInteger>(_ type: Element.Type) -> [Int]? {
                var result: [Int] = []
                result.reserveCapacity(count)
                for index in 0..<count {
                    let element = bytes.loadUnaligned(
                        fromByteOffset: index * MemoryLayout<Element>.stride, as: type)
                    guard let value = Int(exactly: element) else { return nil }
                    result.append(value)
                }
                return result
            }
            func small() -> [Int]? {
                guard let numbers = SmallElements.numbers(elementType) else { return nil }
                return SmallElements.codes(elementType, bytes, count: count).map { Int(numbers[Int($0)]) }
            }
            return switch elementType {
            case .int8: converted(Int8.self)
            case .uint8, .bool: converted(UInt8.self)
            case .int16: converted(Int16.self)
            case .uint16: converted(UInt16.self)
            case .int32: converted(Int32.self)
            case .uint32: converted(UInt32.self)
            case .int64: converted(Int64.self)
            case .uint64: converted(UInt64.self)
            case .int4, .uint4, .int2, .uint2: small()
            default: nil
            }
        }
    }
}

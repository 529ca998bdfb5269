/// Elements of at most 8 bits other than plain bytes: their numbers, and how they are packed.
public enum SmallElements {
    /// Whether a type is one of these: floating-point numbers of at most 8 bits and integers of 2 or 4.
    public static func contains(_ type: ElementType) -> Bool {
        type.isPacked || type == .float8e8m0 || SmallFloat(type) != nil
    }

    /// The numbers of all codes of a type, 256 of them; nil for other types.
    ///
    /// Bits above the type's are ignored, so a table can be read with whole bytes.
    public static func numbers(_ type: ElementType) -> [Float]? { tables[type] }

    private static let tables: [ElementType: [Float]] = {
        var result: [ElementType: [Float]] = [:]
        for type in ElementType.allCases where contains(type) {
            result[type] = (0...255).map { decode(UInt8($0), type) }
        }
        return result
    }()

    private static func decode(_ code: UInt8, _ type: ElementType) -> Float {
        if let format = SmallFloat(type) { return format.decode(code) }
        switch type {
        case .uint4: return Float(code & 15)
        case .int4: return Float(Int8(bitPattern: code << 4) >> 4)
        case .uint2: return Float(code & 3)
        case .int2: return Float(Int8(bitPattern: code << 6) >> 6)
        default: return PowerOfTwoScale.decode(code)
        }
    }

    /// Takes packed elements apart, a byte each with zeros above the code.
    ///
    /// Elements lie without gaps from the lowest bit on; four of them take a whole number of bytes.
    /// - Parameter range: the elements to unpack; starts at a multiple of 4.
    public static func unpack(
        _ bytes: UnsafeRawBufferPointer, bitWidth: Int, _ range: Range<Int>, into codes: UnsafeMutablePointer<UInt8>
    ) {
        let mask = UInt32(1) << UInt32(bitWidth) - 1
        let groupBytes = bitWidth / 2
        var index = range.lowerBound
        while index < range.upperBound {
            let start = index / 4 * groupBytes
            var word: UInt32 = 0
            for byte in 0..<min(groupBytes, bytes.count - start) {
                word |= UInt32(bytes[start + byte]) << UInt32(8 * byte)
            }
            for position in 0..<min(4, range.upperBound - index) {
                codes[index + position] = UInt8(truncatingIfNeeded: word >> UInt32(bitWidth * position) & mask)
            }
            index += 4
        }
    }

    /// Packs elements that take a byte each; bits above the code are dropped.
    ///
    /// - Parameter range: the elements to pack; starts at a multiple of 4.
    public static func pack(
        _ codes: UnsafePointer<UInt8>, bitWidth: Int, _ range: Range<Int>, into bytes: UnsafeMutableRawBufferPointer
    ) {
        let mask = UInt32(1) << UInt32(bitWidth) - 1
        let groupBytes = bitWidth / 2
        var index = range.lowerBound
        while index < range.upperBound {
            var word: UInt32 = 0
            for position in 0..<min(4, range.upperBound - index) {
                word |= (UInt32(codes[index + position]) & mask) << UInt32(bitWidth * position)
            }
            let start = index / 4 * groupBytes
            for byte in 0..<min(groupBytes, bytes.count - start) {
                bytes[start + byte] = UInt8(truncatingIfNeeded: word >> UInt32(8 * byte))
            }
            index += 4
        }
    }

    /// The codes of the elements of a tensor, a byte each.
    static func codes(_ type: ElementType, _ bytes: UnsafeRawBufferPointer, count: Int) -> [UInt8] {
        guard type.isPacked else { return Array(bytes.prefix(count)) }
        return [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
            if let start = target.baseAddress {
                unpack(bytes, bitWidth: type.bitWidth, 0..<count, into: start)
            }
            initialized = count
        }
    }
}

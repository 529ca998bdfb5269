import GraftCore

/// The header of a `.npy` file: versions 1, 2 and 3 of NumPy's array format.
struct NPYHeader: Equatable {
    /// The bytes that every `.npy` file starts with.
    static let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]

    /// The type as spelled in the file.
    var descriptor: String
    /// Whether the first dimension varies fastest.
    var isFortranOrder: Bool
    /// The dimensions.
    var shape: [Int]

    /// Reads a header; also gives the offset of the array's first byte.
    static func parse(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(NPYError) -> (header: NPYHeader, dataOffset: Int) {
        let data = LittleEndian(bytes: bytes)
        guard bytes.count >= 10, bytes[..<6].elementsEqual(magic) else {
            throw .damaged(source: source, reason: "it does not start with NumPy's signature")
        }
        let start: Int
        let count: Int
        switch bytes[6] {
        case 1:
            start = 10
            count = Int(data.u16(8) ?? 0)
        case 2, 3:
            start = 12
            count = Int(data.u32(8) ?? 0)
        default: throw .damaged(source: source, reason: "format version \(bytes[6]) is unknown")
        }
        guard count <= limits.textBytes, let range = Checked.range(offset: start, count: count, within: bytes.count)
        else { throw .damaged(source: source, reason: "its header is cut off") }
        guard let text = String(validating: bytes[range], as: UTF8.self) else {
            throw .damaged(source: source, reason: "its header is not text")
        }
        var parser = LiteralParser(text: Array(text.utf8), source: source)
        return (try parser.header(), range.upperBound)
    }

    /// The header as NumPy writes it: version 1, padded so that the array starts at a multiple of 64 bytes.
    func encoded() -> [UInt8] {
        let dimensions = shape.count == 1 ? "\(shape[0])," : shape.map(String.init).joined(separator: ", ")
        let order = isFortranOrder ? "True" : "False"
        let text = "{'descr': '\(descriptor)', 'fortran_order': \(order), 'shape': (\(dimensions)), }"
        // A header that needs more than 16 bits for its length is that of an array with thousands of dimensions.
        let isLong = text.utf8.count + 64 > 0xFFFF
        let fixed = isLong ? 12 : 10
        let padding = (64 - (fixed + text.utf8.count + 1) % 64) % 64
        let count = text.utf8.count + padding + 1
        var result = Self.magic + (isLong ? [2, 0] : [1, 0])
        for byte in 0..<(isLong ? 4 : 2) { result.append(UInt8(count >> (8 * byte) & 0xFF)) }
        return result + Array(text.utf8) + [UInt8](repeating: 0x20, count: padding) + [0x0A]
    }
}

/// Parses the Python dictionary of a header: three known keys with a text, a truth value and a tuple of integers.
private struct LiteralParser {
    let text: [UInt8]
    let source: String
    var position = 0

    init(text: [UInt8], source: String) {
        self.text = text
        self.source = source
    }

    func failure(_ expected: String) -> NPYError {
        .damaged(source: source, reason: "\(expected) was expected at byte \(position) of its header")
    }

    mutating func header() throws(NPYError) -> NPYHeader {
        var descriptor: String?
        var order: Bool?
        var shape: [Int]?
        try expect("{")
        while !accept("}") {
            let key = try string()
            try expect(":")
            switch key {
            case "descr" where descriptor == nil:
                if peek() == UInt8(ascii: "[") {
                    throw .unsupportedType(
                        source: source, descriptor: "with named fields",
                        advice: "save each field as an array of its own")
                }
                descriptor = try string()
            case "fortran_order" where order == nil: order = try truth()
            case "shape" where shape == nil: shape = try tuple()
            default: throw failure("one of the keys descr, fortran_order and shape, once,")
            }
            if !accept(",") {
                try expect("}")
                break
            }
        }
        guard peek() == nil else { throw failure("the end") }
        guard let descriptor, let order, let shape else { throw failure("descr, fortran_order and shape") }
        return NPYHeader(descriptor: descriptor, isFortranOrder: order, shape: shape)
    }

    mutating func peek() -> UInt8? {
        while position < text.count, text[position] == 0x20 || text[position] == 0x0A { position += 1 }
        return position < text.count ? text[position] : nil
    }

    mutating func accept(_ character: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    mutating func expect(_ character: Unicode.Scalar) throws(NPYError) {
        guard accept(character) else { throw failure("\"\(character)\"") }
    }

    mutating func string() throws(NPYError) -> String {
        guard let quote = peek(), quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else {
            throw failure("a text")
        }
        let start = position + 1
        guard let end = text[start...].firstIndex(of: quote) else { throw failure("the end of a text") }
        position = end + 1
        return String(decoding: text[start..<end], as: UTF8.self)
    }

    mutating func truth() throws(NPYError) -> Bool {
        _ = peek()
        for (word, value) in [("True", true), ("False", false)] where text[position...].starts(with: word.utf8) {
            position += word.utf8.count
            return value
        }
        throw failure("True or False")
    }

    mutating func tuple() throws(NPYError) -> [Int] {
        var result: [Int] = []
        try expect("(")
        while !accept(")") {
            _ = peek()
            let digits = text[position...].prefix { $0 >= 0x30 && $0 <= 0x39 }
            guard let value = Int(String(decoding: digits, as: UTF8.self)) else { throw failure("a dimension") }
            guard result.count < 64 else { throw failure("at most 64 dimensions") }
            result.append(value)
            position = digits.endIndex
            // Python 2 wrote long integers with an L.
            _ = accept("L")
            if !accept(",") {
                try expect(")")
                break
            }
        }
        return result
    }
}

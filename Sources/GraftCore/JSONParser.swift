import OrderedCollections

/// What is wrong with a JSON text.
public struct JSONError: GraftError, Equatable {
    /// The byte at which parsing stopped.
    public let offset: Int
    /// What was expected there.
    public let reason: String

    public var exitStatus: ExitStatus { .badInput }
    public var description: String { "not valid JSON at byte \(offset): \(reason)" }
}

extension JSON {
    /// Parses a text: RFC 8259, plus the bare `NaN`, `Infinity` and `-Infinity` that Python writes.
    ///
    /// Where a member name is repeated the last one counts, as in Python.
    /// - Throws: ``JSONError``.
    public init(parsing text: some Sequence<UInt8>, limits: Limits = Limits()) throws(JSONError) {
        let bytes = ContiguousArray(text)
        guard bytes.count <= limits.textBytes else {
            throw JSONError(offset: 0, reason: "\(bytes.count) bytes exceed the limit of \(limits.textBytes)")
        }
        var parser = JSONParser(bytes: bytes, depthLimit: limits.nestingDepth * 10)
        self = try parser.document()
    }

    /// Parses a text.
    public init(parsing text: String, limits: Limits = Limits()) throws(JSONError) {
        try self.init(parsing: text.utf8, limits: limits)
    }
}

private struct JSONParser {
    let bytes: ContiguousArray<UInt8>
    let depthLimit: Int
    var position = 0

    init(bytes: ContiguousArray<UInt8>, depthLimit: Int) {
        self.bytes = bytes
        self.depthLimit = depthLimit
    }

    func failure(_ reason: String) -> JSONError { JSONError(offset: position, reason: reason) }

    var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    mutating func document() throws(JSONError) -> JSON {
        let result = try value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw failure("the end of the text was expected") }
        return result
    }

    mutating func value(depth: Int) throws(JSONError) -> JSON {
        guard depth <= depthLimit else { throw failure("nested deeper than \(depthLimit)") }
        skipSpace()
        guard let byte = current else { throw failure("a value was expected, found the end") }
        switch byte {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "N"): return try word("NaN", .number(.nan))
        case UInt8(ascii: "I"): return try word("Infinity", .number(.infinity))
        default: return try number()
        }
    }

    mutating func word(_ text: StaticString, _ value: JSON) throws(JSONError) -> JSON {
        let end = position + text.utf8CodeUnitCount
        let matches =
            end <= bytes.count
            && text.withUTF8Buffer { expected in zip(expected, bytes[position..<end]).allSatisfy { $0 == $1 } }
        guard matches else { throw failure("\(text) was expected") }
        position = end
        return value
    }

    mutating func array(depth: Int) throws(JSONError) -> JSON {
        position += 1
        var elements: [JSON] = []
        skipSpace()
        if current == UInt8(ascii: "]") {
            position += 1
            return .array(elements)
        }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            switch current {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "]"):
                position += 1
                return .array(elements)
            default: throw failure("',' or ']' was expected")
            }
        }
    }

    mutating func object(depth: Int) throws(JSONError) -> JSON {
        position += 1
        var members = OrderedDictionary<String, JSON>()
        skipSpace()
        if current == UInt8(ascii: "}") {
            position += 1
            return .object(members)
        }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw failure("a member name was expected") }
            let name = try string()
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw failure("':' was expected") }
            position += 1
            members[name] = try value(depth: depth + 1)
            skipSpace()
            switch current {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "}"):
                position += 1
                return .object(members)
            default: throw failure("',' or '}' was expected")
            }
        }
    }

    mutating func number() throws(JSONError) -> JSON {
        let start = position
        if current == UInt8(ascii: "-") { position += 1 }
        if current == UInt8(ascii: "I") { return try word("Infinity", .number(-.infinity)) }
        var isInteger = true
        let digits = position
        while let byte = current {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): position += 1
            case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "+"), UInt8(ascii: "-"):
                isInteger = false
                position += 1
            default:
                guard position > digits else { throw failure("a value was expected") }
                return try number(from: start, isInteger: isInteger)
            }
        }
        guard position > digits else { throw failure("a value was expected") }
        return try number(from: start, isInteger: isInteger)
    }

    func number(from start: Int, isInteger: Bool) throws(JSONError) -> JSON {
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, text != "-0", let value = Int64(text) { return .int(value) }
        guard let last = text.utf8.last, last != UInt8(ascii: "."), let value = Double(text) else {
            throw JSONError(offset: start, reason: "\"\(text.prefix(40))\" is not a number")
        }
        return .number(value)
    }

    mutating func string() throws(JSONError) -> String {
        position += 1
        var units: [UInt8] = []
        while true {
            guard let byte = current else { throw failure("a text is not closed") }
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: units, as: UTF8.self)
            case UInt8(ascii: "\\"): try escape(into: &units)
            case 0..<0x20: throw failure("a control character in a text")
            default: units.append(byte)
            }
        }
    }

    mutating func escape(into units: inout [UInt8]) throws(JSONError) {
        guard let byte = current else { throw failure("a text is not closed") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): units.append(byte)
        case UInt8(ascii: "b"): units.append(8)
        case UInt8(ascii: "f"): units.append(12)
        case UInt8(ascii: "n"): units.append(10)
        case UInt8(ascii: "r"): units.append(13)
        case UInt8(ascii: "t"): units.append(9)
        case UInt8(ascii: "u"):
            let high = try hexadecimal()
            var scalar = UInt32(high)
            if 0xD800..<0xDC00 ~= high, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
                bytes[position + 1] == UInt8(ascii: "u")
            {
                let mark = position
                position += 2
                let low = try hexadecimal()
                if 0xDC00..<0xE000 ~= low {
                    scalar = 0x10000 + (UInt32(high) - 0xD800) << 10 + (UInt32(low) - 0xDC00)
                } else {
                    position = mark
                }
            }
            units.append(contentsOf: String(Unicode.Scalar(scalar) ?? "\u{FFFD}").utf8)
        default: throw failure("an unknown escape")
        }
    }

    mutating func hexadecimal() throws(JSONError) -> UInt16 {
        guard position + 4 <= bytes.count,
            let value = UInt16(String(decoding: bytes[position..<(position + 4)], as: UTF8.self), radix: 16)
        else { throw failure("four hexadecimal digits were expected") }
        position += 4
        return value
    }
}

import GraftCore
import OrderedCollections

/// Reads the literals that Python programs leave in metadata: `{0: 'cat', 1: 'dog'}`, `['', 'layer1']`, `(1, None)`.
enum PythonLiteral {
    /// The literal as JSON: tuples as lists, keys as texts, `None` as `null`; nil for anything else.
    static func parse(_ text: String) -> JSON? {
        var parser = Parser(bytes: Array(text.utf8))
        guard let value = parser.value(depth: 0) else { return nil }
        parser.skipSpace()
        guard parser.position == parser.bytes.count else { return nil }
        return value
    }

    private struct Parser {
        let bytes: [UInt8]
        var position = 0

        mutating func skipSpace() {
            while position < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[position]) { position += 1 }
        }

        mutating func take(_ character: Character) -> Bool {
            skipSpace()
            guard position < bytes.count, bytes[position] == character.asciiValue else { return false }
            position += 1
            return true
        }

        mutating func value(depth: Int) -> JSON? {
            skipSpace()
            guard depth < 32, position < bytes.count else { return nil }
            switch bytes[position] {
            case UInt8(ascii: "["):
                position += 1
                return list(until: "]", depth: depth)
            case UInt8(ascii: "("):
                position += 1
                return list(until: ")", depth: depth)
            case UInt8(ascii: "{"):
                position += 1
                return dictionary(depth: depth)
            case UInt8(ascii: "'"), UInt8(ascii: "\""):
                return string().map { .string($0) }
            default:
                return word()
            }
        }

        mutating func list(until end: Character, depth: Int) -> JSON? {
            var elements: [JSON] = []
            while true {
                if take(end) { return .array(elements) }
                guard let element = value(depth: depth + 1) else { return nil }
                elements.append(element)
                if !take(",") {
                    guard take(end) else { return nil }
                    return .array(elements)
                }
            }
        }

        mutating func dictionary(depth: Int) -> JSON? {
            var members: OrderedDictionary<String, JSON> = [:]
            while true {
                if take("}") { return .object(members) }
                guard let key = value(depth: depth + 1), take(":"), let element = value(depth: depth + 1) else {
                    return nil
                }
                members[key.string ?? key.text()] = element
                if !take(",") {
                    guard take("}") else { return nil }
                    return .object(members)
                }
            }
        }

        mutating func string() -> String? {
            let quote = bytes[position]
            position += 1
            var result: [UInt8] = []
            while position < bytes.count {
                let byte = bytes[position]
                position += 1
                if byte == quote { return String(decoding: result, as: UTF8.self) }
                guard byte == UInt8(ascii: "\\"), position < bytes.count else {
                    result.append(byte)
                    continue
                }
                let escaped = bytes[position]
                position += 1
                switch escaped {
                case UInt8(ascii: "n"): result.append(0x0A)
                case UInt8(ascii: "t"): result.append(0x09)
                default: result.append(escaped)
                }
            }
            return nil
        }

        mutating func word() -> JSON? {
            let start = position
            while position < bytes.count, !",]}):".utf8.contains(bytes[position]), bytes[position] > 0x20 {
                position += 1
            }
            let text = String(decoding: bytes[start..<position], as: UTF8.self)
            switch text {
            case "None", "null": return .null
            case "True", "true": return .bool(true)
            case "False", "false": return .bool(false)
            default: return Int64(text).map { .int($0) } ?? Double(text).map { .number($0) }
            }
        }
    }
}

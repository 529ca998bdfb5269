import OrderedCollections

extension JSON {
    /// How JSON text is laid out.
    public enum Layout: Sendable {
        /// One line without spaces.
        case compact
        /// One line with a space after `,` and `:`, as Python's `json.dumps` writes it.
        case spaced
        /// A line a member, indented by two spaces.
        case indented
    }

    /// The value as JSON text.
    ///
    /// Numbers have the shortest digits that read back the same; `NaN` and infinities are written as Python does.
    /// - Parameter ascii: whether characters beyond ASCII are written as `\u` escapes, as Python does by default.
    public func text(_ layout: Layout = .compact, ascii: Bool = false) -> String {
        var output = ""
        write(to: &output, layout: layout, ascii: ascii, depth: 0)
        return output
    }

    private func write(to output: inout String, layout: Layout, ascii: Bool, depth: Int) {
        switch self {
        case .null: output += "null"
        case .bool(let value): output += value ? "true" : "false"
        case .int(let value): output += String(value)
        case .number(let value): output += Self.text(of: value)
        case .string(let value): Self.write(value, to: &output, ascii: ascii)
        case .array(let elements):
            // Lists of plain values, such as shapes, stay on one line also when indented.
            let flat = layout != .indented || elements.allSatisfy { $0.array == nil && $0.object == nil }
            output += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { output += flat && layout != .compact ? ", " : "," }
                if !flat { Self.newLine(&output, depth + 1) }
                element.write(to: &output, layout: layout, ascii: ascii, depth: depth + 1)
            }
            if !flat && !elements.isEmpty { Self.newLine(&output, depth) }
            output += "]"
        case .object(let members):
            output += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { output += layout == .spaced ? ", " : "," }
                if layout == .indented { Self.newLine(&output, depth + 1) }
                Self.write(member.key, to: &output, ascii: ascii)
                output += layout == .compact ? ":" : ": "
                member.value.write(to: &output, layout: layout, ascii: ascii, depth: depth + 1)
            }
            if layout == .indented && !members.isEmpty { Self.newLine(&output, depth) }
            output += "}"
        }
    }

    private static func newLine(_ output: inout String, _ depth: Int) {
        output += "\n" + String(repeating: "  ", count: depth)
    }

    private static func text(of value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
        return "\(value)"
    }

    private static func write(_ text: String, to output: inout String, ascii: Bool) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            case "\u{8}": output += "\\b"
            case "\u{C}": output += "\\f"
            case "\u{0}"..<"\u{20}": output += "\\u" + hexadecimal(UInt16(scalar.value))
            default:
                if ascii && scalar.value > 0x7E {
                    for unit in UTF16.encode(scalar)! { output += "\\u" + hexadecimal(unit) }
                } else {
                    output.unicodeScalars.append(scalar)
                }
            }
        }
        output += "\""
    }

    private static func hexadecimal(_ value: UInt16) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 4 - digits.count) + digits
    }
}

/// How recipes spell values in YAML.
enum YAMLText {
    /// A number with the fewest digits that read back the same; whole numbers without a fraction.
    static func number(_ value: Double) -> String {
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        let text = "\(value)"
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text.replacingFraction()
    }

    /// A text, quoted where YAML would read it otherwise.
    static func text(_ value: String) -> String {
        let plainStart =
            value.unicodeScalars.first.map { $0.properties.isAlphabetic || $0 == "/" || $0 == "_" } ?? false
        let plain =
            plainStart
            && value.unicodeScalars.allSatisfy {
                $0.isASCII
                    && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "/_.-".unicodeScalars.contains($0))
            }
        let reserved = ["true", "false", "yes", "no", "on", "off", "null", "none", "y", "n", "nan", "inf"]
        if plain && !reserved.contains(value.lowercased()) { return value }
        var quoted = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\t": quoted += "\\t"
            case "\u{0}"..<"\u{20}":
                let hex = String(scalar.value, radix: 16)
                quoted += "\\x" + (hex.count == 1 ? "0" : "") + hex
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }

    /// A list on one line.
    static func list(_ values: [String]) -> String { "[\(values.joined(separator: ", "))]" }
}

extension String {
    /// `1.0e-05` as `1e-05`.
    fileprivate func replacingFraction() -> String {
        guard let range = firstRange(of: ".0e") else { return self }
        return String(self[..<range.lowerBound]) + "e" + String(self[range.upperBound...])
    }
}

/// Text for SVG and HTML pages.
enum Markup {
    /// A text with the characters of markup escaped.
    static func escape(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            // Control characters are not allowed in XML.
            case "\u{0}"..<"\u{20}" where scalar != "\n" && scalar != "\t": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// A coordinate with at most two decimals.
    static func number(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e12 else { return "0" }
        let rounded = (value * 100).rounded() / 100
        return rounded == rounded.rounded() ? String(Int(rounded)) : "\(rounded)"
    }

    /// A figure with a few significant digits.
    static func figure(_ value: Double, digits: Int = 3) -> String {
        guard value.isFinite else { return "–" }
        if value == 0 { return "0" }
        var scale = 1.0
        var magnitude = abs(value)
        var places = digits - 1
        while magnitude >= 10 && places > 0 {
            magnitude /= 10
            places -= 1
        }
        while magnitude < 1 && places < 12 {
            magnitude *= 10
            places += 1
        }
        if abs(value) < 1e-3 || abs(value) >= 1e7 { return scientific(value, digits: digits) }
        for _ in 0..<places { scale *= 10 }
        let rounded = (value * scale).rounded() / scale
        return rounded == rounded.rounded() && abs(rounded) < 1e15 ? String(Int(rounded)) : "\(rounded)"
    }

    private static func scientific(_ value: Double, digits: Int) -> String {
        var exponent = 0
        var mantissa = value
        while abs(mantissa) >= 10 {
            mantissa /= 10
            exponent += 1
        }
        while abs(mantissa) < 1 {
            mantissa *= 10
            exponent -= 1
        }
        let rounded = (mantissa * 100).rounded() / 100
        let text = rounded == rounded.rounded() ? String(Int(rounded)) : "\(rounded)"
        return "\(text)e\(exponent)"
    }

    /// A count with thin groups of three digits, such as `25 557 032`.
    static func count(_ value: Int) -> String {
        let digits = Array(String(value.magnitude))
        var result = value < 0 ? "−" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index) % 3 == 0 { result += "\u{202F}" }
            result.append(digit)
        }
        return result
    }

    /// A part of one as percent, such as `97.3 %`.
    static func percent(_ value: Double) -> String {
        guard value.isFinite else { return "–" }
        let tenths = (value * 1000).rounded() / 10
        return "\(tenths == tenths.rounded() ? "\(Int(tenths)).0" : "\(tenths)") %"
    }
}

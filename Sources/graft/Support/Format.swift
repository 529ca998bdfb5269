/// Numbers as people read them.
enum Format {
    /// A count with thousands separated: `1,234,567`.
    static func count(_ value: Int) -> String {
        let digits = String(abs(value))
        var result = ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index) % 3 == 0 { result += "," }
            result.append(digit)
        }
        return value < 0 ? "-\(result)" : result
    }

    /// A count with a unit: `1.2 M`, `3.4 G`.
    static func short(_ value: Int) -> String {
        for (bound, unit) in [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")]
        where value >= bound {
            return "\(decimal(Double(value) / Double(bound), digits: 1)) \(unit)"
        }
        return String(value)
    }

    /// A number of bytes: `2.6 MB`.
    static func bytes(_ value: Int) -> String {
        value < 1_000 ? "\(value) B" : "\(short(value))B"
    }

    /// A number with a fixed count of decimals.
    static func decimal(_ value: Double, digits: Int) -> String {
        guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = (abs(value) * scale).rounded()
        guard scaled < 9e18 else { return "\(value)" }
        let whole = Int(scaled / scale)
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(whole)" }
        let fraction = String(Int(scaled) - whole * Int(scale))
        return "\(sign)\(whole).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
    }

    /// A share as a percentage: `97.3 %`.
    static func percent(_ value: Double) -> String { "\(decimal(100 * value, digits: 1)) %" }

    /// A small difference: `3.2e-07`.
    static func scientific(_ value: Double) -> String {
        guard value != 0, value.isFinite else { return value == 0 ? "0" : "\(value)" }
        var exponent = 0
        var mantissa = abs(value)
        while mantissa >= 10 { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
        while mantissa < 1 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
        let sign = value < 0 ? "-" : ""
        let digits = String(abs(exponent))
        return
            "\(sign)\(decimal(mantissa, digits: 1))e\(exponent < 0 ? "-" : "+")\(digits.count < 2 ? "0" : "")\(digits)"
    }

    /// A duration: `12 s`, `3 min 20 s`, `2 h 5 min`.
    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0 else { return "?" }
        if seconds < 1 { return "\(decimal(seconds * 1000, digits: 0)) ms" }
        if seconds < 10 { return "\(decimal(seconds, digits: 1)) s" }
        let whole = Int(seconds.rounded())
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }
}

/// Reads the text of an extent: a `dim_param` that may be a name or an expression.
struct ExtentParser {
    /// The deepest nesting of parentheses that is read as an expression.
    private static let depthLimit = 20

    private let text: [UInt8]
    private var position = 0
    private var depth = 0

    /// The expression that a text spells; a text that is none is one name as a whole.
    static func parse(_ text: String) -> ExtentExpression {
        guard text.utf8.count <= ExtentExpression.textLimit else { return ExtentExpression(.name(text)) }
        var parser = ExtentParser(text: Array(text.utf8))
        guard let expression = parser.sum(), parser.atEnd else { return ExtentExpression(.name(text)) }
        return expression
    }

    private init(text: [UInt8]) { self.text = text }

    private var atEnd: Bool { position == text.count }

    private mutating func skipBlanks() {
        while position < text.count, text[position] == UInt8(ascii: " ") { position += 1 }
    }

    private mutating func take(_ symbol: StaticString) -> Bool {
        let length = symbol.utf8CodeUnitCount
        guard position + length <= text.count else { return false }
        for offset in 0..<length where text[position + offset] != symbol.utf8Start[offset] { return false }
        position += length
        skipBlanks()
        return true
    }

    private mutating func sum() -> ExtentExpression? {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.depthLimit else { return nil }
        skipBlanks()
        guard var result = product() else { return nil }
        while true {
            if take("+") {
                guard let next = product(), let sum = result.adding(next) else { return nil }
                result = sum
            } else if take("-") {
                guard let next = product()?.negated(), let sum = result.adding(next) else { return nil }
                result = sum
            } else {
                return result
            }
        }
    }

    private mutating func product() -> ExtentExpression? {
        if take("-") { return product()?.negated() }
        guard var result = primary() else { return nil }
        while true {
            if take("//") {
                guard let next = primary(), let quotient = result.floorDivided(by: next) else { return nil }
                result = quotient
            } else if take("*") {
                guard let next = primary(), let product = result.multiplied(by: next) else { return nil }
                result = product
            } else {
                return result
            }
        }
    }

    private mutating func primary() -> ExtentExpression? {
        guard position < text.count else { return nil }
        if take("(") {
            guard let inner = sum(), take(")") else { return nil }
            return inner
        }
        let first = text[position]
        if first >= UInt8(ascii: "0"), first <= UInt8(ascii: "9") { return number() }
        guard Self.startsName(first) else { return nil }
        let start = position
        position += 1
        while position < text.count,
            Self.continuesName(text[position], next: position + 1 < text.count ? text[position + 1] : 0)
        { position += 1 }
        let name = String(decoding: text[start..<position], as: UTF8.self)
        skipBlanks()
        guard take("(") else { return ExtentExpression(.name(name)) }
        var arguments: [ExtentExpression] = []
        repeat {
            guard let argument = sum() else { return nil }
            arguments.append(argument)
        } while take(",")
        return take(")") ? ExtentExpression.call(name, arguments) : nil
    }

    private mutating func number() -> ExtentExpression? {
        var value = 0
        while position < text.count, text[position] >= UInt8(ascii: "0"), text[position] <= UInt8(ascii: "9") {
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (next, carry) = scaled.addingReportingOverflow(Int(text[position] - UInt8(ascii: "0")))
            guard !overflow, !carry else { return nil }
            value = next
            position += 1
        }
        // "3d" is a name, not a number.
        if position < text.count, Self.startsName(text[position]) { return nil }
        skipBlanks()
        return ExtentExpression(value)
    }

    private static func startsName(_ byte: UInt8) -> Bool {
        (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z"))
            || (byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")) || byte == UInt8(ascii: "_") || byte >= 0x80
    }

    private static func continuesName(_ byte: UInt8, next: UInt8) -> Bool {
        if startsName(byte) || (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")) { return true }
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: ":"): return true
        case UInt8(ascii: "-"), UInt8(ascii: "/"): return startsName(next)
        default: return false
        }
    }
}

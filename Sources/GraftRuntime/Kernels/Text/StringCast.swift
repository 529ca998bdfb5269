import GraftCore
import GraftIR

/// Conversions between numbers and texts, as NumPy writes numbers.
enum StringCast {
    // MARK: From texts

    static func parse(_ texts: StringTensor, _ settings: CastSettings, _ context: KernelContext) throws -> RuntimeTensor
    {
        let words = texts.elements.map { String(decoding: $0, as: UTF8.self).trimmed }
        if settings.type.isInteger {
            let parsed = try context.temporary(.int64, texts.shape)
            for (index, word) in words.enumerated() { parsed.int64s[index] = try wholeNumber(word) }
            return try converted(parsed, settings, context)
        }
        let parsed = try context.temporary(.float64, texts.shape)
        let target = parsed.typed(Double.self)
        for (index, word) in words.enumerated() { target[index] = try number(word) }
        // A text is rounded once to the type of the result.
        if settings.type == .float32 {
            let result = try context.temporary(.float32, texts.shape)
            for (index, word) in words.enumerated() { result.floats[index] = Float(word) ?? Float(target[index]) }
            return result
        }
        return try converted(parsed, settings, context)
    }

    private static func converted(
        _ tensor: RuntimeTensor, _ settings: CastSettings, _ context: KernelContext
    ) throws -> RuntimeTensor {
        SmallElements.contains(settings.type)
            ? try context.castSmall(tensor, settings) : try context.cast(tensor, settings.type)
    }

    /// The integer part of a number; the bits of one that only an unsigned integer holds.
    private static func wholeNumber(_ word: String) throws -> Int64 {
        if let value = Int64(word) { return value }
        if let value = UInt64(word) { return Int64(bitPattern: value) }
        let value = try number(word).rounded(.towardZero)
        return Int64(exactly: value) ?? (value.isNaN ? 0 : value < 0 ? .min : .max)
    }

    private static func number(_ word: String) throws -> Double {
        switch word.lowercased() {
        case "inf", "+inf", "infinity", "+infinity": return .infinity
        case "-inf", "-infinity": return -.infinity
        case "nan", "+nan", "-nan": return .nan
        case "true": return 1
        case "false": return 0
        default:
            guard let value = Double(word) else {
                throw KernelFailure("the text \"\(word.prefix(40))\" is no number")
            }
            return value
        }
    }

    // MARK: To texts

    static func text(_ x: RuntimeTensor, _ context: KernelContext) throws -> StringTensor {
        func integers<T: FixedWidthInteger>(_ type: T.Type) -> [[UInt8]] {
            (0..<x.count).map { Array(String(x.typed(T.self)[$0]).utf8) }
        }
        let elements: [[UInt8]]
        switch x.elementType {
        case .bool: elements = (0..<x.count).map { Array((x.typed(UInt8.self)[$0] != 0 ? "True" : "False").utf8) }
        case .int8: elements = integers(Int8.self)
        case .int16: elements = integers(Int16.self)
        case .int32: elements = integers(Int32.self)
        case .int64: elements = integers(Int64.self)
        case .uint8: elements = integers(UInt8.self)
        case .uint16: elements = integers(UInt16.self)
        case .uint32: elements = integers(UInt32.self)
        case .uint64: elements = integers(UInt64.self)
        case .float16: elements = (0..<x.count).map { text(x.typed(Float16.self)[$0]) }
        case .float32: elements = (0..<x.count).map { text(x.floats[$0]) }
        case .float64: elements = (0..<x.count).map { text(x.typed(Double.self)[$0]) }
        case .bfloat16: return try text(context.cast(x, .float32), context)
        case .complex64, .complex128, .string: throw KernelFailure("conversion from \(x.elementType.name)")
        default:
            let numbers = try context.decoded(x)
            return try text(x.elementType.isInteger ? context.cast(numbers, .int8) : numbers, context)
        }
        return StringTensor(shape: x.shape, elements: elements)
    }

    private static func text<T: BinaryFloatingPoint & CustomStringConvertible>(_ value: T) -> [UInt8] {
        if value.isNaN { return Array("nan".utf8) }
        if value.isInfinite { return Array((value < 0 ? "-inf" : "inf").utf8) }
        return Array(plain(value.description).utf8)
    }

    /// The shortest digits of a number laid out as NumPy does: with an exponent below 1e-4 and from 1e16 on.
    static func plain(_ description: String) -> String {
        var digits: [Character] = []
        var exponent = 0
        var isNegative = false
        var pointAt: Int?
        var rest = description[...]
        if rest.first == "-" {
            isNegative = true
            rest.removeFirst()
        }
        if let mark = rest.firstIndex(where: { $0 == "e" || $0 == "E" }) {
            exponent = Int(rest[rest.index(after: mark)...]) ?? 0
            rest = rest[..<mark]
        }
        for character in rest {
            if character == "." { pointAt = digits.count } else { digits.append(character) }
        }
        // The number is 0.d1d2d3... times ten to the power of `point`.
        var point = (pointAt ?? digits.count) + exponent
        while digits.count > 1, digits.first == "0" {
            digits.removeFirst()
            point -= 1
        }
        while digits.count > 1, digits.last == "0" { digits.removeLast() }
        if digits == ["0"] { return isNegative ? "-0.0" : "0.0" }
        let sign = isNegative ? "-" : ""
        if point > 16 || point < -3 {
            let fraction = digits.count > 1 ? "." + String(digits[1...]) : ""
            let power = String(abs(point - 1))
            return sign + String(digits[0]) + fraction + (point > 0 ? "e+" : "e-") + (power.count < 2 ? "0" : "")
                + power
        }
        if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + String(digits) }
        if point >= digits.count {
            return sign + String(digits) + String(repeating: "0", count: point - digits.count) + ".0"
        }
        return sign + String(digits[..<point]) + "." + String(digits[point...])
    }
}

extension String {
    /// The text without white space around it.
    fileprivate var trimmed: String {
        guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace })
        else { return "" }
        return String(self[first...last])
    }
}

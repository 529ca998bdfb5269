import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Cast and CastLike from and to texts.
///
/// Numbers are written as NumPy writes them: the fewest digits that give the number back.
final class TextCast: Kernel {
    private let target: ElementType?
    private let inner: (any Kernel)?

    private init(to target: ElementType?, otherwise inner: (any Kernel)?) {
        self.target = target
        self.inner = inner
    }

    /// The kernel for a node that converts from or to texts; nil for any other node.
    static func kernel(for node: KernelNode) -> (any Kernel)? {
        guard node.op.isONNX("Cast"), let code = node.attributes.int("to").flatMap({ Int32(exactly: $0) }),
            let type = ElementType(rawValue: code)
        else { return nil }
        return type == .string || node.elementType(0) == .string ? TextCast(to: type, otherwise: nil) : nil
    }

    /// The kernel of a node, made able to take texts where the file does not say what it is given.
    static func wrap(_ kernel: any Kernel, _ node: KernelNode) -> any Kernel {
        if node.op.isONNX("Cast"), node.elementType(0) == nil {
            let code = node.attributes.int("to").flatMap { Int32(exactly: $0) }
            return TextCast(to: code.flatMap { ElementType(rawValue: $0) }, otherwise: kernel)
        }
        let isKnown = { node.elementType($0).map { $0 != .string } ?? false }
        if node.op.isONNX("CastLike"), !isKnown(0) || !isKnown(1) { return TextCast(to: nil, otherwise: kernel) }
        return kernel
    }

    func run(_ context: KernelContext) throws {
        let source = try context.value(0)
        guard let target = try target ?? context.value(1).elementType else { throw KernelFailure("not a tensor") }
        switch source {
        case .strings(let strings):
            if target == .string { context.set(0, source) } else { try parse(strings, to: target, context) }
        case .tensor(let tensor):
            if target == .string {
                let plain = try context.reordered(tensor, .rowMajor)
                context.set(0, .strings(StringTensor(shape: plain.shape, elements: try Self.texts(plain, context))))
            } else if let inner {
                try inner.run(context)
            } else {
                throw KernelFailure("the input is declared to hold texts, but holds \(tensor.elementType.name)")
            }
        default: throw KernelFailure("not a tensor")
        }
    }

    // MARK: To texts

    private static func texts(_ tensor: RuntimeTensor, _ context: KernelContext) throws -> [[UInt8]] {
        func integers<T: FixedWidthInteger>(_ type: T.Type) -> [[UInt8]] {
            (0..<tensor.count).map { Array("\(tensor.typed(T.self)[$0])".utf8) }
        }
        switch tensor.elementType {
        case .float32:
            return (0..<tensor.count).map {
                text(tensor.floats[$0].description, Double(tensor.floats[$0]), plainBelow: 1e6)
            }
        case .float64:
            let numbers = tensor.typed(Double.self)
            return (0..<tensor.count).map { text(numbers[$0].description, numbers[$0], plainBelow: 1e16) }
        case .float16:
            let numbers = tensor.typed(Float16.self)
            return (0..<tensor.count).map { text(numbers[$0].description, Double(numbers[$0]), plainBelow: 1e3) }
        case .bool: return (0..<tensor.count).map { Array((tensor.typed(UInt8.self)[$0] != 0 ? "True" : "False").utf8) }
        case .int8: return integers(Int8.self)
        case .int16: return integers(Int16.self)
        case .int32: return integers(Int32.self)
        case .int64: return integers(Int64.self)
        case .uint8: return integers(UInt8.self)
        case .uint16: return integers(UInt16.self)
        case .uint32: return integers(UInt32.self)
        case .uint64: return integers(UInt64.self)
        case let type where type.isFloatingPoint: return try texts(context.cast(tensor, .float32), context)
        case let type where type.isInteger: return try texts(context.cast(tensor, .int32), context)
        case let type: throw KernelFailure("conversion from \(type.name) to texts")
        }
    }

    /// A number as NumPy writes it, from Swift's shortest digits.
    ///
    /// Without an exponent are numbers from 1e-4 to the power of ten whose digits the type holds: 1e3, 1e6 or 1e16
    /// (NumPy 2.4; older ones take 1e16 for all).
    static func text(_ shortest: String, _ value: Double, plainBelow bound: Double) -> [UInt8] {
        guard value.isFinite else { return Array((shortest.hasSuffix("inf") ? shortest : "nan").utf8) }
        let parts = shortest.split(separator: "e")
        var mantissa = parts[0]
        let sign = mantissa.hasPrefix("-") ? "-" : ""
        if !sign.isEmpty { mantissa = mantissa.dropFirst() }
        let halves = mantissa.split(separator: ".", omittingEmptySubsequences: false)
        var digits = Array(halves[0].utf8)
        var point = digits.count + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
        if halves.count > 1 { digits += Array(halves[1].utf8) }
        let zero = UInt8(ascii: "0")
        while digits.count > 1, digits[0] == zero {
            digits.removeFirst()
            point -= 1
        }
        while digits.count > 1, digits.last == zero { digits.removeLast() }
        if digits == [zero] { return Array("\(sign)0.0".utf8) }
        func characters(_ range: Range<Int>) -> String { String(decoding: digits[range], as: UTF8.self) }
        let exponent = point - 1
        if value.magnitude < 1e-4 || value.magnitude >= bound {
            let rest = digits.count > 1 ? ".\(characters(1..<digits.count))" : ""
            let power = abs(exponent) < 10 ? "0\(abs(exponent))" : "\(abs(exponent))"
            return Array("\(sign)\(characters(0..<1))\(rest)e\(exponent < 0 ? "-" : "+")\(power)".utf8)
        }
        if point <= 0 {
            return Array("\(sign)0.\(String(repeating: "0", count: -point))\(characters(0..<digits.count))".utf8)
        }
        if point >= digits.count {
            let zeros = String(repeating: "0", count: point - digits.count)
            return Array("\(sign)\(characters(0..<digits.count))\(zeros).0".utf8)
        }
        return Array("\(sign)\(characters(0..<point)).\(characters(point..<digits.count))".utf8)
    }

    // MARK: From texts

    private func parse(_ strings: StringTensor, to target: ElementType, _ context: KernelContext) throws {
        switch target {
        case .float64: try fill(strings, Double.self, context) { Self.number($0, strtod) }
        case .float32: try fill(strings, Float.self, context) { Self.number($0, strtof) }
        case .int8: try fill(strings, Int8.self, context, Self.integer)
        case .int16: try fill(strings, Int16.self, context, Self.integer)
        case .int32: try fill(strings, Int32.self, context, Self.integer)
        case .int64: try fill(strings, Int64.self, context, Self.integer)
        case .uint8: try fill(strings, UInt8.self, context, Self.integer)
        case .uint16: try fill(strings, UInt16.self, context, Self.integer)
        case .uint32: try fill(strings, UInt32.self, context, Self.integer)
        case .uint64: try fill(strings, UInt64.self, context, Self.integer)
        case .bool:
            try fill(strings, Bool.self, context) {
                switch $0.lowercased() {
                case "1", "true": true
                case "0", "false": false
                default: nil
                }
            }
        case let type where type.isFloatingPoint:
            try parse(strings, to: .float32, context)
            if case .tensor(let wide)? = context.output(at: 0) { context.set(0, try context.cast(wide, type)) }
        default: throw KernelFailure("conversion from texts to \(target.name)")
        }
    }

    private func fill<T: TensorElement>(
        _ strings: StringTensor, _ type: T.Type, _ context: KernelContext, _ parse: (String) -> T?
    ) throws {
        let result = try context.output(0, T.elementType, strings.shape).typed(T.self)
        for (index, bytes) in strings.elements.enumerated() {
            let text = String(decoding: bytes, as: UTF8.self)
            // Blanks around a number say nothing, as in NumPy's conversion.
            let trimmed = String(text.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
            guard let number = parse(trimmed) else {
                throw KernelFailure("the text \"\(text.prefix(40))\" is no \(T.elementType.name)")
            }
            result[index] = number
        }
    }

    /// A whole text as a whole number, which may be written with a fraction of zero or an exponent.
    private static func integer<T: FixedWidthInteger>(_ text: String) -> T? {
        T(text) ?? number(text, strtod).flatMap { T(exactly: $0) }
    }

    /// A whole text as a decimal number; `inf` and `nan` in any spelling of their letters.
    private static func number<T: BinaryFloatingPoint>(
        _ text: String, _ convert: (UnsafePointer<CChar>, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> T
    ) -> T? {
        // The C library would take hexadecimal numbers too, and bytes behind a zero would be lost.
        guard !text.isEmpty,
            !text.utf8.contains(where: { $0 == 0 || $0 == UInt8(ascii: "x") || $0 == UInt8(ascii: "X") })
        else { return nil }
        return text.withCString { start in
            var end: UnsafeMutablePointer<CChar>?
            let value = convert(start, &end)
            guard let end, end != UnsafeMutablePointer(mutating: start), end.pointee == 0 else { return nil }
            return value
        }
    }
}

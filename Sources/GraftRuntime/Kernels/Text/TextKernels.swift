import CRE2
import GraftCore
import GraftIR

/// Operators on texts: StringConcat, StringSplit, StringNormalizer, RegexFullMatch.
enum TextKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("StringConcat", run: concat),
            .function(
                "StringSplit",
                prepare: { node -> (delimiter: [UInt8], most: Int?) in
                    var delimiter: [UInt8] = []
                    if case .string(let bytes)? = node.attributes["delimiter"] { delimiter = bytes }
                    return (delimiter, node.attributes.int("maxsplit"))
                }, run: { try split($1, delimiter: $0.delimiter, most: $0.most) }),
            .function("StringNormalizer", prepare: { try Normalization($0) }, run: { try normalize($1, $0) }),
            KernelDefinition("RegexFullMatch") { try FullMatchKernel($0) },
        ]
    }

    private static func concat(_ context: KernelContext) throws {
        let (a, b) = (try context.strings(0), try context.strings(1))
        let shape = try Broadcast.shape([a.shape, b.shape])
        let (x, y) = (TextWalk(a.shape, over: shape), TextWalk(b.shape, over: shape))
        guard let count = Checked.product(shape) else { throw KernelFailure("a result of shape \(shape)") }
        let elements = (0..<count).map { a.elements[x.offset($0)] + b.elements[y.offset($0)] }
        context.set(0, .strings(StringTensor(shape: shape, elements: elements)))
    }

    // MARK: StringSplit

    private static func split(_ context: KernelContext, delimiter: [UInt8], most: Int?) throws {
        let x = try context.strings(0)
        // A negative bound is none.
        let bound = most.flatMap { $0 < 0 ? nil : $0 } ?? .max
        let parts = x.elements.map { delimiter.isEmpty ? words($0, most: bound) : pieces($0, delimiter, most: bound) }
        let width = parts.map(\.count).max() ?? 0
        guard let count = Checked.product([parts.count, width]), count <= 1 << 26 else {
            throw KernelFailure("the texts have up to \(width) parts")
        }
        var elements: [[UInt8]] = []
        elements.reserveCapacity(count)
        for part in parts { elements += part + Array(repeating: [], count: width - part.count) }
        context.set(0, .strings(StringTensor(shape: x.shape + [width], elements: elements)))
        let lengths = try context.output(1, .int64, x.shape)
        for (index, part) in parts.enumerated() { lengths.int64s[index] = Int64(part.count) }
    }

    /// What lies between runs of white space.
    private static func words(_ text: [UInt8], most: Int) -> [[UInt8]] {
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) || (28...31).contains(byte) }
        var result: [[UInt8]] = []
        var position = 0
        while true {
            while position < text.count, isSpace(text[position]) { position += 1 }
            guard position < text.count else { return result }
            if result.count == most {
                result.append(Array(text[position...]))
                return result
            }
            let start = position
            while position < text.count, !isSpace(text[position]) { position += 1 }
            result.append(Array(text[start..<position]))
        }
    }

    /// What lies between delimiters; an empty text has no parts.
    private static func pieces(_ text: [UInt8], _ delimiter: [UInt8], most: Int) -> [[UInt8]] {
        if text.isEmpty { return [] }
        var result: [[UInt8]] = []
        var (start, position) = (0, 0)
        while position + delimiter.count <= text.count, result.count < most {
            if text[position] == delimiter[0], text[position..<(position + delimiter.count)].elementsEqual(delimiter) {
                result.append(Array(text[start..<position]))
                position += delimiter.count
                start = position
            } else {
                position += 1
            }
        }
        result.append(Array(text[start...]))
        return result
    }

    // MARK: StringNormalizer

    struct Normalization {
        enum Case: String { case none = "NONE", lower = "LOWER", upper = "UPPER" }
        let change: Case
        let isCaseSensitive: Bool
        let stopWords: Set<[UInt8]>

        init(_ node: KernelNode) throws {
            let action = node.attributes.string("case_change_action") ?? "NONE"
            guard let change = Case(rawValue: action) else {
                throw KernelFailure("case_change_action is \"\(action)\"")
            }
            self.change = change
            let isCaseSensitive = node.attributes.int("is_case_sensitive") ?? 0 != 0
            self.isCaseSensitive = isCaseSensitive
            var words: [[UInt8]] = []
            if case .strings(let given)? = node.attributes["stopwords"] { words = given }
            stopWords = Set(words.map { isCaseSensitive ? $0 : Self.lowered($0) })
        }

        static func lowered(_ text: [UInt8]) -> [UInt8] {
            Array(String(decoding: text, as: UTF8.self).lowercased().utf8)
        }
        static func uppered(_ text: [UInt8]) -> [UInt8] {
            Array(String(decoding: text, as: UTF8.self).uppercased().utf8)
        }

        func isStopWord(_ text: [UInt8]) -> Bool {
            !stopWords.isEmpty && stopWords.contains(isCaseSensitive ? text : Self.lowered(text))
        }

        func changed(_ text: [UInt8]) -> [UInt8] {
            switch change {
            case .none: text
            case .lower: Self.lowered(text)
            case .upper: Self.uppered(text)
            }
        }
    }

    private static func normalize(_ context: KernelContext, _ settings: Normalization) throws {
        let x = try context.strings(0)
        guard x.shape.count == 1 || (x.shape.count == 2 && x.shape[0] == 1) else {
            throw KernelFailure("texts of shape \(x.shape); one row is needed")
        }
        var elements = x.elements.filter { !settings.isStopWord($0) }.map { settings.changed($0) }
        // Where every word is taken out, one empty text stays.
        if elements.isEmpty { elements = [[]] }
        context.set(
            0, .strings(StringTensor(shape: x.shape.dropLast() + [elements.count], elements: elements)))
    }
}

/// Whether texts match a pattern as a whole, in time linear in their length.
final class FullMatchKernel: Kernel {
    // Invariant: compiled in `init`, freed in `deinit`, never null between.
    private let pattern: OpaquePointer

    init(_ node: KernelNode) throws {
        guard case .string(let text)? = node.attributes["pattern"] else {
            throw KernelFailure("the pattern is missing")
        }
        var message = [CChar](repeating: 0, count: 256)
        let compiled = text.withUnsafeBytes { bytes in
            gre2_compile(bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, 8 << 20, &message, 256)
        }
        guard let compiled else {
            let reason = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw KernelFailure("the pattern \"\(String(decoding: text, as: UTF8.self))\": \(reason)")
        }
        pattern = compiled
    }

    deinit { gre2_free(pattern) }

    func run(_ context: KernelContext) throws {
        let x = try context.strings(0)
        let y = try context.output(0, .bool, x.shape).typed(Bool.self)
        for (index, text) in x.elements.enumerated() {
            y[index] = text.withUnsafeBytes { bytes in
                gre2_full_match(pattern, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
            }
        }
    }
}

extension KernelContext {
    /// An input that holds texts.
    func strings(_ index: Int) throws -> StringTensor {
        guard case .strings(let strings) = try value(index) else {
            throw KernelFailure("input \(index) holds no texts")
        }
        return strings
    }
}

/// Where the elements of a tensor that is broadcast lie.
struct TextWalk {
    private let shape: [Int]
    private let strides: [Int]

    init(_ own: [Int], over shape: [Int]) {
        self.shape = shape
        let padded = Array(repeating: 1, count: shape.count - own.count) + own
        let dense = RuntimeTensor.strides(padded, .rowMajor)
        strides = padded.indices.map { padded[$0] == 1 ? 0 : dense[$0] }
    }

    /// The element behind a position of the result.
    func offset(_ position: Int) -> Int {
        var (rest, offset) = (position, 0)
        for axis in shape.indices.reversed() {
            offset += rest % shape[axis] * strides[axis]
            rest /= shape[axis]
        }
        return offset
    }
}

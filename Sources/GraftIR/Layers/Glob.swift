/// A pattern over names: `*` stands for any characters, `?` for one, `[a-c]` and `[!a]` for one of a set; `.` and `/`
/// stand for each other.
struct Glob: Sendable, Equatable {
    private enum Element: Sendable, Equatable {
        case character(UInt8)
        case any
        case one
        case set([ClosedRange<UInt8>], isNegated: Bool)
    }

    /// The pattern as written.
    let text: String
    private let elements: [Element]

    init(_ text: String) {
        self.text = text
        var elements: [Element] = []
        let bytes = Array(text.utf8)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            switch byte {
            case UInt8(ascii: "*"): if elements.last != .any { elements.append(.any) }
            case UInt8(ascii: "?"): elements.append(.one)
            case UInt8(ascii: "["):
                guard let (set, next) = Self.set(bytes, from: index) else {
                    elements.append(.character(byte))
                    continue
                }
                elements.append(set)
                index = next
            default: elements.append(.character(Self.folded(byte)))
            }
        }
        self.elements = elements
    }

    /// Whether it is a plain name.
    var isLiteral: Bool { elements.allSatisfy { if case .character = $0 { true } else { false } } }

    /// Whether a whole name fits the pattern.
    func matches(_ name: String) -> Bool {
        var name = name
        return name.withUTF8 { bytes in
            // The usual walk with one point to go back to: after the last `*`.
            var position = 0
            var element = 0
            var retry: (element: Int, position: Int)?
            while position < bytes.count {
                if element < elements.count, elements[element] == .any {
                    retry = (element, position)
                    element += 1
                } else if element < elements.count, Self.fits(elements[element], bytes[position]) {
                    element += 1
                    position += 1
                } else if let back = retry {
                    retry = (back.element, back.position + 1)
                    element = back.element + 1
                    position = back.position + 1
                } else {
                    return false
                }
            }
            return elements[element...].allSatisfy { $0 == .any }
        }
    }

    private static func fits(_ element: Element, _ byte: UInt8) -> Bool {
        switch element {
        case .character(let wanted): wanted == folded(byte)
        case .any, .one: true
        case .set(let ranges, let isNegated): ranges.contains { $0.contains(byte) } != isNegated
        }
    }

    private static func folded(_ byte: UInt8) -> UInt8 { byte == UInt8(ascii: "/") ? UInt8(ascii: ".") : byte }

    private static func set(_ bytes: [UInt8], from start: Int) -> (Element, next: Int)? {
        guard let end = bytes[start...].firstIndex(of: UInt8(ascii: "]")), end > start else { return nil }
        var content = bytes[start..<end]
        let isNegated = content.first == UInt8(ascii: "!")
        if isNegated { content = content.dropFirst() }
        var ranges: [ClosedRange<UInt8>] = []
        while let low = content.first {
            content = content.dropFirst()
            if content.first == UInt8(ascii: "-"), let high = content.dropFirst().first, high >= low {
                ranges.append(low...high)
                content = content.dropFirst(2)
            } else {
                ranges.append(low...low)
            }
        }
        return (.set(ranges, isNegated: isNegated), end + 1)
    }
}

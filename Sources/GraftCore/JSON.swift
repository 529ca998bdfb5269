import OrderedCollections

/// A JSON value that keeps what a file says: member order, integers beyond 2^53, and Python's `NaN` and `Infinity`.
public enum JSON: Sendable, Hashable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number written without fraction or exponent that fits 64 bits.
    case int(Int64)
    /// Any other number, also `NaN`, `Infinity` and `-Infinity`.
    case number(Double)
    /// A text.
    case string(String)
    /// A list of values.
    case array([JSON])
    /// Members in their order.
    case object(OrderedDictionary<String, JSON>)
}

extension JSON {
    /// The member with the given name; nil where this is no object or has no such member.
    public subscript(name: String) -> JSON? {
        get {
            guard case .object(let members) = self else { return nil }
            return members[name]
        }
        set {
            guard case .object(var members) = self else { return }
            members[name] = newValue
            self = .object(members)
        }
    }

    /// The element at an index; nil where this is no array or too short.
    public subscript(index: Int) -> JSON? {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
        return elements[index]
    }

    /// The text, where this is one.
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The truth value, where this is one.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The elements, where this is an array.
    public var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
    /// The members, where this is an object.
    public var object: OrderedDictionary<String, JSON>? { if case .object(let value) = self { value } else { nil } }
    /// Whether this is `null`.
    public var isNull: Bool { self == .null }

    /// The integer, where this is one or a number with an integral value.
    public var int: Int? {
        switch self {
        case .int(let value): Int(exactly: value)
        case .number(let value): Int(exactly: value)
        default: nil
        }
    }

    /// The number, where this is one.
    public var double: Double? {
        switch self {
        case .int(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .int(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(OrderedDictionary(elements, uniquingKeysWith: { $1 }))
    }

    /// An integer.
    public init(_ value: Int) { self = .int(Int64(value)) }
    /// A number.
    public init(_ value: Double) { self = .number(value) }
    /// A number with the shortest text that gives the same `Float`.
    public init(_ value: Float) { self = .number(Double("\(value)") ?? Double(value)) }
    /// A text.
    public init(_ value: String) { self = .string(value) }
    /// A truth value.
    public init(_ value: Bool) { self = .bool(value) }
    /// A list.
    public init(_ values: some Sequence<JSON>) { self = .array(Array(values)) }
    /// A list of integers, such as a shape.
    public init(_ values: [Int]) { self = .array(values.map { JSON($0) }) }
    /// A list of texts.
    public init(_ values: [String]) { self = .array(values.map { JSON($0) }) }
    /// The value, or `null`.
    public init(optional value: String?) { self = value.map { .string($0) } ?? .null }
}

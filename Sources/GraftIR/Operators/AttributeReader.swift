import GraftCore

/// An attribute of a node that cannot be what its operator needs.
public struct AttributeError: GraftError, Equatable {
    /// The name of the node, or of its first output.
    public let node: String
    /// Its operator.
    public let op: OperatorName
    /// The attribute.
    public let attribute: String
    /// What is wrong with it.
    public let reason: String

    /// An attribute that does not fit.
    public init(node: Node, attribute: String, reason: String) {
        self.node = node.name
        op = node.op
        self.attribute = attribute
        self.reason = reason
    }

    public var exitStatus: ExitStatus { .badInput }
    public var description: String { "node \"\(node)\" (\(op)): the attribute \"\(attribute)\" \(reason)" }
}

/// Reads the attributes of a node with their kinds checked: an attribute of the wrong kind is an error, never a default.
public struct AttributeReader {
    /// The node.
    public let node: Node

    /// A reader of a node's attributes.
    public init(_ node: Node) { self.node = node }

    /// Whether the attribute is given.
    public func has(_ name: String) -> Bool { node.attributes[name] != nil }

    private func wrongKind(_ name: String, _ expected: String) -> AttributeError {
        failure(name, "must be \(expected)")
    }

    /// An error about an attribute.
    public func failure(_ name: String, _ reason: String) -> AttributeError {
        AttributeError(node: node, attribute: name, reason: reason)
    }

    /// The integer, nil where it is left out.
    public func int(_ name: String) throws(AttributeError) -> Int? {
        switch node.attributes[name] {
        case nil: return nil
        case .int(let value): return Int(value)
        default: throw wrongKind(name, "an integer")
        }
    }

    /// The integer, or the operator's default.
    public func int(_ name: String, default value: Int) throws(AttributeError) -> Int { try int(name) ?? value }

    /// The integer that must be given.
    public func requiredInt(_ name: String) throws(AttributeError) -> Int {
        guard let value = try int(name) else { throw failure(name, "is missing") }
        return value
    }

    /// The switch, or the operator's default.
    public func flag(_ name: String, default value: Bool = false) throws(AttributeError) -> Bool {
        try int(name).map { $0 != 0 } ?? value
    }

    /// The number, nil where it is left out.
    public func float(_ name: String) throws(AttributeError) -> Float? {
        switch node.attributes[name] {
        case nil: return nil
        case .float(let value): return value
        default: throw wrongKind(name, "a number")
        }
    }

    /// The number, or the operator's default.
    public func float(_ name: String, default value: Float) throws(AttributeError) -> Float { try float(name) ?? value }

    /// The text, nil where it is left out.
    public func string(_ name: String) throws(AttributeError) -> String? {
        switch node.attributes[name] {
        case nil: return nil
        case .string(let value): return String(decoding: value, as: UTF8.self)
        default: throw wrongKind(name, "a text")
        }
    }

    /// The choice of that name among the cases of an enumeration, or the operator's default.
    public func choice<Choice: RawRepresentable & CaseIterable>(
        _ name: String, default value: Choice
    ) throws(AttributeError) -> Choice where Choice.RawValue == String {
        guard let text = try string(name) else { return value }
        guard let choice = Choice(rawValue: text) else {
            let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw failure(name, "is \"\(text)\"; it must be one of \(known)")
        }
        return choice
    }

    /// The integers, nil where they are left out.
    public func ints(_ name: String) throws(AttributeError) -> [Int]? {
        switch node.attributes[name] {
        case nil: return nil
        case .ints(let values): return values.map { Int($0) }
        case .empty: return []
        default: throw wrongKind(name, "a list of integers")
        }
    }

    /// The numbers, nil where they are left out.
    public func floats(_ name: String) throws(AttributeError) -> [Float]? {
        switch node.attributes[name] {
        case nil: return nil
        case .floats(let values): return values
        case .empty: return []
        default: throw wrongKind(name, "a list of numbers")
        }
    }

    /// The texts, nil where they are left out.
    public func strings(_ name: String) throws(AttributeError) -> [String]? {
        switch node.attributes[name] {
        case nil: return nil
        case .strings(let values): return values.map { String(decoding: $0, as: UTF8.self) }
        case .empty: return []
        default: throw wrongKind(name, "a list of texts")
        }
    }

    /// The tensor, nil where it is left out.
    public func tensor(_ name: String) throws(AttributeError) -> Tensor? {
        switch node.attributes[name] {
        case nil: return nil
        case .tensor(let stored): return stored.tensor
        default: throw wrongKind(name, "a tensor")
        }
    }

    /// The graph that must be given.
    public func graph(_ name: String) throws(AttributeError) -> Graph {
        guard case .graph(let graph)? = node.attributes[name] else { throw wrongKind(name, "a graph") }
        return graph
    }

    /// The element type whose code the attribute holds, nil where it is left out.
    public func elementType(_ name: String) throws(AttributeError) -> ElementType? {
        guard let code = try int(name) else { return nil }
        guard let narrow = Int32(exactly: code), let type = ElementType(rawValue: narrow) else {
            throw failure(name, "is \(code), which is no element type")
        }
        return type
    }
}

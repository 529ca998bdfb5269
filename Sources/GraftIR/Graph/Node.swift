/// The name of an operator: a domain and a type, and for functions an overload.
public struct OperatorName: Sendable, Hashable, CustomStringConvertible, ExpressibleByStringLiteral {
    /// The domain; empty for ONNX's own, which `ai.onnx` also names.
    public var domain: String
    /// The type, such as `Conv`.
    public var type: String
    /// Which of several functions of the same name; usually empty.
    public var overload: String

    /// The name of an operator.
    public init(_ type: String, domain: String = "", overload: String = "") {
        self.type = type
        self.domain = domain
        self.overload = overload
    }

    public init(stringLiteral value: String) { self.init(value) }

    /// The domain in its one spelling: empty where the file says `ai.onnx`.
    public var canonicalDomain: String { domain == "ai.onnx" ? "" : domain }

    /// The name with ONNX's own domain in its one spelling.
    public var canonical: OperatorName { OperatorName(type, domain: canonicalDomain, overload: overload) }

    /// Whether the operator is ONNX's own of that type.
    public func isONNX(_ type: String) -> Bool { self.type == type && canonicalDomain.isEmpty }

    /// The name as people write it: `Conv`, or `com.microsoft::Gelu`.
    public var description: String {
        let name = overload.isEmpty ? type : "\(type):\(overload)"
        return canonicalDomain.isEmpty ? name : "\(domain)::\(name)"
    }
}

/// The domain of the operators that Graft itself defines: gradients, losses and optimizer steps.
public let graftDomain = "ai.graft"

/// The handle of a node in its graph; it stays valid while the node exists, whatever else changes.
public struct NodeID: Sendable, Hashable, Comparable {
    package let index: Int
    package init(_ index: Int) { self.index = index }
    public static func < (a: NodeID, b: NodeID) -> Bool { a.index < b.index }
}

/// The handle of a value in its graph; it stays valid while the value exists, whatever else changes.
public struct ValueID: Sendable, Hashable, Comparable {
    package let index: Int
    package init(_ index: Int) { self.index = index }
    public static func < (a: ValueID, b: ValueID) -> Bool { a.index < b.index }
}

/// One operation of a graph.
///
/// The edges are changed through the graph, which keeps the use-lists; everything else may be set freely.
public struct Node: Sendable, Equatable {
    /// The name; a file may leave it empty and repeat it.
    public var name: String
    /// Which operator.
    public var op: OperatorName
    /// What it reads; nil for an optional input that is left out.
    public internal(set) var inputs: [ValueID?]
    /// What it makes; nil for an optional output that nobody wants.
    public internal(set) var outputs: [ValueID?]
    /// The settings; they are set through the graph, which keeps the captures of bodies.
    public internal(set) var attributes: Attributes
    /// The remark.
    public var docString: String
    /// Named texts.
    public var metadata: Metadata
    /// What the file said beyond this.
    public var carried: Carried

    /// The node's name, or for an unnamed one the operator and its first output's handle.
    public func label(in graph: Graph) -> String {
        if !name.isEmpty { return name }
        let first = outputs.lazy.compactMap { $0 }.first
        return first.map { "\(op.type)→\(graph[$0].name)" } ?? op.type
    }
}

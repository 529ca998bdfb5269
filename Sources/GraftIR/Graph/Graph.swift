import GraftCore

/// A graph of operations: a value, cheap to copy, whose parts have stable handles and use-lists that are always right.
///
/// Nodes are kept in file order, which for a valid graph is topological. Bodies of control-flow nodes are graphs in
/// attributes; a value that a body captures is a value of the body with origin ``Origin/capture(of:)`` and a use of
/// the outer value.
public struct Graph: Sendable {
    var nodeSlots: [Node?] = []
    var valueSlots: [Value?] = []
    var valueByName: [String: ValueID] = [:]

    /// The nodes in order.
    public internal(set) var order: [NodeID] = []
    /// The inputs in order.
    public internal(set) var inputs: [ValueID] = []
    /// The outputs in order; a value may be given out twice.
    public internal(set) var outputs: [ValueID] = []
    /// The stored tensors in file order.
    public internal(set) var initializers: [ValueID] = []
    /// The stored sparse tensors in file order.
    public internal(set) var sparseInitializers: [ValueID] = []
    /// The values whose types the file declares although they are neither inputs nor outputs, in file order.
    public internal(set) var declarations: [ValueID] = []

    /// The name.
    public var name: String
    /// The remark.
    public var docString: String
    /// Named texts.
    public var metadata: Metadata
    /// What the file said beyond this.
    public var carried: Carried

    /// An empty graph.
    public init(name: String = "") {
        self.name = name
        docString = ""
        metadata = Metadata()
        carried = .nothing
    }

    /// The node of a handle.
    ///
    /// - Precondition: the node exists.
    public subscript(id: NodeID) -> Node {
        _read {
            guard let node = nodeSlots[id.index] else { preconditionFailure("the node was removed") }
            yield node
        }
        _modify { yield &nodeSlots[id.index]! }
    }

    /// The value of a handle.
    ///
    /// - Precondition: the value exists.
    public subscript(id: ValueID) -> Value {
        _read {
            guard let value = valueSlots[id.index] else { preconditionFailure("the value was removed") }
            yield value
        }
        _modify { yield &valueSlots[id.index]! }
    }

    /// Whether the handle names a node that exists.
    public func contains(_ id: NodeID) -> Bool { nodeSlots.indices.contains(id.index) && nodeSlots[id.index] != nil }
    /// Whether the handle names a value that exists.
    public func contains(_ id: ValueID) -> Bool {
        valueSlots.indices.contains(id.index) && valueSlots[id.index] != nil
    }

    /// The value of that name.
    public func value(named name: String) -> ValueID? { valueByName[name] }

    /// The first node of that name.
    public func node(named name: String) -> NodeID? {
        name.isEmpty ? nil : order.first { self[$0].name == name }
    }

    /// All values that exist, in order of creation.
    public var values: [ValueID] {
        var result: [ValueID] = []
        result.reserveCapacity(valueSlots.count)
        // A pattern looks at a slot in place, where a comparison with nil may copy it.
        for index in valueSlots.indices { if case .some = valueSlots[index] { result.append(ValueID(index)) } }
        return result
    }

    /// The number of nodes.
    public var nodeCount: Int { order.count }

    /// The graphs in a node's attributes, with the attribute's name and the position in a list of graphs.
    public func bodies(of id: NodeID) -> [(attribute: String, index: Int, graph: Graph)] {
        self[id].attributes.all.flatMap { attribute -> [(String, Int, Graph)] in
            switch attribute.value {
            case .graph(let graph): [(attribute.name, 0, graph)]
            case .graphs(let graphs): graphs.enumerated().map { (attribute.name, $0.offset, $0.element) }
            default: []
            }
        }
    }

    /// A name that no value has: the prefix itself, or the prefix with a number.
    public func uniqueValueName(_ prefix: String) -> String {
        guard valueByName[prefix] != nil || prefix.isEmpty else { return prefix }
        var number = 1
        while valueByName["\(prefix)_\(number)"] != nil { number += 1 }
        return "\(prefix)_\(number)"
    }
}

extension Graph: Equatable {
    public static func == (a: Graph, b: Graph) -> Bool {
        a.order == b.order && a.inputs == b.inputs && a.outputs == b.outputs && a.initializers == b.initializers
            && a.sparseInitializers == b.sparseInitializers && a.declarations == b.declarations && a.name == b.name
            && a.docString == b.docString && a.metadata == b.metadata && a.carried == b.carried
            && a.nodeSlots == b.nodeSlots && a.valueSlots == b.valueSlots
    }
}

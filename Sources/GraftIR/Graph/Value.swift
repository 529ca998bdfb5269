import GraftCore

/// Where a value comes from.
public enum Origin: Sendable, Hashable {
    /// Nothing makes it: a name that a damaged file refers to, or a value that is about to be connected.
    case none
    /// The caller gives it; it may have an initializer as its default.
    case input
    /// The file holds it.
    case initializer
    /// A node makes it, as its output of that position.
    case node(NodeID, output: Int)
    /// In the body of a control-flow node: a value of the graph around it.
    case capture(of: ValueID)
}

/// One place that reads a value.
public enum Use: Sendable, Hashable {
    /// A node, as its input of that position.
    case node(NodeID, input: Int)
    /// The body of a node captures the value, under that handle in the body.
    case capture(NodeID, attribute: String, body: Int, value: ValueID)
    /// The graph gives it out, as its output of that position.
    case output(Int)
}

/// A value of a graph: an input, a weight, or what a node makes.
public struct Value: Sendable, Equatable {
    /// The name, unique in the graph.
    public internal(set) var name: String
    /// The type as far as declared or inferred.
    public var type: ValueType?
    /// Where it comes from.
    public internal(set) var origin: Origin
    /// The stored tensor of a weight, or the default of an input.
    public var initializer: StoredTensor?
    /// The stored sparse tensor of a weight.
    public var sparseInitializer: StoredSparseTensor?
    /// Who reads it, in no particular order.
    public internal(set) var uses: [Use]
    /// The remark of the declaration.
    public var docString: String
    /// Named texts of the declaration.
    public var metadata: Metadata
    /// What the file's declaration said beyond this.
    public var carried: Carried
    /// Further declarations in the file that say something else than the value's own.
    public var variants: [DeclarationVariant] = []

    /// The type, remark and named texts that the value is declared with.
    public var declaration: Declaration {
        get { Declaration(type: type, docString: docString, metadata: metadata, carried: carried) }
        set {
            type = newValue.type
            docString = newValue.docString
            metadata = newValue.metadata
            carried = newValue.carried
        }
    }

    /// The tensor of a weight.
    public var tensor: Tensor? { initializer?.tensor }
    /// Whether the file holds a tensor for it.
    public var isInitializer: Bool { initializer != nil || sparseInitializer != nil }
    /// The node that makes it.
    public var producer: NodeID? { if case .node(let node, _) = origin { node } else { nil } }
    /// The shape as far as known; of the stored tensor where there is one.
    public var shape: SymbolicShape? { initializer.map { SymbolicShape($0.tensor.shape) } ?? type?.shape }
    /// The element type as far as known; of the stored tensor where there is one.
    public var elementType: ElementType? { initializer?.tensor.elementType ?? type?.elementType }
    /// The nodes that read it.
    public var consumers: [NodeID] {
        uses.compactMap {
            switch $0 {
            case .node(let node, _), .capture(let node, _, _, _): node
            case .output: nil
            }
        }
    }
    /// Whether the graph gives it out.
    public var isOutput: Bool {
        uses.contains { if case .output = $0 { true } else { false } }
    }
}

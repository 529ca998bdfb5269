import GraftCore

/// What inference found out about the values of a graph, its bodies and the functions that it calls.
public struct InferredTypes: Sendable {
    /// A graph in an attribute of a node.
    public struct Body: Sendable, Hashable {
        /// The node.
        public let node: NodeID
        /// The attribute.
        public let attribute: String
        /// The position in a list of graphs.
        public let index: Int

        /// A graph in an attribute of a node.
        public init(node: NodeID, attribute: String, index: Int = 0) {
            self.node = node
            self.attribute = attribute
            self.index = index
        }
    }

    /// The types by the index of their value, as far as known; values beyond the end have none.
    private var types: [ValueType?] = []
    /// The contents of values that do not depend on what the caller gives, and of shapes that flow as data.
    private var contents: [KnownContent?] = []
    /// What was found out inside the bodies of control-flow nodes.
    public package(set) var bodies: [Body: InferredTypes] = [:]
    /// What was found out inside the functions that nodes call, for each call.
    public internal(set) var calls: [NodeID: InferredTypes] = [:]
    /// Where the file declares another type than follows from its operators, each a sentence.
    public internal(set) var conflicts: [String] = []

    /// Nothing known.
    public init() {}

    /// The type of a value, where known.
    public func type(of value: ValueID) -> ValueType? { value.index < types.count ? types[value.index] : nil }
    /// The shape of a value, where its rank is known.
    public func shape(of value: ValueID) -> SymbolicShape? {
        value.index < types.count ? types[value.index]?.shape : nil
    }
    /// The element type of a value, where known.
    public func elementType(of value: ValueID) -> ElementType? {
        value.index < types.count ? types[value.index]?.elementType : nil
    }
    /// The values whose types are known, with those.
    package var known: some Sequence<(ValueID, ValueType)> {
        types.enumerated().lazy.compactMap { index, type in type.map { (ValueID(index), $0) } }
    }
    /// The content of a value, where known: of one that does not depend on what the caller gives, and of shapes that
    /// flow as data.
    public func content(of value: ValueID) -> KnownContent? {
        value.index < contents.count ? contents[value.index] : nil
    }

    /// Makes room for what is found out about the values of a graph.
    mutating func reserve(_ graph: Graph) {
        types = Array(repeating: nil, count: graph.valueSlots.count)
        contents = Array(repeating: nil, count: graph.valueSlots.count)
    }

    package mutating func set(_ type: ValueType?, content: KnownContent?, of value: ValueID) {
        if let type {
            while types.count <= value.index { types.append(nil) }
            types[value.index] = type
        }
        if let content {
            while contents.count <= value.index { contents.append(nil) }
            contents[value.index] = content
        }
    }

    /// Infers one node that was added after the pass, leniently: what does not fit stays unknown.
    package mutating func inferEmitted(_ id: NodeID, in graph: Graph, opset: Int) {
        let node = graph[id]
        guard let schema = OperatorRegistry.schema(for: node.op) else { return }
        var context = InferenceContext(
            node: node, opset: opset,
            inputTypes: node.inputs.map { $0.flatMap { type(of: $0) ?? graph[$0].type } },
            inputContents: node.inputs.map { $0.flatMap { content(of: $0) } })
        guard (try? schema.inference(&context)) != nil else { return }
        for (index, output) in node.outputs.enumerated() {
            if let output { set(context.outputTypes[index], content: context.outputContents[index], of: output) }
        }
    }
}

/// The shape, and perhaps the element type, that an input of a model is taken to have.
public struct ShapeOverride: Sendable, Equatable, ExpressibleByArrayLiteral {
    /// The shape.
    public var shape: SymbolicShape
    /// The element type; the declared one where nil.
    public var elementType: ElementType?

    /// A shape in place of the declared one.
    public init(_ shape: SymbolicShape, elementType: ElementType? = nil) {
        self.shape = shape
        self.elementType = elementType
    }

    public init(arrayLiteral elements: Dimension...) { self.init(SymbolicShape(elements)) }
}

import GraftCore

/// What a rule of type inference sees of one node, and where it writes what follows.
public struct InferenceContext {
    /// The node.
    public let node: Node
    /// The version of the node's domain that the model imports.
    public let opset: Int
    /// The types of the inputs as far as known; nil for one left out or unknown.
    public let inputTypes: [ValueType?]
    /// The contents of the inputs, where they are constants or small integer tensors that inference follows.
    public let inputContents: [KnownContent?]
    /// The types of the outputs, as the rule sets them.
    public internal(set) var outputTypes: [ValueType?]
    /// The contents of the outputs, where the rule can tell them.
    public internal(set) var outputContents: [KnownContent?]
    /// Infers a body of the node: given types of the body's inputs, the types of its outputs.
    let inferBody: (Graph, [ValueType?]) throws -> [ValueType?]

    /// What a node's rule sees; for the inference pass.
    package init(
        node: Node, opset: Int, inputTypes: [ValueType?], inputContents: [KnownContent?],
        inferBody: @escaping (Graph, [ValueType?]) throws -> [ValueType?] = { graph, _ in
            graph.outputs.map { graph[$0].type }
        }
    ) {
        self.node = node
        self.opset = opset
        self.inputTypes = inputTypes
        self.inputContents = inputContents
        self.inferBody = inferBody
        outputTypes = Array(repeating: nil, count: node.outputs.count)
        outputContents = Array(repeating: nil, count: node.outputs.count)
    }

    /// The settings of the node.
    public var attributes: Attributes { node.attributes }
    /// The element type of an input, where known.
    public func elementType(_ input: Int) -> ElementType? { type(input)?.elementType }
    /// The shape of an input, where known.
    public func shape(_ input: Int) -> SymbolicShape? { type(input)?.shape }
    /// The type of an input, where known.
    public func type(_ input: Int) -> ValueType? { inputTypes.indices.contains(input) ? inputTypes[input] : nil }
    /// Whether an input is given.
    public func has(_ input: Int) -> Bool { node.inputs.indices.contains(input) && node.inputs[input] != nil }
    /// The content of an input, where known.
    public func content(_ input: Int) -> KnownContent? {
        inputContents.indices.contains(input) ? inputContents[input] : nil
    }

    /// Sets the type of an output.
    public mutating func setType(_ type: ValueType?, of output: Int = 0) {
        if outputTypes.indices.contains(output) { outputTypes[output] = type }
    }
    /// Sets the type of an output to a tensor.
    public mutating func setTensor(_ elementType: ElementType?, _ shape: SymbolicShape?, of output: Int = 0) {
        setType(.tensor(elementType, shape), of: output)
    }
    /// Sets the content of an output.
    public mutating func setContent(_ content: KnownContent?, of output: Int = 0) {
        if outputContents.indices.contains(output) { outputContents[output] = content }
    }
    /// The types of a body's outputs.
    public func outputTypes(of body: Graph, given inputs: [ValueType?]) throws -> [ValueType?] {
        try inferBody(body, inputs)
    }
    /// An error that names the node.
    public func failure(_ reason: String) -> InferenceError {
        InferenceError(node: node.name, op: node.op, reason: reason)
    }
}

/// What inference knows of a value's content.
public enum KnownContent: Sendable, Equatable {
    /// All of it.
    case tensor(Tensor)
    /// An integer tensor of at most one dimension that holds extents: shapes that flow through a graph as data.
    case extents([Extent], isScalar: Bool)
}

/// Why types cannot be inferred: the graph contradicts itself.
public struct InferenceError: GraftError, Equatable {
    /// The name of the node.
    public let node: String
    /// Its operator.
    public let op: OperatorName
    /// What does not fit.
    public let reason: String

    public var exitStatus: ExitStatus { .badInput }
    public var description: String { "node \"\(node)\" (\(op)): \(reason)" }
}

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
    /// Infers a body of the node: its attribute, its position in a list, the graph, and the types of its inputs.
    package typealias BodyInference = (String, Int, Graph, [ValueType?]) throws -> InferredTypes
    let inferBody: BodyInference

    /// What a node's rule sees; for the inference pass.
    package init(
        node: Node, opset: Int, inputTypes: [ValueType?], inputContents: [KnownContent?],
        inferBody: @escaping BodyInference = { _, _, _, _ in InferredTypes() }
    ) {
        self.node = node
        self.opset = opset
        self.inputTypes = inputTypes
        self.inputContents = inputContents
        self.inferBody = inferBody
        outputTypes = Array(repeating: nil, count: node.outputs.count)
        outputContents = Array(repeating: nil, count: node.outputs.count)
    }

    /// What a rule sees of a node that belongs to no graph; for plans.
    ///
    /// - Parameters:
    ///   - given: which inputs are given.
    ///   - wanted: which outputs are wanted.
    package init(
        name: String, op: OperatorName, attributes: Attributes, given: [Bool], wanted: [Bool], opset: Int,
        inputTypes: [ValueType?], inputContents: [KnownContent?]
    ) {
        self.init(
            node: Node(
                name: name, op: op, inputs: given.enumerated().map { $1 ? ValueID($0) : nil },
                outputs: wanted.enumerated().map { $1 ? ValueID(given.count + $0) : nil }, attributes: attributes,
                docString: "", metadata: Metadata(), carried: .nothing),
            opset: opset, inputTypes: inputTypes, inputContents: inputContents)
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
    /// What is found out inside a body that an attribute holds, given the types of the body's inputs; and the body.
    ///
    /// - Throws: ``AttributeError`` where the attribute holds no graph, or what the body's operators throw.
    public func infer(body attribute: String, given inputs: [ValueType?]) throws -> (graph: Graph, types: InferredTypes)
    {
        let graph = try reader.graph(attribute)
        return (graph, try inferBody(attribute, 0, graph, inputs))
    }
    /// An error that names the node.
    public func failure(_ reason: String) -> InferenceError {
        InferenceError(node: node.name, op: node.op, reason: reason)
    }
    /// The settings, with their kinds checked.
    public var reader: AttributeReader { AttributeReader(node) }
}

/// Why types cannot be inferred: the graph contradicts itself.
public struct InferenceError: GraftError, Equatable {
    /// The name of the node.
    public let node: String
    /// Its operator.
    public let op: OperatorName
    /// What does not fit.
    public let reason: String

    /// A contradiction at a node.
    public init(node: String, op: OperatorName, reason: String) {
        self.node = node
        self.op = op
        self.reason = reason
    }

    public var exitStatus: ExitStatus { .badInput }
    public var description: String { "node \"\(node)\" (\(op)): \(reason)" }
}

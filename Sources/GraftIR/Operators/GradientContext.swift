import GraftCore

/// What a gradient rule sees of one node, and where it writes the nodes that compute gradients.
///
/// The rule asks which inputs need a gradient, emits nodes, and names the value that holds each gradient. Shapes may
/// be unknown: rules use operators that take the shape from a value (`ReduceTo`, `ConvGradInput` of ``graftDomain``).
/// An input that needs a gradient and gets none is an error of the reverse pass, so a rule sets only what is right.
public struct GradientContext {
    /// The graph that is being extended.
    public package(set) var graph: Graph
    /// The node that gradients flow back through.
    public let node: Node
    /// The version of the node's domain that the model imports.
    public let opset: Int
    /// The version of ONNX's own domain that the model imports.
    public let onnxOpset: Int
    /// The gradients of the outputs; nil for an output that nothing depends on.
    public let outputGradients: [ValueID?]
    /// Which inputs need a gradient.
    public let needed: [Bool]
    /// The gradients of the inputs, as the rule sets them.
    public private(set) var inputGradients: [ValueID?]
    /// The inputs of which only the shape is read, so that nothing flows back to them.
    package private(set) var shapeInputs: Set<Int> = []
    /// What is known of the graph's values; emitted nodes add to it.
    package var types: InferredTypes
    /// Constants that were emitted before, by type and number.
    package var constants: [ConstantKey: ValueID]

    /// A scalar or short list that is emitted once a graph.
    package enum ConstantKey: Hashable {
        case scalar(ElementType, UInt64)
        case integers([Int])
    }

    /// What a node's rule sees; for the reverse pass.
    package init(
        graph: consuming Graph, types: consuming InferredTypes, constants: consuming [ConstantKey: ValueID], node: Node,
        opset: Int, onnxOpset: Int, outputGradients: [ValueID?], needed: [Bool]
    ) {
        self.graph = graph
        self.types = types
        self.constants = constants
        self.node = node
        self.opset = opset
        self.onnxOpset = onnxOpset
        self.outputGradients = outputGradients
        self.needed = needed
        inputGradients = Array(repeating: nil, count: node.inputs.count)
    }

    /// The extended graph and what is known of it, taken out of the context without a copy.
    package consuming func finish() -> (Graph, InferredTypes, [ConstantKey: ValueID]) { (graph, types, constants) }

    /// The settings of the node.
    public var attributes: Attributes { node.attributes }
    /// The settings, with their kinds checked.
    public var reader: AttributeReader { AttributeReader(node) }
    /// An input of the node; nil for one left out.
    public func input(_ index: Int) -> ValueID? { node.inputs.indices.contains(index) ? node.inputs[index] : nil }
    /// An output of the node; nil for one left out.
    public func output(_ index: Int = 0) -> ValueID? {
        node.outputs.indices.contains(index) ? node.outputs[index] : nil
    }
    /// The gradient of an output; nil where nothing depends on it.
    public func gradient(ofOutput index: Int = 0) -> ValueID? {
        outputGradients.indices.contains(index) ? outputGradients[index] : nil
    }
    /// Whether an input needs a gradient.
    public func needs(_ index: Int) -> Bool { needed.indices.contains(index) && needed[index] }
    /// The shape of a value as far as known.
    public func shape(of value: ValueID) -> SymbolicShape? { types.shape(of: value) ?? graph[value].shape }
    /// The element type of a value as far as known.
    public func elementType(of value: ValueID) -> ElementType? {
        types.elementType(of: value) ?? graph[value].elementType
    }
    /// The shape of an input as far as known.
    public func shape(ofInput index: Int) -> SymbolicShape? { input(index).flatMap { shape(of: $0) } }
    /// The content of an input, where known.
    public func content(ofInput index: Int) -> KnownContent? { input(index).flatMap { types.content(of: $0) } }

    /// Names the value that holds the gradient of an input.
    public mutating func setGradient(ofInput index: Int, _ value: ValueID?) { inputGradients[index] = value }

    /// Notes that nothing but the shape of an input is read.
    public mutating func readsOnlyShape(ofInput index: Int) { shapeInputs.insert(index) }

    /// An input that must be given.
    ///
    /// - Throws: ``InferenceError`` where it is left out.
    public func requiredInput(_ index: Int) throws(InferenceError) -> ValueID {
        guard let value = input(index) else { throw failure("input \(index) is missing") }
        return value
    }

    /// An output that must be named.
    ///
    /// - Throws: ``InferenceError`` where it is left out.
    public func requiredOutput(_ index: Int = 0) throws(InferenceError) -> ValueID {
        guard let value = output(index) else { throw failure("output \(index) has no name") }
        return value
    }

    /// The gradient of an output that the rule cannot do without.
    ///
    /// - Throws: ``InferenceError`` where nothing depends on the output.
    public func requiredGradient(ofOutput index: Int = 0) throws(InferenceError) -> ValueID {
        guard let value = gradient(ofOutput: index) else {
            throw failure("the loss depends on another output than number \(index), which has no gradient")
        }
        return value
    }

    /// An error that names the node.
    public func failure(_ reason: String) -> InferenceError {
        InferenceError(node: node.name, op: node.op, reason: reason)
    }
}

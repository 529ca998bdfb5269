import GraftCore

/// What a gradient rule sees of one node, and where it writes the nodes that compute gradients.
///
/// The rule asks which inputs need a gradient, emits nodes, and names the value that holds each gradient. Shapes may
/// be unknown: rules use operators that take the shape from a value (`ReduceTo`, `ConvGradInput` of ``graftDomain``).
public struct GradientContext {
    /// The graph that is being extended.
    public private(set) var graph: Graph
    /// The node that gradients flow back through.
    public let node: Node
    /// The version of ONNX's own domain that the model imports.
    public let opset: Int
    /// The gradients of the outputs; nil for an output that nothing depends on.
    public let outputGradients: [ValueID?]
    /// Which inputs need a gradient.
    public let needed: [Bool]
    /// The gradients of the inputs, as the rule sets them.
    public private(set) var inputGradients: [ValueID?]

    /// What a node's rule sees; for the reverse pass.
    package init(graph: Graph, node: Node, opset: Int, outputGradients: [ValueID?], needed: [Bool]) {
        self.graph = graph
        self.node = node
        self.opset = opset
        self.outputGradients = outputGradients
        self.needed = needed
        inputGradients = Array(repeating: nil, count: node.inputs.count)
    }

    /// The extended graph, taken out of the context without a copy.
    package consuming func finish() -> (Graph, [ValueID?]) { (graph, inputGradients) }

    /// The settings of the node.
    public var attributes: Attributes { node.attributes }
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
    /// The shape of an input as far as known.
    public func shape(ofInput index: Int) -> SymbolicShape? { input(index).flatMap { graph[$0].shape } }

    /// Names the value that holds the gradient of an input.
    public mutating func setGradient(ofInput index: Int, _ value: ValueID) { inputGradients[index] = value }

    /// Emits a node that makes one value.
    public mutating func emit(
        _ type: String, _ inputs: [ValueID?], domain: String = "", attributes: Attributes = Attributes()
    ) -> ValueID {
        graph.add(
            OperatorName(type, domain: domain), inputs, attributes: attributes,
            output: "grad/\(node.outputs.first.flatMap { $0.map { graph[$0].name } } ?? node.op.type)/\(type)")
    }

    /// Emits a node that makes several values.
    public mutating func emit(
        _ type: String, _ inputs: [ValueID?], outputs count: Int, domain: String = "",
        attributes: Attributes = Attributes()
    ) -> [ValueID] {
        let base = "grad/\(node.outputs.first.flatMap { $0.map { graph[$0].name } } ?? node.op.type)/\(type)"
        let values = (0..<count).map { _ in
            let name = graph.uniqueValueName(base)
            return graph.addValue(name)
        }
        graph.addNode(
            OperatorName(type, domain: domain), inputs: inputs, outputs: values, attributes: attributes)
        return values
    }

    /// Emits a constant.
    public mutating func constant(_ tensor: Tensor) -> ValueID {
        graph.addInitializer(graph.uniqueValueName("grad/constant"), tensor)
    }

    /// The gradient summed to the shape of `like`, where broadcasting widened it; itself where the shapes are known to
    /// be equal.
    public mutating func reduced(_ gradient: ValueID, like: ValueID, from shape: SymbolicShape?) -> ValueID {
        if let a = shape?.counts, let b = graph[like].shape?.counts, a == b { return gradient }
        return emit("ReduceTo", [gradient, like], domain: graftDomain)
    }

    /// An error that names the node.
    public func failure(_ reason: String) -> InferenceError {
        InferenceError(node: node.name, op: node.op, reason: reason)
    }
}

import GraftCore

/// Which version of a domain's operators a model uses.
public struct OpsetImport: Sendable, Hashable {
    /// The domain; empty or `ai.onnx` for ONNX's own.
    public var domain: String
    /// The version.
    public var version: Int
    /// What the file said beyond this.
    public var carried: Carried

    /// A domain and its version.
    public init(domain: String = "", version: Int, carried: Carried = .nothing) {
        self.domain = domain
        self.version = version
        self.carried = carried
    }
}

/// A function that a model brings with it: an operator defined by a graph.
public struct Function: Sendable, Equatable {
    /// The operator that it defines.
    public var name: OperatorName
    /// The body; its inputs and outputs are the function's.
    public var body: Graph
    /// The names of attributes that a caller must give.
    public var attributes: [String]
    /// The attributes that a caller may leave out, with their defaults.
    public var attributeDefaults: [Attribute]
    /// The operator versions that the body uses.
    public var opsets: [OpsetImport]
    /// What the file said beyond this.
    public var carried: Carried

    /// A function.
    public init(
        _ name: OperatorName, body: Graph, attributes: [String] = [], attributeDefaults: [Attribute] = [],
        opsets: [OpsetImport], carried: Carried = .nothing
    ) {
        self.name = name
        self.body = body
        self.attributes = attributes
        self.attributeDefaults = attributeDefaults
        self.opsets = opsets
        self.carried = carried
    }
}

/// A model: a graph, the functions it calls, and what its file says about it.
public struct Model: Sendable, Equatable {
    /// The graph.
    public var graph: Graph
    /// The functions that the graph may call.
    public var functions: [Function]
    /// The training steps that the model brings with it; nothing in Graft runs them.
    public var training: [TrainingInfo]
    /// The operator versions that the graph uses.
    public var opsets: [OpsetImport]
    /// The version of ONNX's intermediate representation that the file is written in.
    public var irVersion: Int
    /// Which program wrote the file.
    public var producerName: String
    /// Which version of that program.
    public var producerVersion: String
    /// The model's namespace, a reversed domain name.
    public var domain: String
    /// The version of the model.
    public var modelVersion: Int
    /// The remark.
    public var docString: String
    /// Named texts; annotations, labels and the preprocessing contract are stored here under names in `graft.`.
    public var metadata: Metadata
    /// What the file said beyond this.
    public var carried: Carried
    /// What other formats must write back, by a name of the format's choosing; such as a Keras layer configuration.
    public var attachments: [String: JSON]
    /// Arrays that other formats must write back, such as the state of an optimizer; by a name of the format's choosing.
    public var attachedTensors: [String: Tensor]
    /// The format that the model was read from, such as `onnx` or `keras-h5`; empty for a model made in memory.
    public var sourceFormat: String

    /// A model around a graph.
    public init(graph: Graph = Graph(), opset: Int = 17, irVersion: Int = 8) {
        self.graph = graph
        functions = []
        training = []
        opsets = [OpsetImport(version: opset)]
        self.irVersion = irVersion
        producerName = ""
        producerVersion = ""
        domain = ""
        modelVersion = 0
        docString = ""
        metadata = Metadata()
        carried = .nothing
        attachments = [:]
        attachedTensors = [:]
        sourceFormat = ""
    }

    /// The version of a domain's operators that the model uses; nil where it does not import the domain.
    public func opset(of domain: String = "") -> Int? {
        let wanted = domain == "ai.onnx" ? "" : domain
        return opsets.first { ($0.domain == "ai.onnx" ? "" : $0.domain) == wanted }?.version
    }

    /// Imports a domain where the model does not yet.
    public mutating func importOpset(_ domain: String, version: Int) {
        if opset(of: domain) == nil { opsets.append(OpsetImport(domain: domain, version: version)) }
    }

    /// The function that an operator calls.
    public func function(_ name: OperatorName) -> Function? { functions.first { $0.name.canonical == name.canonical } }
}

/// A training step that a model brings with it: graphs that set and renew the tensors of the model's graph.
///
/// Source: `TrainingInfoProto` in onnx.proto. The graphs may name initializers of the model's graph; such names are
/// values without an origin.
public struct TrainingInfo: Sendable, Equatable {
    /// The graph that makes the initial tensors.
    public var initialization: Graph?
    /// The graph of one step.
    public var algorithm: Graph?
    /// From the name of an initializer to the output of ``initialization`` that sets it.
    public var initializationBinding: Metadata
    /// From the name of an initializer to the output of ``algorithm`` that renews it.
    public var updateBinding: Metadata
    /// What the file said beyond this.
    public var carried: Carried

    /// A training step.
    public init(
        initialization: Graph? = nil, algorithm: Graph? = nil, initializationBinding: Metadata = Metadata(),
        updateBinding: Metadata = Metadata(), carried: Carried = .nothing
    ) {
        self.initialization = initialization
        self.algorithm = algorithm
        self.initializationBinding = initializationBinding
        self.updateBinding = updateBinding
        self.carried = carried
    }
}

import GraftIR

/// How a plan is made.
public struct PlanOptions: Sendable {
    /// Whether constants are folded and nodes are fused; turn it off to see every node in a profile.
    public var optimizes = true
    /// Whether matrix work may run in bfloat16 where the processor has it.
    public var allowsBF16 = false
    /// The weights that the plan keeps as values that can be set, read, and updated by runs; all other weights are
    /// constants.
    public var persistent: Set<ValueID> = []
    /// What replaces a persistent value after each run: the value that a node computes.
    public var updates: [ValueID: ValueID] = [:]
    /// The values that the caller gives; the graph's inputs without a stored default where nil.
    ///
    /// Any value may be given: features at a boundary replace everything before it.
    public var inputs: [ValueID]?
    /// The values that a run returns; the graph's outputs where nil.
    public var outputs: [ValueID]?
    /// What decodes pictures for ImageDecoder nodes; models with such nodes are refused where nil.
    public var pictureDecoder: PictureDecoder?

    /// What random operators without a seed of their own draw from, the same in every session; anew in each where nil.
    public var seed: UInt64?

    /// The usual plan for inference.
    public init() {}

    /// The plan of a model whose outputs are compared with another's: random operators draw alike in both.
    public static var forComparison: PlanOptions {
        var options = PlanOptions()
        options.seed = 0
        return options
    }
}

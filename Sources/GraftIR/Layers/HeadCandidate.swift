import GraftCore

/// A place in a network that may be its classifier.
public struct HeadCandidate: Sendable, Equatable {
    /// What one vector of class scores stands for.
    public enum Kind: String, Sendable, Hashable {
        /// The whole input.
        case sample
        /// Each position of a sequence.
        case position
        /// Each pixel of a picture.
        case pixel
    }

    /// How the classifier stores its matrix.
    public enum Form: Sendable, Hashable {
        /// `Gemm` with one row a class (`transB` = 1).
        case gemmRows
        /// `Gemm` with one column a class.
        case gemmColumns
        /// `MatMul` with one column a class.
        case matMul
        /// A convolution with one filter a class; the extents of its kernel.
        case convolution(kernel: [Int])
    }

    /// The node that multiplies by the classifier's matrix.
    public let node: NodeID
    /// The node that adds the bias, where that is a node of its own.
    public let biasNode: NodeID?
    /// How the matrix is stored.
    public let form: Form
    /// What a vector of scores stands for.
    public let kind: Kind
    /// What the classifier reads.
    public let features: ValueID
    /// The class scores, with the bias.
    public let logits: ValueID
    /// The output of the graph that the scores lead to.
    public let output: ValueID
    /// The nodes between the scores and the output, in order.
    public let tail: [NodeID]
    /// The axis of the classes in the value that each node of ``tail`` makes; negative ones count from the end.
    public let tailAxes: [Int]
    /// The softmax or sigmoid among ``tail``.
    public let activation: NodeID?
    /// How many features a score is computed from.
    public let featureCount: Int
    /// How many classes.
    public let classCount: Int
    /// How likely this is the classifier, from 0 to 1.
    public let score: Double
    /// Why, in words.
    public let reason: String

    /// All nodes of the head.
    public var nodes: Set<NodeID> { Set([node] + (biasNode.map { [$0] } ?? []) + tail) }
}

/// Why no head can be told.
public enum HeadError: GraftError, Equatable {
    /// Nothing in the graph looks like a classifier.
    case none(rejected: [String])
    /// Several places look like classifiers.
    case ambiguous(candidates: [String])
    /// The name given for the head is not in the model.
    case noSuchPlace(name: String, suggestion: String)
    /// The place given for the head is no classifier.
    case notAClassifier(name: String, reason: String)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus { .badInput }
    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .none(let rejected):
            "found no classifier"
                + (rejected.isEmpty ? "" : " (\(rejected.prefix(5).joined(separator: "; ")))")
                + "; name the place with --at NODE"
        case .ambiguous(let candidates):
            "several places may be the head: \(candidates.prefix(12).joined(separator: "; "))"
                + (candidates.count > 12 ? "; and \(candidates.count - 12) more" : "") + "; choose one with --at NODE"
        case .noSuchPlace(let name, let suggestion):
            "there is no node, layer or value named \"\(name)\".\(suggestion)"
        case .notAClassifier(let name, let reason): "\"\(name)\" cannot be the head: \(reason)"
        }
    }
}

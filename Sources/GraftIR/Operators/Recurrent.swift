import GraftCore

/// The settings of RNN, GRU and LSTM, whatever their version.
public struct RecurrentAttributes: Sendable {
    /// The order in which steps are read.
    public enum Direction: String, Sendable, CaseIterable {
        /// First to last.
        case forward
        /// Last to first.
        case reverse
        /// Both, as two directions of the output.
        case bidirectional
    }

    /// The order in which steps are read.
    public let direction: Direction
    /// The number of hidden units; nil where it follows from the weights.
    public let hiddenSize: Int?
    /// The activations of the gates, for each direction one after the other.
    public let activations: [String]
    /// The first number of each activation, where given.
    public let activationAlpha: [Float]?
    /// The second number of each activation, where given.
    public let activationBeta: [Float]?
    /// The bound of gate inputs, where there is one.
    public let clip: Float?
    /// Whether the batch is the first axis (`layout` 1).
    public let isBatchFirst: Bool
    /// Whether the input and forget gates of an LSTM are coupled.
    public let couplesForget: Bool
    /// Whether the hidden state of a GRU is multiplied by its weight before the reset gate.
    public let isLinearBeforeReset: Bool
    /// Whether the whole sequence of hidden states is given out (an attribute before opset 7).
    public let givesSequence: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an unknown direction or an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        direction = try reader.choice("direction", default: .forward)
        hiddenSize = try reader.int("hidden_size")
        let defaults: [String] =
            switch node.op.type {
            case "LSTM": ["Sigmoid", "Tanh", "Tanh"]
            case "GRU": ["Sigmoid", "Tanh"]
            default: ["Tanh"]
            }
        let directions = direction == .bidirectional ? 2 : 1
        activations =
            try reader.strings("activations").flatMap { $0.isEmpty ? nil : $0 }
            ?? Array(repeating: defaults, count: directions).flatMap { $0 }
        activationAlpha = try reader.floats("activation_alpha")
        activationBeta = try reader.floats("activation_beta")
        clip = try reader.float("clip")
        isBatchFirst = try reader.flag("layout")
        couplesForget = try reader.flag("input_forget")
        isLinearBeforeReset = try reader.flag("linear_before_reset")
        givesSequence = opset < 7 ? try reader.flag("output_sequence") : true
        if activations.count != defaults.count * directions {
            throw reader.failure(
                "activations", "has \(activations.count) entries, but \(defaults.count * directions) are needed")
        }
    }

    /// The number of directions: 1 or 2.
    public var directionCount: Int { direction == .bidirectional ? 2 : 1 }
}

/// Recurrent networks.
enum Recurrent: OperatorFamily {
    private static let reason = GradientRule.unsupported(reason: "recurrent networks have no gradient rule")

    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "RNN", versions: [1, 7, 14, 22], inputs: 3...6, outputs: 0...2, gradient: reason, cost: cost,
            inference: infer),
        OperatorSchema(
            "GRU", versions: [1, 3, 7, 14, 22], inputs: 3...6, outputs: 0...2, gradient: reason, cost: cost,
            inference: infer),
        OperatorSchema(
            "LSTM", versions: [1, 7, 14, 22], inputs: 3...8, outputs: 0...3, gradient: reason, cost: cost,
            inference: infer),
    ]

    private static func infer(_ context: inout InferenceContext) throws {
        let attributes = try RecurrentAttributes(context.node, opset: context.opset)
        try context.require(rank: 3, of: 0, named: "the input")
        try context.require(rank: 3, of: 1, named: "W")
        try context.require(rank: 3, of: 2, named: "R")
        let element = context.elementType(0)
        let x = context.shape(0)?.extents ?? [.unknown, .unknown, .unknown]
        let hidden = context.shape(2).map { $0[2].extent } ?? attributes.hiddenSize.map { .fixed($0) } ?? .unknown
        if let given = attributes.hiddenSize, case .fixed(let found) = hidden, given != found {
            throw context.failure("hidden_size is \(given), but R of shape \(context.shapeText(2)) has \(found)")
        }
        if let w = context.shape(1), case .fixed(let features) = x[2], let taken = w[2].count, features != taken {
            throw context.failure(
                "the input \(context.shapeText(0)) has \(features) features, but W of shape \(w) takes \(taken)")
        }
        let directions = Extent.fixed(attributes.directionCount)
        let sequence: [Extent]
        let last: [Extent]
        if attributes.isBatchFirst {
            sequence = [x[0], x[1], directions, hidden]
            last = [x[0], directions, hidden]
        } else {
            sequence = [x[0], directions, x[1], hidden]
            last = [directions, x[1], hidden]
        }
        context.setTensor(element, SymbolicShape(extents: sequence), of: 0)
        context.setTensor(element, SymbolicShape(extents: last), of: 1)
        context.setTensor(element, SymbolicShape(extents: last), of: 2)
    }

    /// The products with both weights, at each step and for each sample.
    private static func cost(_ node: Node, _ inputs: [[Int]?], _ outputs: [[Int]?]) -> Int? {
        guard inputs.count > 2, let x = inputs[0], x.count == 3, let w = inputs[1], let r = inputs[2],
            let weights = Checked.product(w), let recurrent = Checked.product(r)
        else { return nil }
        return Checked.sum(weights, recurrent).flatMap { Checked.product([x[0], x[1], $0]) }
    }
}

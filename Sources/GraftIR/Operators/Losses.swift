import GraftCore

/// The settings of the losses that ONNX defines.
public struct LossAttributes: Sendable {
    /// How the losses of the samples become the result.
    public enum Reduction: String, Sendable, CaseIterable {
        /// One loss a sample.
        case none
        /// The sum.
        case sum
        /// The mean, weighted where weights are given.
        case mean
    }

    /// How the losses of the samples become the result.
    public let reduction: Reduction
    /// The label that does not count, where there is one.
    public let ignoredLabel: Int?
    /// The part of the target that is spread over all classes (``graftDomain``).
    public let labelSmoothing: Float

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an unknown reduction or an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        reduction = try reader.choice("reduction", default: .mean)
        ignoredLabel = try reader.int("ignore_index")
        labelSmoothing = try reader.float("label_smoothing", default: 0)
        if !(0...1).contains(labelSmoothing) {
            throw reader.failure("label_smoothing", "is \(labelSmoothing); it must be between 0 and 1")
        }
    }
}

/// Losses over class scores.
///
/// The class axis is the second one; further axes are positions (pixels).
enum Losses: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        // (logits [N, C, ...], labels [N, ...] or probabilities [N, C, ...], weights [C]) -> (loss, probabilities):
        // the mean of -sum(target * log softmax(logits)), target = (1 - smoothing) * one-hot + smoothing / C.
        OperatorSchema(
            OperatorName("SoftmaxCrossEntropy", domain: graftDomain), inputs: 2...3, outputs: 1...2,
            gradient: .rule { context in
                guard let probabilities = context.output(1) else {
                    throw context.failure("the probabilities have no name")
                }
                context.setByOperator(
                    "SoftmaxCrossEntropyGrad",
                    [try context.requiredGradient(), probabilities, try context.requiredInput(1)]
                        + (context.input(2).map { [$0] } ?? []), attributes: context.attributes)
            },
            inference: { context in
                try checkLabels(context)
                context.setTensor(context.elementType(0), [])
                context.setType(context.type(0), of: 1)
            }),
        // (dLoss, probabilities, labels, weights) -> dLogits
        OperatorSchema(
            OperatorName("SoftmaxCrossEntropyGrad", domain: graftDomain), inputs: 3...4,
            gradient: .unsupported(reason: "second derivatives are not computed"), inference: CommonInference.like(1)),
        // (logits [N, C, ...], targets of the same shape) -> (loss, probabilities): the mean over samples and classes of
        // the binary cross-entropy of sigmoid(logits).
        OperatorSchema(
            OperatorName("SigmoidCrossEntropy", domain: graftDomain), inputs: 2...2, outputs: 1...2,
            gradient: .rule { context in
                guard let probabilities = context.output(1) else {
                    throw context.failure("the probabilities have no name")
                }
                context.setByOperator(
                    "SigmoidCrossEntropyGrad",
                    [try context.requiredGradient(), probabilities, try context.requiredInput(1)],
                    attributes: context.attributes)
            },
            inference: { context in
                if let scores = context.shape(0), let targets = context.shape(1),
                    scores.plain.unified(with: targets.plain) == nil
                {
                    throw context.failure("targets of shape \(targets) do not fit scores of shape \(scores)")
                }
                context.setTensor(context.elementType(0), [])
                context.setType(context.type(0), of: 1)
            }),
        // (dLoss, probabilities, targets) -> dLogits
        OperatorSchema(
            OperatorName("SigmoidCrossEntropyGrad", domain: graftDomain), inputs: 3...3,
            gradient: .unsupported(reason: "second derivatives are not computed"), inference: CommonInference.like(1)),
        OperatorSchema(
            "SoftmaxCrossEntropyLoss", versions: [12, 13], inputs: 2...3, outputs: 1...2,
            gradient: .unsupported(reason: "use the loss of \(graftDomain), or train with the scores as outputs"),
            inference: { context in
                try inferLoss(&context)
                context.setType(context.type(0), of: 1)
            }),
        OperatorSchema(
            "NegativeLogLikelihoodLoss", versions: [12, 13, 22], inputs: 2...3,
            gradient: .unsupported(reason: "use the loss of \(graftDomain), or train with the scores as outputs"),
            inference: inferLoss),
    ]

    private static func checkLabels(_ context: InferenceContext) throws {
        guard let logits = context.shape(0), let labels = context.shape(1) else { return }
        guard logits.rank >= 2, labels.rank == logits.rank || labels.rank == logits.rank - 1 else {
            throw context.failure("labels of shape \(labels) do not fit scores of shape \(logits)")
        }
        let expected =
            labels.rank == logits.rank
            ? logits : SymbolicShape(extents: [logits[0].extent] + logits.extents.dropFirst(2))
        if labels.plain.unified(with: expected.plain) == nil {
            throw context.failure("labels of shape \(labels) do not fit scores of shape \(logits)")
        }
    }

    private static func inferLoss(_ context: inout InferenceContext) throws {
        let attributes = try LossAttributes(context.node, opset: context.opset)
        context.setTensor(context.elementType(0), attributes.reduction == .none ? context.shape(1)?.plain : [])
    }
}

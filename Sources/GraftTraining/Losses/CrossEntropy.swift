import GraftData
import GraftIR

/// The mean negative log-likelihood of the right class under a softmax of the outputs, over samples or over all pixels
/// that count.
///
/// With label smoothing ε over K classes the target is (1 − ε)·onehot + ε/K.
package enum CrossEntropy: Loss {
    package static let name = "cross-entropy"
    package static let remark = "one class a sample, or a class for each pixel"
    package static let options: [NamedOption] = [
        .number("label_smoothing", 0, in: 0...0.999, "how much of the target is spread over all classes"),
        .count("ignore", Mask.ignored, in: 0...65_535, "the label of pixels that do not count"),
    ]
    package static let targetKinds: Set<TargetKind> = [.classes, .pixels]

    package static func build(
        in model: inout Model, scores: Scores, labels: ValueID, weights: ValueID?, _ values: [String: Double]
    ) -> ValueID {
        var attributes: Attributes = ["label_smoothing": .float(Float(values["label_smoothing"] ?? 0))]
        if scores.isPerPixel { attributes["ignore_index"] = .int(Int(values["ignore"] ?? Double(Mask.ignored))) }
        let loss = model.graph.addValue(model.graph.uniqueValueName("graft.loss"))
        let probabilities = model.graph.addValue(model.graph.uniqueValueName("graft.probabilities"))
        model.graph.addNode(
            OperatorName("SoftmaxCrossEntropy", domain: graftDomain), name: "graft.loss",
            inputs: [scores.value, labels] + (weights.map { [$0] } ?? []), outputs: [loss, probabilities],
            attributes: attributes)
        model.importOpset(graftDomain, version: 1)
        return loss
    }
}

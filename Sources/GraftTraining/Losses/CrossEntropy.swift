import GraftIR

/// The mean negative log-likelihood of the right class under a softmax of the outputs.
///
/// With label smoothing ε over K classes the target is (1 − ε)·onehot + ε/K.
package enum CrossEntropy: Loss {
    package static let name = "cross-entropy"
    package static let remark = "one class a sample"
    package static let options: [NamedOption] = [
        .number("label_smoothing", 0, in: 0...0.999, "how much of the target is spread over all classes")
    ]

    package static func build(
        in model: inout Model, scores: ValueID, labels: ValueID, weights: ValueID?, _ values: [String: Double]
    ) -> ValueID {
        let loss = model.graph.addValue(model.graph.uniqueValueName("graft.loss"))
        let probabilities = model.graph.addValue(model.graph.uniqueValueName("graft.probabilities"))
        model.graph.addNode(
            OperatorName("SoftmaxCrossEntropy", domain: graftDomain), name: "graft.loss",
            inputs: [scores, labels] + (weights.map { [$0] } ?? []), outputs: [loss, probabilities],
            attributes: ["label_smoothing": .float(Float(values["label_smoothing"] ?? 0))])
        model.importOpset(graftDomain, version: 1)
        return loss
    }
}

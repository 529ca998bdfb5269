import GraftData
import GraftIR

/// The mean over samples and classes of the binary cross-entropy of a sigmoid of the outputs: each class for itself.
///
/// With label smoothing ε the target t becomes (1 − ε)·t + ε/2.
package enum BinaryCrossEntropy: Loss {
    package static let name = "binary-cross-entropy"
    package static let remark = "any number of classes a sample"
    package static let options: [NamedOption] = [
        .number("label_smoothing", 0, in: 0...0.999, "how far targets are moved from 0 and 1 towards 1/2")
    ]
    package static let targetKinds: Set<TargetKind> = [.labels]

    package static func build(
        in model: inout Model, scores: Scores, labels: ValueID, weights: ValueID?, _ values: [String: Double]
    ) throws -> ValueID {
        guard weights == nil else {
            throw RecipeError.doesNotFit(
                RecipePlace("loss.class_weights"), reason: "the loss \(name) has no class weights")
        }
        let loss = model.graph.addValue(model.graph.uniqueValueName("graft.loss"))
        let probabilities = model.graph.addValue(model.graph.uniqueValueName("graft.probabilities"))
        model.graph.addNode(
            OperatorName("SigmoidCrossEntropy", domain: graftDomain), name: "graft.loss",
            inputs: [scores.value, labels], outputs: [loss, probabilities],
            attributes: ["label_smoothing": .float(Float(values["label_smoothing"] ?? 0))])
        model.importOpset(graftDomain, version: 1)
        return loss
    }
}

import GraftAutodiff
import GraftCore
import GraftIR

/// The class scores of a model: what a loss and the metrics are computed from.
enum Scores {
    /// The output of the model that the classes are at: that of the head, or the only output.
    static func output(of layers: LayerTree) throws(TrainingError) -> ValueID {
        if let head = layers.head { return head.output }
        let outputs = layers.model.graph.outputs
        guard outputs.count == 1 else {
            throw .noScores("it has \(outputs.count) outputs and no recognisable head; `graft head` makes one")
        }
        return outputs[0]
    }

    /// The scores behind an output, before a softmax, in one row a sample; a flattening is appended where they have
    /// further axes of length 1.
    static func find(behind output: ValueID, in model: inout Model) throws -> ValueID {
        let logits = Differentiation.logits(of: output, in: model.graph)
        if logits.normalisation == "Sigmoid" {
            throw TrainingError.noScores("it ends in a Sigmoid; give it a head of its own with `graft head`")
        }
        let types = try Inference.inferTypes(of: model, inputs: [:])
        guard let shape = types.shape(of: logits.value), shape.rank > 2 else { return logits.value }
        guard shape.dimensions.dropFirst(2).allSatisfy({ $0.count == 1 }) else {
            throw TrainingError.noScores("its scores have the shape \(shape); one row a sample was expected")
        }
        return model.graph.add("Flatten", [logits.value], attributes: ["axis": .int(1)], output: "graft.scores")
    }
}

import GraftAutodiff
import GraftCore
import GraftData
import GraftIR

/// The class scores of a model: what a loss and the metrics are computed from.
package struct Scores {
    /// The scores before any softmax or sigmoid: [N, classes], or [N, classes, rows, columns].
    let value: ValueID
    /// Whether there is a row of scores for each pixel.
    let isPerPixel: Bool
    /// What the model makes of the scores: `Softmax`, `LogSoftmax`, `Sigmoid`, or nil for nothing.
    let normalisation: String?

    /// The output of the model that the classes are at: that of the head, or the only output.
    static func output(of layers: LayerTree) throws(TrainingError) -> ValueID {
        if let head = layers.head { return head.output }
        let outputs = layers.model.graph.outputs
        guard outputs.count == 1 else {
            throw .noScores("it has \(outputs.count) outputs and no recognisable head; `graft head` makes one")
        }
        return outputs[0]
    }

    /// The scores behind an output, before a softmax or sigmoid, with the classes on the second axis; a flattening is
    /// appended where there are further axes of length 1.
    ///
    /// - Parameter kind: what the data says about each sample.
    /// - Throws: ``TrainingError`` where the scores are not what such data can be learned by.
    static func find(behind output: ValueID, in model: inout Model, for kind: TargetKind) throws -> Scores {
        let outer = Differentiation.logits(of: output, in: model.graph)
        var (logits, normalisation) = (outer.value, outer.normalisation)
        // A model with its channels last puts them there at the edge.
        if let edge = model.graph[logits].producer, model.graph[edge].op.isONNX("Transpose"),
            model.graph[edge].attributes.ints("perm") == [0, 2, 3, 1], let before = model.graph[edge].inputs[0]
        {
            let inner = Differentiation.logits(of: before, in: model.graph)
            (logits, normalisation) = (inner.value, normalisation ?? inner.normalisation)
        }
        let types = try Inference.inferTypes(of: model, inputs: [:])
        let shape = types.shape(of: logits)
        let isPooled = shape.map { $0.dimensions.dropFirst(2).allSatisfy { $0.count == 1 } } ?? true
        let isPerPixel = !isPooled && (shape?.rank ?? 0) >= 4
        if let shape, !isPooled, !isPerPixel {
            throw TrainingError.noScores("its scores have the shape \(shape); one row a sample was expected")
        }
        try check(kind, isPerPixel: isPerPixel, normalisation: normalisation)
        var value = logits
        if let shape, isPooled, shape.rank > 2 {
            value = model.graph.add("Flatten", [value], attributes: ["axis": .int(1)], output: "graft.scores")
        }
        return Scores(value: value, isPerPixel: isPerPixel, normalisation: normalisation)
    }

    /// Whether scores can be learned by the data's targets.
    private static func check(
        _ kind: TargetKind, isPerPixel: Bool, normalisation: String?
    ) throws(TrainingError) {
        switch (kind, isPerPixel) {
        case (.classes, true), (.labels, true):
            throw .classesDoNotFit(
                "the model tells the class of each pixel, but the data says \(kind.summary); it needs a mask for each "
                    + "picture")
        case (.pixels, false):
            throw .classesDoNotFit(
                "the data says a class for each pixel, but the model gives one row of scores a sample; give it such a "
                    + "head with `graft head --dense`")
        default: break
        }
        if kind == .labels, normalisation == "Softmax" || normalisation == "LogSoftmax" {
            throw .noScores(
                "it ends in a \(normalisation ?? ""), for one class a sample, but the data says \(kind.summary); give it "
                    + "a head with `graft head --activation sigmoid`")
        }
        if kind != .labels, normalisation == "Sigmoid" {
            throw .noScores(
                "it ends in a Sigmoid, so a sample may have several classes, but the data says \(kind.summary); give it "
                    + "a head of its own with `graft head --activation softmax`")
        }
    }
}

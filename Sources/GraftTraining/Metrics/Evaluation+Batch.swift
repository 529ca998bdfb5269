import GraftCore
import GraftData

extension Evaluation {
    /// Adds a batch as a model gives it and as the data says it.
    ///
    /// - Parameters:
    ///   - scores: [N, classes], or [N, classes, rows, columns].
    ///   - samples: the samples of the batch, by position.
    /// - Throws: ``TrainingError`` where scores and data do not fit.
    static func add(
        _ scores: Tensor, of data: any TrainingSamples, samples: [Int], ignored: Int = Mask.ignored,
        to evaluation: inout Evaluation?
    ) throws {
        guard scores.shape.count > 1, scores.shape[0] == samples.count, scores.shape[1] > 0 else {
            throw TrainingError.noScores("its scores have the shape \(scores.shape) for \(samples.count) samples")
        }
        let classes = scores.shape[1]
        let numbers = try scores.elements(as: Float.self)
        var result = evaluation ?? Evaluation(classes: classes, kind: data.targetKind)
        let targets = try data.targets(samples, variation: nil)
        switch data.targetKind {
        case .classes:
            let labels = try targets.elements(as: Int64.self).map { Int($0) }
            try check(most: labels.max() ?? 0, classes: classes)
            result.add(outputs: numbers, areProbabilities: false, labels: labels, samples: samples)
        case .pixels:
            let sides = Array(scores.shape.dropFirst(2))
            guard targets.shape == [samples.count] + sides else {
                throw TrainingError.classesDoNotFit(
                    "the model gives scores for \(sides) pixels, the data has classes for "
                        + "\(Array(targets.shape.dropFirst()))")
            }
            let labels = try targets.elements(as: Int64.self)
            try check(most: labels.reduce(0) { $1 == Int64(ignored) ? $0 : max($0, Int($1)) }, classes: classes)
            result.addPixels(
                scores: numbers, labels: labels, positions: max(sides.reduce(1, *), 1), ignored: ignored)
        case .labels:
            guard targets.shape == [samples.count, classes] else {
                throw TrainingError.classesDoNotFit(
                    "the model tells \(classes) classes apart, the data has \(targets.shape.last ?? 0)")
            }
            result.addLabels(scores: numbers, marks: try targets.elements(as: Float.self))
        }
        evaluation = result
    }

    private static func check(most: Int, classes: Int) throws(TrainingError) {
        guard most < classes else {
            throw .classesDoNotFit("the model tells \(classes) classes apart, the data has \(most + 1)")
        }
    }
}

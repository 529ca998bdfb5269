import GraftData

#if canImport(Glibc)
import Glibc
#endif

extension Evaluation {
    /// Adds a batch with a class for each pixel.
    ///
    /// - Parameters:
    ///   - scores: the scores, [samples, classes, positions].
    ///   - labels: the class of each position; the ignored one does not count.
    ///   - positions: how many positions a sample has.
    ///   - ignored: the label of positions that do not count.
    /// - Precondition: every other label is a class, and the numbers of scores and labels fit.
    public mutating func addPixels(scores: [Float], labels: [Int64], positions: Int, ignored: Int = Mask.ignored) {
        let classes = confusion.classes
        precondition(scores.count == classes * labels.count && positions > 0 && labels.count % positions == 0)
        scores.withUnsafeBufferPointer { scores in
            for (index, label) in labels.enumerated() where label != Int64(ignored) {
                let start = index / positions * positions * classes + index % positions
                var best = 0
                for c in 1..<max(classes, 1) where scores[start + c * positions] > scores[start + best * positions] {
                    best = c
                }
                let top = Double(scores[start + best * positions])
                var sum = 0.0
                for c in 0..<classes { sum += exp(Double(scores[start + c * positions]) - top) }
                let truth = Int(label)
                addLoss(log(sum) - (Double(scores[start + truth * positions]) - top))
                addDecision(truth: truth, prediction: best)
            }
        }
        addSamples(labels.count / positions)
    }
}

/// How much each class counts in the loss.
enum ClassBalance {
    /// The weights of the classes; nil where all count the same.
    ///
    /// Balanced weights are N/(K·n) for a class of n among N samples of K classes; a class without samples has weight 1.
    /// - Throws: ``TrainingError/classesDoNotFit(_:)`` where labels or weights do not fit the number of classes.
    static func weights(
        _ settings: LossSettings.ClassWeights, labels: [Int], classes: Int?
    ) throws(TrainingError) -> [Float]? {
        let highest = labels.max() ?? 0
        if let least = labels.min(), least < 0 {
            throw .classesDoNotFit("a label is \(least); labels count from 0")
        }
        if let classes, highest >= classes {
            throw .classesDoNotFit(
                "the model tells \(classes) classes apart, but the data has \(highest + 1); give it a head of that size "
                    + "with `graft head --classes \(highest + 1)`")
        }
        let count = classes ?? highest + 1
        switch settings {
        case .equal: return nil
        case .given(let weights):
            guard weights.count == count else {
                throw .classesDoNotFit("class_weights lists \(weights.count) numbers for \(count) classes")
            }
            return weights.map { Float($0) }
        case .balanced:
            var counts = [Int](repeating: 0, count: count)
            for label in labels { counts[label] += 1 }
            return counts.map { $0 == 0 ? 1 : Float(Double(labels.count) / (Double(count) * Double($0))) }
        }
    }
}

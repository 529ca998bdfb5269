import GraftCore
import GraftData

/// How much each class counts in the loss.
enum ClassBalance {
    /// The weights of the classes; nil where all count the same.
    ///
    /// Balanced weights are N/(K·n) for a class of n among N samples, or pixels, of K classes; a class that does not occur
    /// has weight 1.
    /// - Throws: ``TrainingError/classesDoNotFit(_:)`` where labels or weights do not fit the number of classes.
    static func weights(_ loss: LossSettings, samples: any TrainingSamples, classes: Int?) throws -> [Float]? {
        switch samples.targetKind {
        case .classes: return try weights(loss.classWeights, labels: samples.labels, classes: classes)
        case .labels:
            guard samples.count > 0 else { return nil }
            let found = try samples.targets([0], variation: nil).shape.last ?? 0
            try check(found, classes)
            guard case .equal = loss.classWeights else {
                throw TrainingError.classesDoNotFit("class_weights are for one class a sample or pixel")
            }
            return nil
        case .pixels:
            if let names = samples.classNames { try check(names.count, classes, mayBeFewer: true) }
            switch loss.classWeights {
            case .equal: return nil
            case .given: return try weights(loss.classWeights, labels: [0], classes: classes)
            case .balanced:
                return balanced(try pixelCounts(samples, classes: classes, ignored: loss.ignored))
            }
        }
    }

    static func weights(
        _ settings: LossSettings.ClassWeights, labels: [Int], classes: Int?
    ) throws(TrainingError) -> [Float]? {
        let highest = labels.max() ?? 0
        if let least = labels.min(), least < 0 {
            throw .classesDoNotFit("a label is \(least); labels count from 0")
        }
        try check(highest + 1, classes, mayBeFewer: true)
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
            return balanced(counts)
        }
    }

    private static func balanced(_ counts: [Int]) -> [Float] {
        let total = counts.reduce(0, +)
        return counts.map { $0 == 0 ? 1 : Float(Double(total) / (Double(counts.count) * Double($0))) }
    }

    private static func check(_ found: Int, _ classes: Int?, mayBeFewer: Bool = false) throws(TrainingError) {
        guard let classes, mayBeFewer ? found > classes : found != classes else { return }
        throw .classesDoNotFit(
            "the model tells \(classes) classes apart, but the data has \(found); give it a head of that size with "
                + "`graft head --classes \(found)`")
    }

    private static func pixelCounts(
        _ samples: any TrainingSamples, classes: Int?, ignored: Int
    ) throws -> [Int] {
        var counts = [Int](repeating: 0, count: classes ?? samples.classNames?.count ?? 1)
        for sample in 0..<samples.count {
            for label in try samples.targets([sample], variation: nil).elements(as: Int64.self)
            where label != Int64(ignored) {
                guard counts.indices.contains(Int(label)) else {
                    throw TrainingError.classesDoNotFit("a pixel has class \(label) of \(counts.count) classes")
                }
                counts[Int(label)] += 1
            }
        }
        return counts
    }
}

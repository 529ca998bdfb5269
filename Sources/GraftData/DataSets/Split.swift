import GraftCore

/// Divides samples by index; every choice is a function of the labels and a seed.
public struct Split: Sendable, Equatable {
    /// The samples to train on, in order.
    public let training: [Int]
    /// The samples to validate on, in order.
    public let validation: [Int]

    /// A division of samples into two parts.
    public init(training: [Int], validation: [Int]) {
        self.training = training
        self.validation = validation
    }

    /// Takes the same share of every class for validation.
    ///
    /// A class with two samples or more is in both parts; a class with one sample is trained on. The choice within one
    /// class does not depend on the other classes.
    /// - Throws: ``DataSetError/badSplit(reason:)`` where `validation` is not in `0..<1`.
    public static func stratified(
        labels: [Int], validation fraction: Double, seed: UInt64
    ) throws(DataSetError) -> Split {
        guard fraction >= 0, fraction < 1 else {
            throw .badSplit(reason: "the share for validation must be from 0 to below 1, not \(fraction)")
        }
        var isValidation = [Bool](repeating: false, count: labels.count)
        for (label, samples) in byClass(labels) where fraction > 0 && samples.count > 1 {
            let wanted = Int((Double(samples.count) * fraction).rounded())
            let order = shuffled(samples, label: label, seed: seed)
            for sample in order.prefix(min(max(wanted, 1), samples.count - 1)) { isValidation[sample] = true }
        }
        return Split(
            training: labels.indices.filter { !isValidation[$0] },
            validation: labels.indices.filter { isValidation[$0] })
    }

    /// At most `count` samples of each class, out of `candidates` (all samples where nil), in order.
    ///
    /// With the same seed a larger count gives a superset.
    /// - Throws: ``DataSetError/badSplit(reason:)`` where `count` is not positive.
    public static func shots(
        _ count: Int, labels: [Int], of candidates: [Int]? = nil, seed: UInt64
    ) throws(DataSetError) -> [Int] {
        guard count > 0 else { throw .badSplit(reason: "the number of samples a class must be positive, not \(count)") }
        let chosen = Set(candidates ?? Array(labels.indices))
        return byClass(labels).flatMap { label, samples in
            shuffled(samples, label: label, seed: seed).filter(chosen.contains).prefix(count)
        }.sorted()
    }

    private static func byClass(_ labels: [Int]) -> [(label: Int, samples: [Int])] {
        Dictionary(grouping: labels.indices, by: { labels[$0] }).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    private static func shuffled(_ samples: [Int], label: Int, seed: UInt64) -> [Int] {
        var random = CounterRandom(seed: seed, CounterRandom.word("split"), UInt64(truncatingIfNeeded: label))
        return random.permutation(samples.count).map { samples[$0] }
    }
}

import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// The numbers of a new classifier: a row of weights and a bias for each class.
struct HeadWeights {
    /// The weights, a row a class; a row holds the features, each with the positions of its kernel.
    var rows: [Float]
    /// The biases.
    var biases: [Float]
    /// How long a row is.
    let width: Int

    /// The weights of a classifier as its options say.
    ///
    /// - Parameters:
    ///   - features: how many features the classifier reads.
    ///   - kernel: how many positions of each feature a convolution reads; 1 otherwise.
    init(_ options: HeadOptions, features: Int, kernel: Int) throws {
        let classes = options.classes.count
        guard let width = Checked.product([features, kernel]), Checked.product([width, classes]) != nil else {
            throw HeadSwapError.classes("\(classes) rows of \(features) features are too many")
        }
        self.width = width
        biases = try Self.biases(options)
        switch options.initialization {
        case .kaiming:
            rows = Self.uniform(1 / Double(width).squareRoot(), count: classes * width, options.seed, "head.weight")
        case .xavier:
            let bound = (6 / Double(width + classes * kernel)).squareRoot()
            rows = Self.uniform(bound, count: classes * width, options.seed, "head.weight")
        case .normal(let deviation):
            guard deviation > 0, deviation.isFinite else {
                throw HeadSwapError.option("the standard deviation must be a positive number, not \(deviation)")
            }
            var random = CounterRandom(seed: options.seed, CounterRandom.word("head.weight"))
            rows = (0..<(classes * width)).map { _ in random.gaussian() * Float(deviation) }
        case .zeros:
            rows = Array(repeating: 0, count: classes * width)
        case .means(let statistics):
            try Self.check(statistics, classes: classes, features: features, kernel: kernel, options: options)
            (rows, biases) = try statistics.nearestMeans()
        case .ridge(let statistics, let penalty):
            try Self.check(statistics, classes: classes, features: features, kernel: kernel, options: options)
            guard penalty >= 0, penalty.isFinite else {
                throw HeadSwapError.option("the ridge penalty must not be negative, as \(penalty) is")
            }
            (rows, biases) = try statistics.ridge(penalty: penalty)
        }
    }

    /// Random weights of a layer, uniform in ±1/√width.
    static func kaiming(width: Int, count: Int, seed: UInt64, use: String) -> [Float] {
        uniform(1 / Double(width).squareRoot(), count: count, seed, use)
    }

    private static func uniform(_ bound: Double, count: Int, _ seed: UInt64, _ use: String) -> [Float] {
        var random = CounterRandom(seed: seed, CounterRandom.word(use))
        return (0..<count).map { _ in Float((2 * random.uniformDouble() - 1) * bound) }
    }

    private static func biases(_ options: HeadOptions) throws -> [Float] {
        switch options.bias {
        case .zeros: return Array(repeating: 0, count: options.classes.count)
        case .logPrior(let counts):
            guard counts.count == options.classes.count, counts.allSatisfy({ $0 > 0 }) else {
                throw HeadSwapError.option(
                    "the log prior needs a positive count for each of the \(options.classes.count) classes")
            }
            let total = Double(counts.reduce(0, +))
            // Each class for itself with sigmoid: the logit of its share.
            return counts.map { count in
                let share = Double(count) / total
                return Float(options.activation == .sigmoid ? log(share / max(1 - share, 1e-12)) : log(share))
            }
        }
    }

    private static func check(
        _ statistics: FeatureStatistics, classes: Int, features: Int, kernel: Int, options: HeadOptions
    ) throws {
        guard kernel == 1 else {
            throw HeadSwapError.features("the classifier is a convolution that reads several positions")
        }
        guard options.hidden == nil else {
            throw HeadSwapError.option("a hidden layer cannot start from given features; use kaiming")
        }
        guard statistics.featureCount == features, statistics.classCount == classes else {
            throw HeadSwapError.features(
                "they have \(statistics.featureCount) features and \(statistics.classCount) classes, the head "
                    + "\(features) and \(classes)")
        }
    }

    /// Carries over the weights of classes that keep their names.
    mutating func keep(_ names: [String], from old: (rows: [Float], biases: [Float]), labels: [String]) {
        let places = Dictionary(labels.enumerated().map { ($0.element, $0.offset) }, uniquingKeysWith: { a, _ in a })
        for (index, name) in names.enumerated() {
            guard let source = places[name] else { continue }
            rows.replaceSubrange(
                (index * width)..<((index + 1) * width), with: old.rows[(source * width)..<((source + 1) * width)])
            biases[index] = old.biases[source]
        }
    }
}

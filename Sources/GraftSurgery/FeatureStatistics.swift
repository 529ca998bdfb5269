import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// Sums over the features of labelled samples, from which a linear classifier follows directly.
///
/// All sums are kept in double precision, in the order in which samples are added.
public struct FeatureStatistics: Sendable {
    /// How many features a sample has.
    public let featureCount: Int
    /// How many classes.
    public let classCount: Int
    /// How many samples of each class were added.
    public private(set) var counts: [Int]
    /// The sums of features, a row a class.
    private var sums: [Double]
    /// The sum of squares of all features.
    private var squares = 0.0
    /// The sums of products of features, where they are kept: a symmetric matrix.
    private var products: [Double]?

    /// Sums of nothing.
    ///
    /// - Parameter keepsProducts: whether products are kept, which `ridge` needs and `means` does not.
    public init(features: Int, classes: Int, keepsProducts: Bool = false) {
        featureCount = features
        classCount = classes
        counts = Array(repeating: 0, count: classes)
        sums = Array(repeating: 0, count: classes * features)
        products = keepsProducts ? Array(repeating: 0, count: features * features) : nil
    }

    /// Adds a sample.
    ///
    /// - Throws: ``HeadSwapError/features(_:)`` where the number of features or the class does not fit.
    public mutating func add(_ features: [Float], label: Int) throws {
        guard features.count == featureCount else {
            throw HeadSwapError.features("a sample has \(features.count), the head reads \(featureCount)")
        }
        guard counts.indices.contains(label) else {
            throw HeadSwapError.features("there is no class \(label) among \(classCount)")
        }
        counts[label] += 1
        for (index, feature) in features.enumerated() {
            sums[label * featureCount + index] += Double(feature)
            squares += Double(feature) * Double(feature)
        }
        products?.withUnsafeMutableBufferPointer { matrix in
            for row in 0..<featureCount {
                let factor = Double(features[row])
                if factor == 0 { continue }
                for column in 0...row { matrix[row * featureCount + column] += factor * Double(features[column]) }
            }
        }
    }

    private var total: Int { counts.reduce(0, +) }

    private func check() throws {
        if let empty = counts.firstIndex(of: 0) { throw HeadSwapError.features("class \(empty) has no samples") }
    }

    /// Weights and biases of the nearest-mean classifier.
    ///
    /// With equal spherical spread around the class means, `score = m·x/v - |m|²/2v + log prior` are the logarithms of
    /// the class probabilities but for a constant (linear discriminant analysis with covariance `v·I`); `v` is the mean
    /// squared distance from the class mean along one feature.
    func nearestMeans() throws -> (weights: [Float], biases: [Float]) {
        try check()
        let samples = Double(total)
        var explained = 0.0
        for label in 0..<classCount {
            let row = sums[(label * featureCount)..<((label + 1) * featureCount)]
            explained += row.reduce(0) { $0 + $1 * $1 } / Double(counts[label])
        }
        let spread = max((squares - explained) / (samples * Double(featureCount)), 1e-12)
        var weights: [Float] = []
        var biases: [Float] = []
        weights.reserveCapacity(classCount * featureCount)
        for label in 0..<classCount {
            let count = Double(counts[label])
            var length = 0.0
            for index in 0..<featureCount {
                let mean = sums[label * featureCount + index] / count
                weights.append(Float(mean / spread))
                length += mean * mean
            }
            biases.append(Float(log(count / samples) - length / (2 * spread)))
        }
        return (weights, biases)
    }

    /// Weights and biases of the least-squares fit to one-hot targets, with a penalty on the weights (not the biases).
    ///
    /// Solves `(S + λ·tr(S)/F·I) W = C`, where `S` are the centred products, by Cholesky's method.
    func ridge(penalty: Double) throws -> (weights: [Float], biases: [Float]) {
        try check()
        guard var matrix = products else {
            throw HeadSwapError.features("ridge needs sums of products, which were not kept")
        }
        let size = featureCount
        let samples = Double(total)
        var mean = [Double](repeating: 0, count: size)
        for label in 0..<classCount { for index in 0..<size { mean[index] += sums[label * size + index] / samples } }
        var trace = 0.0
        for row in 0..<size {
            for column in 0...row { matrix[row * size + column] -= samples * mean[row] * mean[column] }
            trace += matrix[row * size + row]
        }
        let ridge = max(penalty * trace / Double(size), 1e-12)
        for row in 0..<size { matrix[row * size + row] += ridge }
        try Self.factorize(&matrix, size: size)
        var weights: [Float] = []
        var biases: [Float] = []
        for label in 0..<classCount {
            let share = Double(counts[label]) / samples
            // Centred covariance of the features with membership in the class.
            var right = (0..<size).map { sums[label * size + $0] - Double(counts[label]) * mean[$0] }
            Self.solve(matrix, size: size, &right)
            weights += right.map { Float($0) }
            biases.append(Float(share - zip(right, mean).reduce(0) { $0 + $1.0 * $1.1 }))
        }
        return (weights, biases)
    }

    /// Cholesky's factor, in the lower triangle.
    private static func factorize(_ matrix: inout [Double], size: Int) throws {
        try matrix.withUnsafeMutableBufferPointer { m in
            for column in 0..<size {
                var diagonal = m[column * size + column]
                for k in 0..<column { diagonal -= m[column * size + k] * m[column * size + k] }
                guard diagonal > 0 else {
                    throw HeadSwapError.features("the features depend on each other; use a larger penalty")
                }
                let root = diagonal.squareRoot()
                m[column * size + column] = root
                for row in (column + 1)..<max(size, column + 1) {
                    var sum = m[row * size + column]
                    for k in 0..<column { sum -= m[row * size + k] * m[column * size + k] }
                    m[row * size + column] = sum / root
                }
            }
        }
    }

    private static func solve(_ factor: [Double], size: Int, _ right: inout [Double]) {
        for row in 0..<size {
            var sum = right[row]
            for k in 0..<row { sum -= factor[row * size + k] * right[k] }
            right[row] = sum / factor[row * size + row]
        }
        for row in (0..<size).reversed() {
            var sum = right[row]
            for k in (row + 1)..<max(size, row + 1) { sum -= factor[k * size + row] * right[k] }
            right[row] = sum / factor[row * size + row]
        }
    }
}

/// How far stated probabilities are from how often they come true.
///
/// The expected calibration error (Guo et al., arXiv:1706.04599): confidences fall into equal bins of (0, 1]; the
/// error is the mean over samples of |accuracy − mean confidence| of the sample's bin.
public struct Calibration: Sendable, Equatable {
    /// The number of samples in each bin.
    public private(set) var counts: [Int]
    /// The sum of confidences in each bin.
    public private(set) var confidences: [Double]
    /// The number of right answers in each bin.
    public private(set) var hits: [Int]

    /// No samples.
    public init(bins: Int = 15) {
        counts = Array(repeating: 0, count: bins)
        confidences = Array(repeating: 0, count: bins)
        hits = Array(repeating: 0, count: bins)
    }

    /// Adds one sample: the probability of the answer given, and whether it is right.
    public mutating func add(confidence: Double, isRight: Bool) {
        guard !confidence.isNaN else { return }
        let scaled = (confidence * Double(counts.count)).rounded(.up)
        let bin = min(max(Int(max(min(scaled, 1e9), 0)) - 1, 0), counts.count - 1)
        counts[bin] += 1
        confidences[bin] += confidence
        if isRight { hits[bin] += 1 }
    }

    /// The expected calibration error; 0 for no samples.
    public var error: Double {
        let total = counts.reduce(0, +)
        guard total > 0 else { return 0 }
        return counts.indices.reduce(0) { $0 + abs(Double(hits[$1]) - confidences[$1]) } / Double(total)
    }
}

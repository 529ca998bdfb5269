/// Scores of one label and whether it holds, for the average precision.
enum AveragePrecision {
    /// The sum of precision over the steps of recall, from the highest score down; equal scores count at once.
    ///
    /// The definition of scikit-learn's `average_precision_score`. Nil where no sample has the label.
    static func of(_ scores: [Float], _ holds: [Bool]) -> Double? {
        let positives = holds.reduce(0) { $0 + ($1 ? 1 : 0) }
        guard positives > 0 else { return nil }
        let order = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
        var (hits, seen, sum, counted) = (0, 0, 0.0, 0)
        for (place, index) in order.enumerated() {
            seen += 1
            if holds[index] { hits += 1 }
            if place + 1 < order.count, scores[order[place + 1]] == scores[index] { continue }
            sum += Double(hits - counted) / Double(positives) * Double(hits) / Double(seen)
            counted = hits
        }
        return sum
    }
}

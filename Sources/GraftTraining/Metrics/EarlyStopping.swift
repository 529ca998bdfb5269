/// Watches one figure from validation to validation and says when there is no more improvement.
///
/// A figure improves on the best so far only where it is better by more than the delta, strictly. A figure that is not
/// a number never improves.
public struct EarlyStopping: Sendable, Equatable {
    /// What a new figure means.
    public enum Verdict: Sendable, Equatable {
        /// The best so far.
        case improved
        /// No improvement; as many validations in a row.
        case waiting(Int)
        /// No improvement for as many validations as the patience allows.
        case stop
    }

    /// The best figure so far; nil before the first.
    public private(set) var best: Double?
    /// The number of validations since the best.
    public private(set) var waited: Int
    private let lowerIsBetter: Bool
    private let patience: Int?
    private let delta: Double

    /// A watch over one figure.
    ///
    /// - Parameter settings: when to stop; nil for never, so that only the best is noted.
    public init(
        _ settings: StopSettings?, lowerIsBetter: Bool, best: Double? = nil, waited: Int = 0
    ) {
        patience = settings?.patience
        delta = settings?.delta ?? 0
        self.lowerIsBetter = lowerIsBetter
        self.best = best
        self.waited = waited
    }

    /// Takes note of a figure.
    public mutating func observe(_ figure: Double) -> Verdict {
        if improves(figure) {
            best = figure
            waited = 0
            return .improved
        }
        waited += 1
        if let patience, waited >= patience { return .stop }
        return .waiting(waited)
    }

    private func improves(_ figure: Double) -> Bool {
        if figure.isNaN { return false }
        guard let best else { return true }
        return lowerIsBetter ? figure < best - delta : figure > best + delta
    }
}

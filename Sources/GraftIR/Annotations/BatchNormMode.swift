import GraftCore

/// How a batch normalization behaves while a network is trained: three switches that do not depend on each other.
public struct BatchNormMode: Sendable, Hashable {
    /// Where mean and variance come from.
    public enum Statistics: String, Sendable, Hashable {
        /// From the file: as in inference.
        case running
        /// From the batch.
        case batch
    }

    /// Whether scale and shift may be trained; they also have to be thawed.
    public var trainsAffine: Bool
    /// Where mean and variance come from.
    public var statistics: Statistics
    /// Whether the running mean and variance follow the batches.
    public var updatesStatistics: Bool

    /// A setting of the three switches.
    public init(trainsAffine: Bool, statistics: Statistics, updatesStatistics: Bool) {
        self.trainsAffine = trainsAffine
        self.statistics = statistics
        self.updatesStatistics = updatesStatistics
    }

    /// Nothing changes: running statistics, not updated; scale and shift fixed.
    public static let frozen = BatchNormMode(trainsAffine: false, statistics: .running, updatesStatistics: false)
    /// Statistics stay as they are; scale and shift may be trained.
    public static let inference = BatchNormMode(trainsAffine: true, statistics: .running, updatesStatistics: false)
    /// Statistics of the batch, which the running ones follow; scale and shift may be trained.
    public static let train = BatchNormMode(trainsAffine: true, statistics: .batch, updatesStatistics: true)

    /// The mode of a name: `frozen`, `inference` or `train`.
    public init?(name: String) {
        switch name {
        case "frozen": self = .frozen
        case "inference": self = .inference
        case "train": self = .train
        default: return nil
        }
    }

    /// The name where there is one, or the three switches in words.
    public var name: String {
        switch self {
        case .frozen: "frozen"
        case .inference: "inference"
        case .train: "train"
        default:
            "\(trainsAffine ? "affine" : "no affine"), \(statistics.rawValue) statistics, "
                + (updatesStatistics ? "updated" : "not updated")
        }
    }

    var json: JSON {
        if let mode = BatchNormMode(name: name) { return JSON(mode.name) }
        return [
            "affine": JSON(trainsAffine), "statistics": JSON(statistics.rawValue), "update": JSON(updatesStatistics),
        ]
    }

    init?(json: JSON) {
        if let name = json.string {
            self.init(name: name)
            return
        }
        guard let affine = json["affine"]?.bool, let source = json["statistics"]?.string.flatMap(Statistics.init),
            let update = json["update"]?.bool
        else { return nil }
        self.init(trainsAffine: affine, statistics: source, updatesStatistics: update)
    }
}

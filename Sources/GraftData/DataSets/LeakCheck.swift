import GraftCore

/// Samples with the same content: between training and validation they flatter the figures.
public struct LeakCheck: Sendable {
    /// Pairs of a training and a validation sample with the same content.
    public let leaks: [(training: Int, validation: Int)]
    /// Groups of training samples with the same content.
    public let duplicates: [[Int]]
    /// Groups of samples with the same content and different classes.
    public let conflicts: [[Int]]

    /// Whether nothing was found.
    public var isClean: Bool { leaks.isEmpty && duplicates.isEmpty && conflicts.isEmpty }

    /// Compares the contents of all samples of two parts of one data set.
    ///
    /// - Throws: what reading a sample throws.
    public init(_ dataSet: any DataSet, split: Split) throws {
        try self.init(training: (dataSet, split.training), validation: (dataSet, split.validation))
    }

    /// Compares the contents of samples of two data sets; indices are those of their own data set.
    ///
    /// Conflicts are looked for in the training samples.
    /// - Throws: what reading a sample throws.
    public init(
        training: (dataSet: any DataSet, indices: [Int]), validation: (dataSet: any DataSet, indices: [Int])
    ) throws {
        var groups: [ContentHash: [Int]] = [:]
        for index in training.indices { groups[try training.dataSet.contentHash(at: index), default: []].append(index) }
        var leaks: [(training: Int, validation: Int)] = []
        for index in validation.indices {
            if let same = groups[try validation.dataSet.contentHash(at: index)] { leaks.append((same[0], index)) }
        }
        self.leaks = leaks
        duplicates = groups.values.filter { $0.count > 1 }.sorted { $0[0] < $1[0] }
        conflicts = duplicates.filter { Set($0.map(training.dataSet.label(at:))).count > 1 }
    }
}

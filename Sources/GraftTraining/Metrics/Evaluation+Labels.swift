#if canImport(Glibc)
import Glibc
#endif

/// The figures of labels that hold or not, each for itself.
public struct LabelFigures: Sendable, Equatable {
    /// The number of labels.
    public let labels: Int
    /// How often each label was right, wrongly given, missed, and rightly not given.
    public private(set) var counts: [(hit: Int, wrong: Int, missed: Int)] = []
    private var scores: [[Float]]
    private var holds: [[Bool]]
    private var exactHits = 0
    private var rightDecisions = 0

    init(labels: Int) {
        self.labels = labels
        scores = Array(repeating: [], count: labels)
        holds = Array(repeating: [], count: labels)
        counts = Array(repeating: (0, 0, 0), count: labels)
    }

    /// The number of samples.
    public var samples: Int { scores.first?.count ?? 0 }
    /// The part of decisions that are right, over samples and labels.
    public var accuracy: Double { samples == 0 ? 0 : Double(rightDecisions) / Double(samples * labels) }
    /// The part of samples whose labels are all right.
    public var exactMatch: Double { samples == 0 ? 0 : Double(exactHits) / Double(samples) }
    /// The harmonic mean of precision and recall of a label; 0 where nothing counts.
    public func f1(_ label: Int) -> Double {
        let (hit, wrong, missed) = counts[label]
        return hit + wrong + missed == 0 ? 0 : 2 * Double(hit) / Double(2 * hit + wrong + missed)
    }
    /// The part of samples given the label that have it.
    public func precision(_ label: Int) -> Double {
        let (hit, wrong, _) = counts[label]
        return hit + wrong == 0 ? 0 : Double(hit) / Double(hit + wrong)
    }
    /// The part of samples with the label that were given it.
    public func recall(_ label: Int) -> Double {
        let (hit, _, missed) = counts[label]
        return hit + missed == 0 ? 0 : Double(hit) / Double(hit + missed)
    }
    /// The mean of F1 over labels that occur, as truth or as prediction.
    public var macroF1: Double {
        let present = (0..<labels).filter { counts[$0].hit + counts[$0].wrong + counts[$0].missed > 0 }
        return present.isEmpty ? 0 : present.reduce(0) { $0 + f1($1) } / Double(present.count)
    }
    /// The average precision of a label; nil where no sample has it.
    public func averagePrecision(_ label: Int) -> Double? { AveragePrecision.of(scores[label], holds[label]) }
    /// The mean of the average precisions of labels that some sample has.
    public var meanAveragePrecision: Double {
        let all = (0..<labels).compactMap { averagePrecision($0) }
        return all.isEmpty ? 0 : all.reduce(0, +) / Double(all.count)
    }

    /// Adds a sample; a label is given where its score is above 0, a probability above 1/2.
    mutating func add(scores row: ArraySlice<Float>, holds truths: ArraySlice<Bool>) {
        var isExact = true
        for (label, (score, truth)) in zip(row, truths).enumerated() {
            scores[label].append(score)
            holds[label].append(truth)
            switch (score > 0, truth) {
            case (true, true): counts[label].hit += 1
            case (true, false): counts[label].wrong += 1
            case (false, true): counts[label].missed += 1
            case (false, false): break
            }
            if (score > 0) == truth { rightDecisions += 1 } else { isExact = false }
        }
        if isExact { exactHits += 1 }
    }

    public static func == (a: LabelFigures, b: LabelFigures) -> Bool {
        a.labels == b.labels && a.scores == b.scores && a.holds == b.holds
    }
}

extension Evaluation {
    /// Adds a batch whose samples have any number of classes.
    ///
    /// - Parameters:
    ///   - scores: the scores before a sigmoid, a row a sample.
    ///   - marks: 0 or 1 for each class, a row a sample.
    /// - Precondition: there are as many scores as marks, in whole rows.
    public mutating func addLabels(scores: [Float], marks: [Float]) {
        let classes = confusion.classes
        precondition(scores.count == marks.count && classes > 0 && scores.count % classes == 0)
        let holds = marks.map { $0 > 0.5 }
        for start in stride(from: 0, to: scores.count, by: classes) {
            let row = start..<(start + classes)
            var loss = 0.0
            for index in row {
                let value = Double(scores[index])
                loss += max(value, 0) - value * Double(marks[index]) + log1p(exp(-abs(value)))
            }
            addLoss(loss / Double(classes))
            addLabels(scores: scores[row], holds: holds[row])
        }
        addSamples(scores.count / classes)
    }
}

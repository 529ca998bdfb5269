import GraftData
import OrderedCollections

#if canImport(Glibc)
import Glibc
#endif

/// The figures of a classifier on a set of samples, gathered batch by batch.
///
/// Where samples have one class, decisions are samples; where pixels have one, decisions are pixels, and the confusion is
/// over them. Samples with any number of classes have ``labels``.
public struct Evaluation: Sendable, Equatable {
    /// One sample that was taken for another class.
    public struct Mistake: Sendable, Equatable {
        /// The sample's position in its data set.
        public let sample: Int
        /// Its class.
        public let truth: Int
        /// The class it was taken for.
        public let prediction: Int
        /// The probability that was given to that class.
        public let confidence: Double
        /// Its negative log-likelihood.
        public let loss: Double
    }

    /// How often each class was taken for each.
    public private(set) var confusion: ConfusionMatrix
    /// How far probabilities are from how often they come true.
    public private(set) var calibration = Calibration()
    /// The samples with the greatest loss among the mistakes, worst first.
    public private(set) var mistakes: [Mistake] = []
    /// What the data says about a sample.
    public let kind: TargetKind
    /// The figures of samples with any number of classes; nil otherwise.
    public private(set) var labels: LabelFigures?
    private var lossSum = 0.0
    private var lossCount = 0
    private var samples = 0
    private var topFiveHits = 0
    private let mistakesKept: Int

    /// No samples.
    ///
    /// - Parameter mistakesKept: the number of mistakes to remember.
    public init(classes: Int, kind: TargetKind = .classes, mistakesKept: Int = 24) {
        confusion = ConfusionMatrix(classes: classes)
        self.kind = kind
        if kind == .labels { labels = LabelFigures(labels: classes) }
        self.mistakesKept = mistakesKept
    }

    /// The number of samples.
    public var count: Int { samples }
    /// The mean loss of a decision, without label smoothing or class weights.
    public var loss: Double { lossCount == 0 ? 0 : lossSum / Double(lossCount) }
    /// The part of decisions that are right: of samples, of pixels that count, or over samples and labels.
    public var accuracy: Double { labels?.accuracy ?? confusion.accuracy }
    /// The part of samples whose class is among the five most likely.
    public var topFive: Double { count == 0 ? 0 : Double(topFiveHits) / Double(count) }
    /// The mean of F1 over the classes.
    public var macroF1: Double { labels?.macroF1 ?? confusion.macroF1 }
    /// The mean over the classes of intersection over union.
    public var meanIoU: Double { confusion.meanIoU }
    /// The expected calibration error over 15 bins.
    public var calibrationError: Double { calibration.error }

    /// Adds a batch.
    ///
    /// - Parameters:
    ///   - outputs: the classifier's outputs, a row a sample.
    ///   - areProbabilities: whether the outputs are probabilities; otherwise a softmax makes them so.
    ///   - labels: the class of each sample.
    ///   - samples: each sample's position in its data set.
    /// - Precondition: every label is a class, and there are as many outputs as classes times labels.
    public mutating func add(outputs: [Float], areProbabilities: Bool, labels: [Int], samples: [Int]) {
        let classes = confusion.classes
        precondition(outputs.count == classes * labels.count && samples.count == labels.count)
        var row = [Double](repeating: 0, count: classes)
        for (index, label) in labels.enumerated() {
            for c in 0..<classes { row[c] = Double(outputs[index * classes + c]) }
            add(row: &row, areProbabilities: areProbabilities, label: label, sample: samples[index])
        }
    }

    private mutating func add(row: inout [Double], areProbabilities: Bool, label: Int, sample: Int) {
        var prediction = 0
        for c in row.indices where row[c] > row[prediction] { prediction = c }
        let better = row.indices.reduce(0) {
            $0 + (row[$1] > row[label] || (row[$1] == row[label] && $1 < label) ? 1 : 0)
        }
        if better < 5 && !row[label].isNaN { topFiveHits += 1 }
        let loss: Double
        let confidence: Double
        if areProbabilities {
            // The bound keeps one certain mistake from making the mean infinite; Keras uses the same.
            loss = -log(max(row[label], 1e-7))
            confidence = row[prediction]
        } else {
            let top = row[prediction]
            let sum = row.reduce(0) { $0 + exp($1 - top) }
            loss = log(sum) - (row[label] - top)
            confidence = 1 / sum
        }
        addLoss(loss)
        addSamples(1)
        addDecision(truth: label, prediction: prediction)
        calibration.add(confidence: confidence, isRight: prediction == label)
        guard prediction != label, mistakesKept > 0 else { return }
        let mistake = Mistake(
            sample: sample, truth: label, prediction: prediction, confidence: confidence, loss: loss)
        let place = mistakes.firstIndex { $0.loss < loss } ?? mistakes.count
        guard place < mistakesKept else { return }
        mistakes.insert(mistake, at: place)
        if mistakes.count > mistakesKept { mistakes.removeLast() }
    }

    mutating func addLoss(_ loss: Double) {
        lossSum += loss
        lossCount += 1
    }

    mutating func addSamples(_ count: Int) { samples += count }

    mutating func addDecision(truth: Int, prediction: Int) { confusion.add(truth: truth, prediction: prediction) }

    mutating func addLabels(scores: ArraySlice<Float>, holds: ArraySlice<Bool>) {
        labels?.add(scores: scores, holds: holds)
    }

    /// The figures by name, as metrics and reports list them.
    public var figures: OrderedDictionary<String, Double> {
        var result: OrderedDictionary<String, Double> = ["loss": loss, "accuracy": accuracy]
        switch kind {
        case .classes:
            result["top5"] = topFive
            result["macro_f1"] = macroF1
            result["calibration_error"] = calibrationError
        case .pixels:
            result["macro_f1"] = macroF1
            result["mean_iou"] = meanIoU
        case .labels:
            result["exact_match"] = labels?.exactMatch ?? 0
            result["macro_f1"] = macroF1
            result["mean_ap"] = labels?.meanAveragePrecision ?? 0
        }
        return result
    }

    /// The figure that a recipe watches.
    public func figure(_ monitor: Monitor) -> Double {
        switch monitor {
        case .loss: loss
        case .accuracy: accuracy
        case .f1: macroF1
        case .iou: meanIoU
        case .map: labels?.meanAveragePrecision ?? 0
        }
    }
}

/// How often each class was taken for each.
public struct ConfusionMatrix: Sendable, Equatable {
    /// The number of classes.
    public let classes: Int
    /// The counts: row by row, a row a true class, a column a predicted one.
    public private(set) var counts: [Int]

    /// An empty matrix.
    public init(classes: Int) {
        self.classes = classes
        counts = Array(repeating: 0, count: classes * classes)
    }

    /// Counts one sample.
    ///
    /// - Precondition: both classes exist.
    public mutating func add(truth: Int, prediction: Int) { counts[truth * classes + prediction] += 1 }

    /// How many samples of a class were taken for another.
    public subscript(truth: Int, prediction: Int) -> Int { counts[truth * classes + prediction] }

    /// The number of samples.
    public var total: Int { counts.reduce(0, +) }
    /// The number of samples of a class.
    public func support(_ index: Int) -> Int { (0..<classes).reduce(0) { $0 + self[index, $1] } }
    /// The number of samples that were taken for a class.
    public func predicted(_ index: Int) -> Int { (0..<classes).reduce(0) { $0 + self[$1, index] } }
    /// The part of samples whose class was found; 0 for no samples.
    public var accuracy: Double { Self.ratio((0..<classes).reduce(0) { $0 + self[$1, $1] }, total) }

    /// The figures of one class.
    public struct ClassFigures: Sendable, Equatable {
        /// The part of samples taken for the class that are of it.
        public let precision: Double
        /// The part of the class's samples that were found.
        public let recall: Double
        /// The harmonic mean of precision and recall.
        public let f1: Double
        /// The number of samples of the class.
        public let support: Int
    }

    /// The figures of one class; where a denominator is 0 the figure is 0.
    public func figures(_ index: Int) -> ClassFigures {
        let hits = self[index, index]
        let support = support(index)
        let predicted = predicted(index)
        return ClassFigures(
            precision: Self.ratio(hits, predicted), recall: Self.ratio(hits, support),
            f1: Self.ratio(2 * hits, support + predicted), support: support)
    }

    /// The mean of F1 over the classes that occur, as truth or as prediction.
    public var macroF1: Double {
        let present = (0..<classes).filter { support($0) + predicted($0) > 0 }
        return present.isEmpty ? 0 : present.reduce(0) { $0 + figures($1).f1 } / Double(present.count)
    }

    /// Intersection over union of one class: hits over everything that is or was taken for the class; nil where nothing
    /// is.
    public func iou(_ index: Int) -> Double? {
        let union = support(index) + predicted(index) - self[index, index]
        return union == 0 ? nil : Double(self[index, index]) / Double(union)
    }

    /// The mean of intersection over union over the classes that occur, as truth or as prediction.
    public var meanIoU: Double {
        let all = (0..<classes).compactMap { iou($0) }
        return all.isEmpty ? 0 : all.reduce(0, +) / Double(all.count)
    }

    private static func ratio(_ a: Int, _ b: Int) -> Double { b == 0 ? 0 : Double(a) / Double(b) }
}

import GraftCore
import GraftWeights
import OrderedCollections

/// Arrays with one entry a sample, from an NPZ file: each of a model's inputs by name, and `labels` (or `y`).
///
/// The arrays go into the model as they are. What the file stores uncompressed stays in the file.
public struct ArrayDataSet: DataSet {
    /// What a model expects of an input.
    public struct Expectation: Sendable {
        /// The input's name.
        public var name: String
        /// The type of its elements.
        public var elementType: ElementType
        /// Its dimensions without the batch; nil where any number will do.
        public var shape: [Int?]

        /// An expected input.
        public init(name: String, elementType: ElementType, shape: [Int?]) {
            self.name = name
            self.elementType = elementType
            self.shape = shape
        }
    }

    private let path: String
    private let arrays: [Tensor]
    private let description: [SampleInput]
    private let sampleLabels: [Int]
    private let targets: ArrayTargets
    /// The names of the classes, in the order of their labels.
    public let classNames: [String]

    /// Opens the archive at `path`.
    ///
    /// `labels` holds a whole number or a text for each sample, a row of 0 and 1 for each sample (several classes), or
    /// a map of whole numbers for each sample (a class for each pixel); `classes`, where it is there, the names of the
    /// classes.
    /// Where both model and file have one input only, its name need not agree. Numbers of another type than the model's
    /// are converted where no value changes, or to float.
    /// - Parameters:
    ///   - inputs: what the model expects; nil takes the arrays as they are.
    ///   - modelClasses: a model's class names, which give the labels.
    /// - Throws: ``DataSetError``, ``FileError``, ``ZipError`` or ``NPYError``.
    public init(
        path: String, inputs: [Expectation]? = nil, modelClasses: [String]? = nil, limits: Limits = Limits()
    ) throws {
        func failure(_ reason: String) -> DataSetError { .badArrays(path: path, reason: reason) }
        var found = try NPZ.read(path: path, limits: limits)
        guard let given = found.removeValue(forKey: "labels") ?? found.removeValue(forKey: "y") else {
            throw failure(
                "there is no array \"labels\".\(Suggestion.sentence("labels", in: found.keys)) "
                    + "It holds \(found.keys.joined(separator: ", ")).")
        }
        let classes = found.removeValue(forKey: "classes")?.strings ?? modelClasses
        guard let count = given.shape.first, count > 0, given.count > 0 else {
            throw failure("\"labels\" has shape \(given.shape); labels for at least one sample were expected")
        }
        if given.count == count {
            (classNames, sampleLabels) = try Self.labels(given, classes: classes, path: path)
            targets = .classes
        } else {
            (classNames, sampleLabels, targets) = try ArrayTargets.read(given, classes: classes, path: path)
        }

        var arrays: [Tensor] = []
        var description: [SampleInput] = []
        let wanted =
            inputs
            ?? found.map {
                Expectation(
                    name: $0.key, elementType: $0.value.elementType, shape: $0.value.shape.dropFirst().map { $0 })
            }
        guard !wanted.isEmpty else { throw failure("there is no array besides \"labels\"") }
        for input in wanted {
            let only = wanted.count == 1 && found.count == 1 ? found.values.first : nil
            guard let array = found[input.name] ?? only else {
                throw failure(
                    "there is no array for the model's input \"\(input.name)\"."
                        + Suggestion.sentence(input.name, in: found.keys))
            }
            let shape = Array(array.shape.dropFirst())
            guard array.shape.first == count else {
                throw failure("\"\(input.name)\" has shape \(array.shape), but there are \(count) labels")
            }
            guard shape.count == input.shape.count, zip(shape, input.shape).allSatisfy({ $1 == nil || $0 == $1 }) else {
                let expected = input.shape.map { $0.map(String.init) ?? "?" }.joined(separator: ", ")
                throw failure(
                    "a sample of \"\(input.name)\" has shape \(shape), but the model's input takes [\(expected)]")
            }
            guard let converted = try ElementConversion.convert(array, to: input.elementType) else {
                throw failure(
                    "\"\(input.name)\" holds \(array.elementType.name), which cannot become the model's "
                        + "\(input.elementType.name) without loss; convert it with .astype")
            }
            arrays.append(converted)
            description.append(SampleInput(name: input.name, elementType: converted.elementType, shape: shape))
        }
        self.path = path
        self.arrays = arrays
        self.description = description
    }

    private static func labels(
        _ labels: Tensor, classes: [String]?, path: String
    ) throws -> (classNames: [String], labels: [Int]) {
        if let names = labels.strings { return try TableFile.classes(names, modelClasses: classes, path: path) }
        guard labels.elementType.isInteger || labels.elementType == .bool,
            let numbers = try ElementConversion.convert(labels, to: .int64)?.elements(as: Int64.self)
        else {
            throw DataSetError.badArrays(
                path: path, reason: "\"labels\" holds \(labels.elementType.name); whole numbers or texts were expected")
        }
        let bound = classes?.count ?? 1 << 20
        guard let least = numbers.min(), let greatest = numbers.max(), least >= 0, greatest < bound else {
            throw DataSetError.badArrays(
                path: path,
                reason: "\"labels\" must lie in 0..<\(bound), but holds \(numbers.min() ?? 0)...\(numbers.max() ?? 0)")
        }
        return (classes ?? (0...Int(greatest)).map { "\($0)" }, numbers.map { Int($0) })
    }

    /// The number of samples.
    public var count: Int { sampleLabels.count }

    /// The class of a sample.
    public func label(at index: Int) -> Int { sampleLabels[index] }

    /// What there is to learn about each sample.
    public var targetKind: TargetKind { targets.kind }

    /// What is to be learned about one sample.
    public func target(at index: Int, as view: SampleView) throws -> Tensor {
        try targets.target(at: index) ?? Tensor(scalar: Int64(sampleLabels[index]))
    }

    /// The archive's path and the number of a sample, counted from 0.
    public func name(at index: Int) -> String { "\(path)[\(index)]" }

    /// The inputs of one sample.
    public func inputs(as view: SampleView) -> [SampleInput] { description }

    /// Writes one sample's inputs.
    public func load(_ index: Int, as view: SampleView, into targets: [UnsafeMutableRawBufferPointer]) throws {
        for (array, target) in zip(arrays, targets) {
            try array.withBytes { bytes in
                let size = target.count
                target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[(index * size)..<((index + 1) * size)]))
            }
        }
    }

    /// The digest of a sample's arrays.
    public func contentHash(at index: Int) throws -> ContentHash {
        let hasher = ContentHash.Hasher()
        for (array, input) in zip(arrays, description) {
            try array.withBytes { bytes in
                let range = (index * input.byteCount)..<((index + 1) * input.byteCount)
                hasher.update(UnsafeRawBufferPointer(rebasing: bytes[range]))
            }
        }
        return hasher.finish()
    }
}

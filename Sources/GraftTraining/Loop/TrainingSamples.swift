import GraftCore
import GraftData

/// The samples of one task, as the loop sees them: what the model reads, and the class of each.
///
/// A sample is a function of its position and, where it is varied, of the key: the same key gives the same bits, in any
/// order and from any thread.
public protocol TrainingSamples: Sendable {
    /// The number of samples.
    var count: Int { get }
    /// The class of each sample; where samples have several, numbers to divide them by.
    var labels: [Int] { get }
    /// What there is to learn about each sample.
    var targetKind: TargetKind { get }
    /// What is to be learned about some samples, batched along the first axis: classes [N] (int64), 0 and 1 for each
    /// class [N, classes] (float), or the class of each pixel [N, rows, columns] (int64).
    ///
    /// - Parameter variation: that of the inputs, which the classes of pixels follow.
    func targets(_ samples: [Int], variation: Variation?) throws -> Tensor
    /// The names of the classes, where there are some.
    var classNames: [String]? { get }
    /// Whether samples can be varied; where not, a key changes nothing.
    var canVary: Bool { get }

    /// The model's inputs by name for some samples, batched along the first axis.
    ///
    /// - Parameter variation: what the random choices of augmentation follow from; nil for the samples as they are.
    func batch(_ samples: [Int], variation: Variation?) throws -> [String: Tensor]

    /// A digest of what a sample is made from: its content and how it is prepared, without variation.
    func contentHash(of sample: Int) throws -> ContentHash

    /// A small picture of the sample for reports; nil where it is none.
    func picture(of sample: Int) -> (bytes: [UInt8], mediaType: String, name: String)?
}

extension TrainingSamples {
    /// One class a sample.
    public var targetKind: TargetKind { .classes }

    /// The classes of some samples.
    public func targets(_ samples: [Int], variation: Variation?) throws -> Tensor {
        Tensor(samples.map { Int64(labels[$0]) })
    }

    /// No picture.
    public func picture(of sample: Int) -> (bytes: [UInt8], mediaType: String, name: String)? { nil }
}

/// What the random choices of augmentation follow from; with the sample's position they are fixed.
public struct Variation: Sendable, Hashable {
    /// The seed of the run.
    public var seed: UInt64
    /// Which version of the samples: the pass over the data, or the number of a kept view.
    public var version: Int

    /// A key.
    public init(seed: UInt64, version: Int) {
        self.seed = seed
        self.version = version
    }
}

/// Samples that are held in memory: one tensor for each input, a row a sample.
public struct ArraySamples: TrainingSamples {
    private let inputs: [String: Tensor]
    private let targets: Tensor?
    /// The class of each sample; where samples have several, 0.
    public let labels: [Int]
    /// What there is to learn about each sample.
    public let targetKind: TargetKind
    /// The names of the classes, where there are some.
    public let classNames: [String]?

    /// Samples in memory.
    ///
    /// - Throws: ``TrainingError/noSamples(_:)`` where the numbers of rows differ.
    public init(_ inputs: [String: Tensor], labels: [Int], classNames: [String]? = nil) throws {
        for (name, tensor) in inputs where tensor.shape.first != labels.count {
            throw TrainingError.noSamples(
                "\(name) has the shape \(tensor.shape), but there are \(labels.count) labels")
        }
        self.inputs = inputs
        self.labels = labels
        self.classNames = classNames
        targets = nil
        targetKind = .classes
    }

    /// Samples in memory with several classes a sample, or a class for each pixel.
    ///
    /// - Parameter targets: 0 and 1 for each class, float of shape [N, classes]; or classes, int64 of shape
    ///   [N, rows, columns].
    /// - Throws: ``TrainingError/noSamples(_:)`` where the numbers of rows differ.
    public init(_ inputs: [String: Tensor], targets: Tensor, classNames: [String]? = nil) throws {
        guard let count = targets.shape.first, targets.shape.count > 1,
            targets.elementType == (targets.shape.count == 2 ? .float32 : .int64)
        else {
            throw TrainingError.noSamples("the targets have the shape \(targets.shape)")
        }
        for (name, tensor) in inputs where tensor.shape.first != count {
            throw TrainingError.noSamples("\(name) has the shape \(tensor.shape), but there are \(count) targets")
        }
        self.inputs = inputs
        self.targets = targets
        self.classNames = classNames
        labels = Array(repeating: 0, count: count)
        targetKind = targets.shape.count == 2 ? .labels : .pixels
    }

    /// What is to be learned about some samples.
    public func targets(_ samples: [Int], variation: Variation?) throws -> Tensor {
        try targets?.rows(samples) ?? Tensor(samples.map { Int64(labels[$0]) })
    }

    /// The number of samples.
    public var count: Int { labels.count }
    /// Arrays are used as they are.
    public var canVary: Bool { false }

    /// The rows of some samples.
    public func batch(_ samples: [Int], variation: Variation?) throws -> [String: Tensor] {
        try inputs.mapValues { try $0.rows(samples) }
    }

    /// A digest of the sample's rows.
    public func contentHash(of sample: Int) throws -> ContentHash {
        let hasher = ContentHash.Hasher()
        for (name, tensor) in inputs.sorted(by: { $0.key < $1.key }) {
            hasher.update("\(name) \(tensor.elementType.name) \(tensor.shape.dropFirst())")
            try tensor.rows([sample]).withBytes { hasher.update($0) }
        }
        return hasher.finish()
    }
}

extension Tensor {
    /// The rows at some positions of the first axis, in that order.
    func rows(_ positions: [Int]) throws -> Tensor {
        let rowShape = Array(shape.dropFirst())
        let rowBytes = elementType.byteCount(elements: Checked.product(rowShape) ?? 0) ?? 0
        let buffer = ByteBuffer(count: positions.count * rowBytes)
        try withBytes { bytes in
            for (place, position) in positions.enumerated() {
                guard let range = Checked.range(offset: position * rowBytes, count: rowBytes, within: bytes.count)
                else {
                    throw TensorError.invalidShape(shape)
                }
                UnsafeMutableRawBufferPointer(
                    rebasing: buffer.mutableBytes[(place * rowBytes)..<((place + 1) * rowBytes)]
                )
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[range]))
            }
        }
        return try Tensor(elementType, shape: [positions.count] + rowShape, storage: .owned(buffer))
    }
}

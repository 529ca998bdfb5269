import GraftCore

/// Labelled samples that a model can be trained on or judged by.
///
/// There is a data set of pictures (``ImageDataSet``, from a folder or a table of paths), of arrays (``ArrayDataSet``,
/// from an NPZ file) and of rows of numbers (``TableDataSet``, from a CSV file).
public protocol DataSet: Sendable {
    /// The number of samples.
    var count: Int { get }
    /// The names of the classes, in the order of their labels.
    var classNames: [String] { get }
    /// The class of a sample, an index of ``classNames``; where a sample has several, a number to divide samples by.
    func label(at index: Int) -> Int
    /// What there is to learn about each sample.
    var targetKind: TargetKind { get }
    /// What is to be learned about a sample: its class (int64, no axes), 0 or 1 for each class (float), or the class of
    /// each pixel (int64, rows and columns), changed at random as the sample's inputs are.
    func target(at index: Int, as view: SampleView) throws -> Tensor
    /// What names a sample to a person: a path, or a row of a file.
    func name(at index: Int) -> String
    /// The inputs that ``load(_:as:into:)`` fills for one sample, in order.
    func inputs(as view: SampleView) -> [SampleInput]
    /// Writes one sample's inputs, each into a buffer of exactly its size.
    ///
    /// Depends on the arguments only; may be called from several threads at once.
    /// - Throws: an error that names the sample's file.
    func load(_ index: Int, as view: SampleView, into targets: [UnsafeMutableRawBufferPointer]) throws
    /// The digest of a sample's content, the same for two copies of one file.
    func contentHash(at index: Int) throws -> ContentHash
}

extension DataSet {
    /// The labels of all samples.
    public var labels: [Int] { (0..<count).map { label(at: $0) } }

    /// One sample's inputs as tensors without a batch dimension.
    public func sample(_ index: Int, as view: SampleView) throws -> [Tensor] {
        let inputs = inputs(as: view)
        let buffers = inputs.map { ByteBuffer(count: $0.byteCount) }
        try load(index, as: view, into: buffers.map(\.mutableBytes))
        return try zip(inputs, buffers).map {
            try Tensor($0.elementType, shape: $0.shape, storage: .owned($1))
        }
    }
}

/// One input of a sample.
public struct SampleInput: Sendable, Equatable {
    /// The model's input that it is for; empty where there is only one.
    public let name: String
    /// The type of its elements.
    public let elementType: ElementType
    /// Its shape, without a batch.
    public let shape: [Int]
    /// The number of bytes of one sample.
    public let byteCount: Int

    /// An input of the given type and shape.
    ///
    /// - Precondition: the type has elements of at least one byte, and the shape is possible.
    public init(name: String = "", elementType: ElementType, shape: [Int]) {
        guard elementType.byteWidth > 0, let count = Checked.product(shape),
            let bytes = elementType.byteCount(elements: count)
        else { preconditionFailure("no samples of type \(elementType.name) and shape \(shape)") }
        self.name = name
        self.elementType = elementType
        self.shape = shape
        byteCount = bytes
    }
}

/// How samples are seen: the model's contract, and for training what is drawn at random.
public struct SampleView: Sendable {
    /// The contract that pictures are held to; arrays and rows go in as they are.
    public var preprocessing: Preprocessing?
    /// The random changes of training pictures; nil for evaluation.
    public var augmentation: AugmentationPipeline?
    /// The seed of everything random.
    public var seed: UInt64
    /// The epoch, or the number of the view where features are computed ahead.
    public var epoch: Int

    /// A view.
    public init(
        preprocessing: Preprocessing? = nil, augmentation: AugmentationPipeline? = nil, seed: UInt64 = 0, epoch: Int = 0
    ) {
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = epoch
    }
}

/// What can be wrong with a data set.
public enum DataSetError: GraftError, Equatable {
    /// The folder holds no folders with pictures.
    case noClasses(path: String, advice: String)
    /// A class has no samples.
    case emptyClass(path: String, className: String)
    /// Files that cannot be used; the first reasons and the number of all.
    case unusableFiles(path: String, count: Int, reasons: [String])
    /// A class is not one of the model's.
    case unknownClass(path: String, className: String, suggestion: String)
    /// Pictures were asked for without a preprocessing contract.
    case noPreprocessing
    /// The arrays of an NPZ file do not form a data set.
    case badArrays(path: String, reason: String)
    /// Masks do not fit.
    case badMasks(path: String, reason: String)
    /// A table cannot be read.
    case badTable(path: String, line: Int?, reason: String)
    /// A split, subset or batch cannot be made.
    case badSplit(reason: String)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .noClasses(let path, let advice): "\(path): no classes found; \(advice)"
        case .emptyClass(let path, let name): "\(path): the class folder \"\(name)\" holds no pictures"
        case .unusableFiles(let path, let count, let reasons):
            "\(path): \(count) file\(count == 1 ? "" : "s") cannot be used; repair or remove "
                + "\(count == 1 ? "it" : "them"), or ask to skip unusable files\n"
                + reasons.map { "  \($0)" }.joined(separator: "\n")
                + (count > reasons.count ? "\n  and \(count - reasons.count) more" : "")
        case .unknownClass(let path, let name, let suggestion):
            "\(path): \"\(name)\" is not one of the model's classes.\(suggestion)"
        case .noPreprocessing: "pictures need a preprocessing contract; set one"
        case .badArrays(let path, let reason): "\(path): \(reason)"
        case .badMasks(let path, let reason): "\(path): \(reason)"
        case .badTable(let path, let line, let reason): "\(path)\(line.map { ":\($0)" } ?? ""): \(reason)"
        case .badSplit(let reason): reason
        }
    }
}

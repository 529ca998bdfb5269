import GraftCore

/// The contract between pictures and a model: how a picture becomes the numbers that the model was trained on.
///
/// A picture is brought to `height` x `width`, its channels are ordered, and each value becomes
/// `(pixel * scale - mean[c]) / std[c]`. The contract travels in the model's file; training, evaluation and prediction
/// use the same code.
public struct Preprocessing: Sendable, Equatable {
    /// How a picture of any size is brought to the model's size.
    public enum Resize: Sendable, Equatable {
        /// The short side is resized to this many pixels, then the middle is cut out.
        case crop(shortSide: Int)
        /// Both sides are resized without regard to proportions.
        case stretch
        /// The picture is resized to fit and its borders are filled with a value.
        case pad(fill: UInt8)
    }

    /// The model's channels, in its order.
    public enum Channels: String, Sendable, CaseIterable {
        case rgb = "RGB"
        case bgr = "BGR"
        case gray

        /// The number of channels.
        public var count: Int { self == .gray ? 1 : 3 }
    }

    /// The order of the dimensions of a batch.
    public enum Layout: String, Sendable, CaseIterable {
        /// Batch, channels, height, width.
        case nchw = "NCHW"
        /// Batch, height, width, channels.
        case nhwc = "NHWC"
    }

    /// The rows that the model takes.
    public var height: Int
    /// The pixels of a row that the model takes.
    public var width: Int
    /// How the size is reached.
    public var resize: Resize
    /// The filter of the resize.
    public var filter: ResamplingFilter
    /// Whether the filter widens when a picture gets smaller, as Pillow's does; without, only bilinear and nearest are
    /// possible, as TensorFlow computes them.
    public var antialias: Bool
    /// The factor of each pixel value 0...255.
    public var scale: Double
    /// What is subtracted after scaling, a number for each channel in the model's order.
    public var mean: [Double]
    /// What is divided by at last, a number for each channel in the model's order.
    public var std: [Double]
    /// The channels and their order.
    public var channels: Channels
    /// The order of dimensions.
    public var layout: Layout
    /// The type of the model's input; numbers are computed as float and converted by whoever fills the input.
    public var elementType: ElementType

    /// A contract; by default pixel values go in as they are.
    ///
    /// - Throws: ``PreprocessingError`` where the parts contradict each other.
    public init(
        height: Int, width: Int, resize: Resize = .stretch, filter: ResamplingFilter = .bilinear,
        antialias: Bool = true,
        scale: Double = 1, mean: [Double]? = nil, std: [Double]? = nil, channels: Channels = .rgb,
        layout: Layout = .nchw, elementType: ElementType = .float32
    ) throws(PreprocessingError) {
        self.height = height
        self.width = width
        self.resize = resize
        self.filter = filter
        self.antialias = antialias
        self.scale = scale
        self.mean = mean ?? [Double](repeating: 0, count: channels.count)
        self.std = std ?? [Double](repeating: 1, count: channels.count)
        self.channels = channels
        self.layout = layout
        self.elementType = elementType
        try validate()
    }

    /// The shape of one sample, without the batch.
    public var sampleShape: [Int] {
        layout == .nchw ? [channels.count, height, width] : [height, width, channels.count]
    }

    /// The number of values of one sample.
    public var sampleCount: Int { channels.count * height * width }

    private func validate() throws(PreprocessingError) {
        func check(_ condition: Bool, _ key: String, _ reason: String) throws(PreprocessingError) {
            if !condition { throw .invalid(key: key, reason: reason) }
        }
        let sides = 1...65_536
        try check(sides.contains(height) && sides.contains(width), "size", "the sides must be between 1 and 65536")
        if case .crop(let shortSide) = resize {
            try check(sides.contains(shortSide), "short_side", "it must be between 1 and 65536")
        }
        try check(scale.isFinite && scale != 0, "scale", "it must be a finite number other than 0")
        let count = channels.count
        try check(mean.count == count, "mean", "\(channels.rawValue) needs \(count) numbers, not \(mean.count)")
        try check(std.count == count, "std", "\(channels.rawValue) needs \(count) numbers, not \(std.count)")
        try check(mean.allSatisfy(\.isFinite), "mean", "its numbers must be finite")
        try check(std.allSatisfy { $0.isFinite && $0 != 0 }, "std", "its numbers must be finite and not 0")
        try check(
            antialias || filter == .bilinear || filter == .nearest, "antialias",
            "without it only the filters bilinear and nearest are possible")
        try check(
            elementType.isFloatingPoint || elementType.isInteger, "type",
            "a picture cannot become elements of type \(elementType.name)")
    }
}

/// What can be wrong with a preprocessing contract.
public enum PreprocessingError: GraftError, Equatable {
    /// A key is not known.
    case unknownKey(key: String, suggestion: String)
    /// A key is missing.
    case missingKey(key: String)
    /// A value is of the wrong kind or out of range.
    case invalid(key: String, reason: String)
    /// There is no preset of this name.
    case unknownPreset(name: String, suggestion: String)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .unknownKey(let key, let suggestion): "preprocessing: unknown key \"\(key)\".\(suggestion)"
        case .missingKey(let key): "preprocessing: the key \"\(key)\" is missing"
        case .invalid(let key, let reason): "preprocessing: \(key): \(reason)"
        case .unknownPreset(let name, let suggestion): "preprocessing: there is no preset \"\(name)\".\(suggestion)"
        }
    }
}

import GraftCore

/// What can be wrong with a picture.
public enum ImageError: GraftError, Equatable {
    /// The content is of no picture format that is known.
    case unknownFormat(source: String)
    /// The format is known but not read.
    case unsupportedFormat(source: String, format: String)
    /// A feature of the format is not supported.
    case unsupportedFeature(source: String, feature: String)
    /// The file ends too early.
    case truncated(source: String, format: String)
    /// The content contradicts its format.
    case damaged(source: String, format: String, reason: String)
    /// The picture declares more pixels than ``Limits/imagePixels``.
    case tooLarge(source: String, width: Int, height: Int, limit: Int)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .unknownFormat(let source): "\(source): not a picture; \(ImageFormat.names) are read"
        case .unsupportedFormat(let source, let format):
            "\(source): \(format) pictures are not read; save it as JPEG, PNG or WebP"
        case .unsupportedFeature(let source, let feature):
            "\(source): \(feature) is not supported; save it again without"
        case .truncated(let source, let format): "\(source): the \(format) picture is cut off; copy the file again"
        case .damaged(let source, let format, let reason): "\(source): the \(format) picture is damaged: \(reason)"
        case .tooLarge(let source, let width, let height, let limit):
            "\(source): \(width) x \(height) pixels exceed the limit image-pixels of \(limit)"
        }
    }
}

import GraftCore
import GraftIR

/// A file format that holds a whole model: a graph with its weights.
///
/// A format is added by a file that conforms to this protocol and a line in ``ModelFormats/all``.
public protocol ModelFormat: Sendable {
    /// The name that `--to` takes, such as `onnx`.
    static var name: String { get }
    /// What the format is, in a few words.
    static var summary: String { get }
    /// The file name endings that stand for the format, without the leading dot, longest first.
    static var extensions: [String] { get }

    /// Whether a file that begins with these bytes is in this format.
    ///
    /// - Parameters:
    ///   - start: up to the first 4 KiB of the file.
    ///   - path: the file's path, for formats that have no signature.
    static func recognizes(_ start: UnsafeRawBufferPointer, path: String) -> Bool

    /// Reads a model.
    static func read(path: String, limits: Limits) throws -> Model

    /// Says what of a model the format cannot hold, before anything is written.
    ///
    /// - Throws: an error that names every layer or operator that stands in the way.
    static func checkWritable(_ model: Model) throws

    /// Writes a model whole, or nothing.
    ///
    /// - Returns: what the format could not keep, a sentence each.
    /// - Throws: also ``ModelFormatError/noExternalData(_:)`` for wishes that the format cannot meet.
    static func write(_ model: Model, to path: String, options: WriteOptions) throws -> [String]
}

/// Wishes about a file; those about external data only some formats can meet.
public struct WriteOptions: Sendable, Equatable {
    /// Whether weights go into a file beside the model; nil for the format's own rule.
    public var usesExternalData: Bool?
    /// Tensors of fewer bytes stay in the model's file; nil for the format's own bound.
    public var externalDataThreshold: Int?
    /// Where the file goes once it is checked; data beside it takes a name that is free there.
    package var destination: String?
    /// What a power failure may take away of the file.
    public var durability = Durability.synced

    /// No wishes.
    public init() {}

    /// Whether something is wished about weights beside the model.
    var concernsExternalData: Bool { usesExternalData != nil || externalDataThreshold != nil }
}

extension ModelFormat {
    /// Writes a model whole, or nothing, without wishes about the file.
    ///
    /// - Returns: what the format could not keep, a sentence each.
    public static func write(_ model: Model, to path: String) throws -> [String] {
        try write(model, to: path, options: WriteOptions())
    }

    static func hasKnownExtension(_ path: String) -> Bool {
        let lowered = path.lowercased()
        return extensions.contains { lowered.hasSuffix(".\($0)") }
    }
}

/// What is wrong with the choice of a file or format.
public enum ModelFormatError: GraftError, Equatable {
    /// The content is of no known format.
    case unrecognized(path: String)
    /// The ending of an output's name stands for no format.
    case unknownExtension(path: String)
    /// No format has the name.
    case unknownName(String)
    /// The file holds weights without a graph.
    case weightsOnly(path: String)
    /// The format keeps everything in one file.
    case noExternalData(String)

    public var exitStatus: ExitStatus {
        switch self {
        case .unrecognized, .weightsOnly: .badInput
        case .unknownExtension, .unknownName, .noExternalData: .usage
        }
    }

    public var description: String {
        switch self {
        case .unrecognized(let path):
            "\(path): this is no model file that Graft knows (\(ModelFormats.listing)); is it damaged or incomplete?"
        case .unknownExtension(let path):
            "\(path): the ending of the name stands for no format; use one of \(ModelFormats.listing), or --to"
        case .unknownName(let name):
            "there is no format named \"\(name)\"."
                + Suggestion.sentence(name, in: ModelFormats.all.map { $0.name })
                + " The formats are \(ModelFormats.all.map { $0.name }.joined(separator: ", "))."
        case .noExternalData(let name):
            "the format \(name) keeps everything in one file; weights beside the model are a matter of onnx"
        case .weightsOnly(let path):
            "\(path): the file holds weights without a graph; name the model that they belong to"
        }
    }
}

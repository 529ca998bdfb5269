import GraftCore
import GraftIR

/// The formats that models are read from and written to.
public enum ModelFormats {
    /// All formats; the first that recognises a file reads it.
    public static var all: [any ModelFormat.Type] { [KerasH5Format.self, ONNXFormat.self] }

    /// The endings of all formats, for messages.
    static var listing: String { all.flatMap { $0.extensions }.map { ".\($0)" }.joined(separator: ", ") }

    /// The format that a file is in, by its content.
    ///
    /// - Throws: ``ModelFormatError/unrecognized(path:)``, or ``FileError``.
    public static func format(ofFile path: String) throws -> any ModelFormat.Type {
        let file = try MappedFile(path: path)
        let start = UnsafeRawBufferPointer(rebasing: file.bytes.prefix(4096))
        guard let format = withExtendedLifetime(file, { all.first { $0.recognizes(start, path: path) } }) else {
            throw ModelFormatError.unrecognized(path: path)
        }
        return format
    }

    /// The format that an output shall have: the named one, or the one that the path's ending stands for.
    ///
    /// - Throws: ``ModelFormatError``.
    public static func format(forOutput path: String, named name: String? = nil) throws -> any ModelFormat.Type {
        if let name {
            guard let format = all.first(where: { $0.name == name.lowercased() }) else {
                throw ModelFormatError.unknownName(name)
            }
            return format
        }
        guard let format = all.first(where: { $0.hasKnownExtension(path) }) else {
            throw ModelFormatError.unknownExtension(path: path)
        }
        return format
    }

    /// Reads a model from a file of any format.
    public static func read(path: String, limits: Limits = Limits()) throws -> Model {
        try format(ofFile: path).read(path: path, limits: limits)
    }
}

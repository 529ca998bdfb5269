import GraftCore

/// The value of an attribute.
public enum HDF5Attribute: Sendable {
    /// One text, or an array of texts.
    case strings(HDF5Strings)
    /// Numbers; a scalar has the shape `[]`.
    case tensor(Tensor)
    /// An attribute without elements or type, h5py's `Empty`.
    case empty
    /// Something that is not read, such as a reference; the text says what.
    case unsupported(String)

    /// A text as h5py writes a Python `str`: variable length, UTF-8.
    public static func string(_ text: String) -> HDF5Attribute {
        .strings(HDF5Strings([text], shape: [], format: HDF5StringFormat(characters: .utf8)))
    }

    /// A text as h5py writes Python `bytes`: variable length, marked as ASCII.
    public static func bytes(_ text: String) -> HDF5Attribute {
        .strings(HDF5Strings([text], shape: [], format: HDF5StringFormat(characters: .ascii)))
    }

    /// The text, where this is a single one; invalid UTF-8 is repaired.
    public var string: String? {
        guard case .strings(let strings) = self, strings.elements.count == 1 else { return nil }
        return strings.texts[0]
    }

    /// The texts of an array.
    ///
    /// An array without elements, which h5py stores as float64, also counts as no texts.
    public var texts: [String]? {
        switch self {
        case .strings(let strings): strings.texts
        case .tensor(let tensor) where tensor.count == 0: []
        case .empty: []
        default: nil
        }
    }
}

/// Texts with the form in which the file stores them.
public struct HDF5Strings: Sendable, Equatable {
    /// The bytes of each text, without padding.
    public var elements: [[UInt8]]
    /// The dimensions; empty for a single text.
    public var shape: [Int]
    /// How the texts are stored.
    public var format: HDF5StringFormat

    /// Texts to be stored in the given form.
    public init(_ texts: [String], shape: [Int], format: HDF5StringFormat) {
        self.init(elements: texts.map { Array($0.utf8) }, shape: shape, format: format)
    }

    init(elements: [[UInt8]], shape: [Int], format: HDF5StringFormat) {
        self.elements = elements
        self.shape = shape
        self.format = format
    }

    /// The texts; invalid UTF-8 is repaired.
    public var texts: [String] { elements.map { String(decoding: $0, as: UTF8.self) } }
}

/// How HDF5 stores a text.
public struct HDF5StringFormat: Sendable, Hashable {
    /// The character set that the type names; the bytes are UTF-8 either way.
    public enum Characters: UInt8, Sendable {
        /// `H5T_CSET_ASCII`.
        case ascii = 0
        /// `H5T_CSET_UTF8`.
        case utf8 = 1
    }

    /// What follows a text that is shorter than its fixed length.
    public enum Padding: UInt8, Sendable {
        /// A zero ends the text.
        case nullTerminated = 0
        /// Zeros fill the rest.
        case nullPadded = 1
        /// Spaces fill the rest.
        case spacePadded = 2
    }

    /// The character set.
    public var characters: Characters
    /// The padding.
    public var padding: Padding
    /// The length in bytes of every text, or nil where each has its own.
    public var fixedLength: Int?

    /// A form of storing texts.
    public init(characters: Characters, padding: Padding = .nullTerminated, fixedLength: Int? = nil) {
        self.characters = characters
        self.padding = padding
        self.fixedLength = fixedLength
    }
}

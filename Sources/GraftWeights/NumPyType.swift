import GraftCore

/// The type of a NumPy array's elements, as the `descr` of a `.npy` header spells it.
enum NumPyType: Equatable {
    /// Elements of a fixed size that a tensor holds as they are.
    case plain(ElementType)
    /// Text of at most this many 32-bit code points, padded with zeros: `<U7`.
    case unicode(length: Int)
    /// At most this many bytes, padded with zeros: `|S7`.
    case bytes(length: Int)

    private static let kinds: [(descriptor: String, type: ElementType)] = [
        ("b1", .bool), ("i1", .int8), ("i2", .int16), ("i4", .int32), ("i8", .int64), ("u1", .uint8), ("u2", .uint16),
        ("u4", .uint32), ("u8", .uint64), ("f2", .float16), ("f4", .float32), ("f8", .float64), ("c8", .complex64),
        ("c16", .complex128),
        // What ml_dtypes writes for bfloat16 and float8_e5m2; its other types all appear as V1.
        ("V2", .bfloat16), ("f1", .float8e5m2),
    ]

    /// Parses a descriptor such as `<f4`; also says whether its elements are big-endian.
    static func parse(_ descriptor: String, source: String) throws(NPYError) -> (type: NumPyType, isBigEndian: Bool) {
        guard let order = descriptor.first, "<>|=".contains(order) else {
            throw .damaged(source: source, reason: "the type \"\(descriptor)\" has no byte order")
        }
        let kind = String(descriptor.dropFirst())
        let isBigEndian = order == ">"
        if let found = kinds.first(where: { $0.descriptor == kind }) { return (.plain(found.type), isBigEndian) }
        if kind.hasPrefix("O") { throw .pickled(source: source) }
        if let letter = kind.first, letter == "U" || letter == "S" || letter == "a",
            let length = Int(kind.dropFirst()), length >= 0, length <= 1 << 30
        {
            return (letter == "U" ? .unicode(length: length) : .bytes(length: length), isBigEndian)
        }
        let advice =
            switch kind.first {
            case "M", "m": "save dates and durations as integers, with .astype(\"int64\")"
            case "f", "c": "save it as a 64-bit type, with .astype(\"float64\") or .astype(\"complex128\")"
            case "V": "several types share this spelling; save it as .view(\"uint8\") or .astype(\"float32\")"
            default: "save it with a number or text type"
            }
        throw .unsupportedType(source: source, descriptor: descriptor, advice: advice)
    }

    /// The descriptor for a tensor's elements, or nil where NumPy has none that it reads back.
    static func descriptor(_ type: ElementType) -> String? {
        guard type != .float8e5m2, let kind = kinds.first(where: { $0.type == type })?.descriptor else { return nil }
        return (type.byteWidth == 1 ? "|" : "<") + kind
    }

    /// The number of bytes of one element in the file.
    var byteWidth: Int {
        switch self {
        case .plain(let type): type.byteWidth
        case .unicode(let length): length * 4
        case .bytes(let length): length
        }
    }

    /// The number of bytes that are swapped together in big-endian files.
    var swapWidth: Int {
        switch self {
        case .plain(.complex64): 4
        case .plain(.complex128): 8
        case .plain(let type): type.byteWidth
        case .unicode: 4
        case .bytes: 1
        }
    }
}

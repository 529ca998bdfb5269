import GraftCore
import OrderedCollections

/// A file of named tensors in the layout of safetensors: the length of a JSON header, the header, the bytes.
///
/// The header maps each name to `dtype`, `shape` and `data_offsets`; tensors follow each other without gaps. Reading
/// maps the file and checks every range before it is believed.
public enum TensorArchive {
    /// What can be wrong with an archive.
    public enum Failure: GraftError, Equatable {
        /// The file is not an archive, or damaged.
        case damaged(path: String, reason: String)
        /// A tensor's type has no name in the layout.
        case unsupportedType(name: String, type: ElementType)

        /// The exit status of a command that this ends.
        public var exitStatus: ExitStatus { .badInput }
        /// What is wrong, where, and what to do.
        public var description: String {
            switch self {
            case .damaged(let path, let reason): "\(path): not a readable tensor archive: \(reason)"
            case .unsupportedType(let name, let type): "\(name): \(type.name) tensors cannot be archived"
            }
        }
    }

    private static let types: [(name: String, type: ElementType)] = [
        ("F32", .float32), ("F64", .float64), ("F16", .float16), ("BF16", .bfloat16), ("I64", .int64), ("I32", .int32),
        ("I16", .int16), ("I8", .int8), ("U8", .uint8), ("BOOL", .bool), ("U16", .uint16), ("U32", .uint32),
        ("U64", .uint64),
    ]

    /// Writes tensors in the given order.
    ///
    /// - Throws: ``Failure`` before anything is written, or ``FileError``.
    public static func write(_ tensors: OrderedDictionary<String, Tensor>, to path: String) throws {
        var header = OrderedDictionary<String, JSON>()
        var offset = 0
        for (name, tensor) in tensors {
            guard let code = types.first(where: { $0.type == tensor.elementType })?.name else {
                throw Failure.unsupportedType(name: name, type: tensor.elementType)
            }
            let end = offset + tensor.byteCount
            header[name] = ["dtype": JSON(code), "shape": JSON(tensor.shape), "data_offsets": JSON([offset, end])]
            offset = end
        }
        var text = Array(JSON.object(header).text().utf8)
        while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
        try AtomicFile.write(to: path) { file in
            try file.write((0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) })
            try file.write(text)
            for tensor in tensors.values { try tensor.withBytes { try file.write($0) } }
        }
    }

    /// Reads an archive; the tensors stay in the mapped file.
    ///
    /// - Throws: ``Failure`` or ``FileError``.
    public static func read(_ path: String, limits: Limits = Limits()) throws -> OrderedDictionary<String, Tensor> {
        let file = try MappedFile(path: path)
        func damaged(_ reason: String) -> Failure { .damaged(path: path, reason: reason) }
        guard file.count >= 8 else { throw damaged("it has \(file.count) bytes") }
        let length = (0..<8).reduce(UInt64(0)) { $0 | UInt64(file.bytes[$1]) << (8 * UInt64($1)) }
        guard let length = Int(exactly: length), length <= limits.textBytes,
            let header = Checked.range(offset: 8, count: length, within: file.count)
        else { throw damaged("its header is longer than the file or the limit") }
        let json = try JSON(parsing: file.bytes[header], limits: limits)
        guard let members = json.object else { throw damaged("its header is no object") }
        var result = OrderedDictionary<String, Tensor>()
        var expected = 0
        for (name, entry) in members where name != "__metadata__" {
            guard let code = entry["dtype"]?.string, let type = types.first(where: { $0.name == code })?.type,
                let shape = entry["shape"]?.array?.map({ $0.int ?? -1 }), let start = entry["data_offsets"]?[0]?.int,
                let end = entry["data_offsets"]?[1]?.int, start == expected, end >= start,
                let range = Checked.range(
                    offset: header.upperBound, count: end, within: file.count)
            else { throw damaged("the entry of \"\(name)\" is not usable") }
            expected = end
            result[name] = try Tensor(
                type, shape: shape, storage: .mapped(file, (range.lowerBound + start)..<range.upperBound))
        }
        guard header.upperBound + expected == file.count else { throw damaged("the tensors do not fill the file") }
        return result
    }
}

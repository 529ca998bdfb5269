import GraftCore
import OrderedCollections

/// Tensors by name in a file that can be mapped: eight bytes of length, a JSON header, then all bytes.
///
/// Reading is as strict as the format: the bytes of all tensors follow each other without gaps or overlaps from the end
/// of the header to the end of the file, each exactly as long as its shape needs; names are not repeated.
public struct Safetensors: Sendable {
    /// The longest header that the format allows.
    private static let headerBound = 100_000_000

    /// The tensors in the order of their bytes.
    public var tensors: OrderedDictionary<String, Tensor>
    /// Texts about the file, such as who wrote it.
    public var metadata: OrderedDictionary<String, String>

    /// Tensors and texts to be written.
    public init(tensors: OrderedDictionary<String, Tensor>, metadata: OrderedDictionary<String, String> = [:]) {
        self.tensors = tensors
        self.metadata = metadata
    }

    /// Reads the file at `path`; the tensors stay in the mapped file.
    ///
    /// - Throws: ``FileError`` or ``SafetensorsError``.
    public init(path: String, limits: Limits = Limits()) throws {
        let file = try MappedFile(path: path)
        func bad(_ reason: String) -> SafetensorsError { .badHeader(path: path, reason: reason) }
        let (header, start): (JSON, Int) = try withExtendedLifetime(file) {
            guard let count = LittleEndian(bytes: file.bytes).int64(0) else {
                throw bad("its first eight bytes are not the length of a header")
            }
            guard count <= min(Self.headerBound, limits.textBytes) else {
                throw bad("a header of \(count) bytes is too long")
            }
            guard let range = Checked.range(offset: 8, count: count, within: file.count) else {
                throw bad("its header of \(count) bytes is cut off")
            }
            let text = file.bytes[range]
            guard text.first == UInt8(ascii: "{") else { throw bad("its header does not start with {") }
            let header: JSON
            do { header = try JSON(parsing: text, limits: limits) } catch { throw bad("\(error)") }
            if let name = JSONKeys.repeated(UnsafeRawBufferPointer(rebasing: text)) {
                throw bad("the name \"\(name)\" occurs twice")
            }
            return (header, range.upperBound)
        }
        guard var members = header.object else { throw bad("its header is no object") }
        metadata = [:]
        if let texts = members.removeValue(forKey: "__metadata__") {
            guard let object = texts.object else { throw bad("__metadata__ is no object") }
            for (key, value) in object {
                guard let text = value.string else { throw bad("__metadata__ holds \"\(key)\", which is no text") }
                metadata[key] = text
            }
        }
        var entries: [(name: String, range: Range<Int>, tensor: Tensor)] = []
        for (name, entry) in members {
            let (tensor, range) = try Self.tensor(entry, name: name, file: file, start: start)
            entries.append((name, range, tensor))
        }
        entries.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        var end = 0
        for entry in entries {
            guard entry.range.lowerBound == end else {
                throw SafetensorsError.badLayout(
                    path: path, tensor: entry.name,
                    reason: "its bytes start at \(entry.range.lowerBound), but \(end) was expected")
            }
            end = entry.range.upperBound
        }
        guard end == file.count - start else {
            throw SafetensorsError.badLayout(
                path: path, tensor: entries.last?.name ?? "",
                reason: "the tensors end at \(end), but the file holds \(file.count - start) bytes of them")
        }
        tensors = OrderedDictionary(entries.map { ($0.name, $0.tensor) }, uniquingKeysWith: { first, _ in first })
    }

    private static func tensor(
        _ entry: JSON, name: String, file: MappedFile, start: Int
    ) throws -> (Tensor, Range<Int>) {
        func bad(_ reason: String) -> SafetensorsError { .badTensor(path: file.path, tensor: name, reason: reason) }
        guard let members = entry.object, Set(members.keys) == ["dtype", "shape", "data_offsets"] else {
            throw bad("an object with dtype, shape and data_offsets was expected")
        }
        guard let dtype = members["dtype"]?.string, let type = SafetensorsType.elementType(dtype) else {
            throw bad("the type \(members["dtype"]?.text() ?? "") is not supported")
        }
        guard let dimensions = members["shape"]?.array, case let shape = dimensions.compactMap(\.int),
            shape.count == dimensions.count, let count = Checked.product(shape),
            let size = type.byteCount(elements: count)
        else { throw bad("its shape is not possible") }
        guard let offsets = members["data_offsets"]?.array?.map(\.int), offsets.count == 2, let from = offsets[0],
            let to = offsets[1], from <= to,
            let range = Checked.range(offset: from, count: to - from, within: file.count - start)
        else { throw bad("its bytes do not lie within the file") }
        guard range.count == size else {
            throw bad("\(dtype) of shape \(shape) takes \(size) bytes, but \(range.count) are given")
        }
        let tensor = try Tensor(
            type, shape: shape, storage: .mapped(file, (start + range.lowerBound)..<(start + range.upperBound)))
        return (tensor, range)
    }

    /// Writes a file as the format's own library does: the widest types first, then by name; replaced whole or not at all.
    ///
    /// Each tensor is loaded on its own, so lazy tensors are written in bounded memory.
    /// - Throws: ``FileError`` or ``SafetensorsError``.
    public func write(to path: String) throws {
        var header: OrderedDictionary<String, JSON> = [:]
        if !metadata.isEmpty {
            header["__metadata__"] = .object(
                OrderedDictionary(metadata.map { ($0.key, .string($0.value)) }, uniquingKeysWith: { $1 }))
        }
        var order: [(name: String, tensor: Tensor, type: (name: String, rank: Int))] = []
        for (name, tensor) in tensors {
            guard let type = SafetensorsType.name(tensor.elementType) else {
                throw SafetensorsError.cannotWrite(
                    tensor: name, reason: "the format has no type \(tensor.elementType.name)")
            }
            guard name != "__metadata__" else {
                throw SafetensorsError.cannotWrite(tensor: name, reason: "the name is reserved; rename it")
            }
            order.append((name, tensor, type))
        }
        order.sort { a, b in
            a.type.rank == b.type.rank
                ? a.name.utf8.lexicographicallyPrecedes(b.name.utf8) : a.type.rank > b.type.rank
        }
        var offset = 0
        for (name, tensor, type) in order {
            header[name] = [
                "dtype": JSON(type.name), "shape": JSON(tensor.shape),
                "data_offsets": JSON([offset, offset + tensor.byteCount]),
            ]
            offset += tensor.byteCount
        }
        var text = Array(JSON.object(header).text(.compact).utf8)
        text += [UInt8](repeating: 0x20, count: (8 - text.count % 8) % 8)
        guard text.count <= Self.headerBound else {
            throw SafetensorsError.cannotWrite(tensor: order[0].name, reason: "the header would be longer than 100 MB")
        }
        try AtomicFile.write(to: path) { file in
            try file.write((0..<8).map { UInt8(text.count >> (8 * $0) & 0xFF) })
            try file.write(text)
            for (_, tensor, _) in order { try tensor.withBytes { try file.write($0) } }
        }
    }
}

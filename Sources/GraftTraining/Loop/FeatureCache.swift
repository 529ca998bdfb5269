import GraftCore
import OrderedCollections

#if canImport(Glibc)
import Glibc
#endif

/// Features of the frozen part of a network, computed once for each sample and kept on disk.
///
/// The file `features/<digest of the frozen part>.rows` is a list of records of one size: the digest of a sample's content
/// and variation, then its features. A record that is there is used by every later epoch, stage and run; others are
/// appended. A record that a killed run left unfinished at the end is cut off.
final class FeatureCache {
    /// The shape and type of one sample's features, for each value that crosses the boundary.
    struct Layout: Equatable {
        var name: String
        var type: ElementType
        var shape: [Int]
        var byteCount: Int
    }

    private let path: String
    private let layouts: [Layout]
    private let recordBytes: Int
    private var file: MappedFile?
    private var places: [String: Int] = [:]
    private static let keyBytes = 64

    /// The number of records.
    var count: Int { places.count }

    /// Opens the features of one frozen part.
    ///
    /// - Throws: ``FileError``.
    init(folder: String, prefix: ContentHash, layouts: [Layout]) throws {
        try Folders.make(folder)
        let hasher = ContentHash.Hasher()
        hasher.update(prefix.description)
        for layout in layouts { hasher.update("\(layout.name) \(layout.type.name) \(layout.shape)") }
        path = "\(folder)/\(hasher.finish().description.prefix(32)).rows"
        self.layouts = layouts
        recordBytes = Self.keyBytes + layouts.reduce(0) { $0 + $1.byteCount }
        try load()
    }

    /// Forgets everything that is kept.
    func clear() throws {
        file = nil
        places = [:]
        unlink(path)
    }

    /// The keys of `wanted` that have no record.
    func missing(_ wanted: [String]) -> [Int] { wanted.indices.filter { places[wanted[$0]] == nil } }

    /// Appends records that `compute` makes, in order, `batch` at a time.
    ///
    /// - Parameters:
    ///   - keys: the keys of all wanted records.
    ///   - compute: the features for the records at some positions of `keys`, batched along the first axis.
    ///   - progress: told how many are done; returns whether to stop.
    /// - Returns: whether everything is there; false where `progress` stopped it.
    func fill(
        _ keys: [String], batch: Int, compute: ([Int]) throws -> [String: Tensor], progress: (Int, Int) -> Bool
    ) throws -> Bool {
        let missing = missing(keys)
        guard !missing.isEmpty else { return true }
        // The file grows at its end; the mapping that readers use is renewed when all is written.
        file = nil
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileError.cannotCreate(path: path, reason: FileError.systemReason()) }
        defer { close(descriptor) }
        var complete = true
        var done = 0
        for start in stride(from: 0, to: missing.count, by: batch) {
            let part = Array(missing[start..<min(start + batch, missing.count)])
            try append(part.map { keys[$0] }, compute(part), to: descriptor)
            done += part.count
            if progress(done, missing.count) {
                complete = done == missing.count
                break
            }
        }
        guard fsync(descriptor) == 0 else {
            throw FileError.cannotWrite(path: path, reason: FileError.systemReason())
        }
        try load()
        return complete
    }

    /// The features of some records, batched along the first axis.
    ///
    /// - Precondition: all keys have records.
    func batch(_ keys: [String]) throws -> [String: Tensor] {
        guard let file else { throw FileError.notFound(path: path) }
        var result: [String: Tensor] = [:]
        var offset = Self.keyBytes
        for layout in layouts {
            let buffer = ByteBuffer(count: layout.byteCount * keys.count)
            for (row, key) in keys.enumerated() {
                guard let place = places[key],
                    let range = Checked.range(
                        offset: place * recordBytes + offset, count: layout.byteCount, within: file.count)
                else { throw FileError.cannotRead(path: path, reason: "a record is missing") }
                let target = UnsafeMutableRawBufferPointer(
                    rebasing: buffer.mutableBytes[(row * layout.byteCount)..<((row + 1) * layout.byteCount)])
                withExtendedLifetime(file) {
                    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: file.bytes[range]))
                }
            }
            result[layout.name] = try Tensor(
                layout.type, shape: [keys.count] + layout.shape, storage: .owned(buffer))
            offset += layout.byteCount
        }
        return result
    }

    private func append(_ keys: [String], _ features: [String: Tensor], to descriptor: Int32) throws {
        var bytes = [UInt8](repeating: 0, count: keys.count * recordBytes)
        for (row, key) in keys.enumerated() {
            bytes.replaceSubrange((row * recordBytes)..<(row * recordBytes + Self.keyBytes), with: Array(key.utf8))
        }
        var offset = Self.keyBytes
        for layout in layouts {
            guard let tensor = features[layout.name], tensor.byteCount == layout.byteCount * keys.count else {
                throw FileError.cannotWrite(path: path, reason: "the features of a batch have another size")
            }
            try tensor.withBytes { source in
                for row in keys.indices {
                    let start = row * recordBytes + offset
                    bytes.replaceSubrange(
                        start..<(start + layout.byteCount),
                        with: source[(row * layout.byteCount)..<((row + 1) * layout.byteCount)])
                }
            }
            offset += layout.byteCount
        }
        var sent = 0
        while sent < bytes.count {
            let result = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + sent, $0.count - sent) }
            if result < 0 {
                if errno == EINTR { continue }
                throw FileError.cannotWrite(path: path, reason: FileError.systemReason())
            }
            sent += result
        }
    }

    private func load() throws {
        places = [:]
        file = nil
        guard let size = Folders.size(of: path), size > 0 else { return }
        let whole = size / recordBytes * recordBytes
        if whole < size, truncate(path, whole) != 0 {
            throw FileError.cannotWrite(path: path, reason: FileError.systemReason())
        }
        guard whole > 0 else { return }
        let mapped = try MappedFile(path: path)
        for place in 0..<(min(mapped.count, whole) / recordBytes) {
            let start = place * recordBytes
            let key = withExtendedLifetime(mapped) {
                String(decoding: mapped.bytes[start..<(start + Self.keyBytes)], as: UTF8.self)
            }
            places[key] = place
        }
        file = mapped
    }
}

import GraftCore
import OrderedCollections

/// NumPy's archives of named arrays (`.npz`).
///
/// What `numpy.savez` writes stays in the mapped file; what `numpy.savez_compressed` writes is inflated into memory.
/// Graft writes stored members whose elements start at a multiple of 64 bytes, so they can be mapped.
public struct NPZ {
    private init() {}

    /// Reads all arrays of the archive at `path`, in its order.
    ///
    /// - Throws: ``FileError``, ``ZipError`` or ``NPYError``.
    public static func read(path: String, limits: Limits = Limits()) throws -> OrderedDictionary<String, Tensor> {
        let archive = try ZipArchive(path: path, limits: limits, allowsAbsoluteNames: true)
        var arrays = OrderedDictionary<String, Tensor>()
        var inflated = 0
        for member in archive.members.values {
            guard member.name.hasSuffix(".npy") else {
                throw NPYError.damaged(source: path, reason: "its member \"\(member.name)\" is not an array (.npy)")
            }
            if member.compression == .deflated {
                inflated = Checked.sum(inflated, member.byteCount) ?? .max
                guard inflated <= limits.decodedTensorBytes else {
                    throw NPYError.limitExceeded(
                        source: path,
                        reason: "its inflated arrays exceed the limit decoded-tensor-bytes of "
                            + "\(limits.decodedTensorBytes)")
                }
            }
            let name = String(member.name.dropLast(4))
            let contents = try archive.contents(of: member)
            arrays[name] = try NPY.tensor(from: contents, source: "\(path): array \"\(name)\"", limits: limits)
        }
        return arrays
    }

    /// Writes named tensors as `numpy.savez` would; the file is replaced whole or not at all.
    ///
    /// Each tensor is loaded on its own, so lazy tensors are written in bounded memory.
    /// - Throws: ``FileError`` or ``NPYError``.
    public static func write(_ arrays: OrderedDictionary<String, Tensor>, to path: String) throws {
        let encodings = try arrays.map { (name: $0.key, encoding: try NPYEncoding($0.value, name: $0.key)) }
        for (name, _) in encodings where name.utf8.count > 0xFFFF - 4 || name.split(separator: "/").contains("..") {
            throw NPYError.cannotWrite(name: name, reason: "its name is too long or holds \"..\"; rename it")
        }
        try AtomicFile.write(to: path) { file in
            var archive = ZipWriter(to: file)
            for (name, encoding) in encodings {
                try encoding.withBytes { bytes in
                    try encoding.header.withUnsafeBytes { header in
                        try archive.add("\(name).npy", alignment: 64, header, bytes)
                    }
                }
            }
            try archive.finish()
        }
    }
}

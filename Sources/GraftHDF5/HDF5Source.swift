import Glibc
import GraftCore

/// An open HDF5 file, for mapping and for helper processes.
///
/// Tensors of the file hold it, so that a file which is replaced by rename stays readable.
final class HDF5Source: Sendable {
    /// The path as it was given.
    let path: String
    /// The mapped bytes.
    let file: MappedFile
    /// The open file, read only.
    let descriptor: Int32

    /// Opens a regular file.
    init(path: String) throws(FileError) {
        let opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard opened >= 0 else { throw FileError.opening(path, code: errno) }
        do {
            file = try MappedFile(descriptor: opened, path: path)
        } catch {
            close(opened)
            throw error
        }
        descriptor = opened
        self.path = path
    }

    deinit { close(descriptor) }

    /// Whether HDF5's signature is where it may be.
    ///
    /// That is at the start, or behind a user block of 512, 1024, 2048 and so on bytes.
    var hasSignature: Bool {
        let signature: [UInt8] = [0x89, 0x48, 0x44, 0x46, 0x0D, 0x0A, 0x1A, 0x0A]
        var offset = 0
        while let range = Checked.range(offset: offset, count: signature.count, within: file.count) {
            if file.bytes[range].elementsEqual(signature) { return true }
            offset = offset == 0 ? 512 : offset * 2
        }
        return false
    }
}

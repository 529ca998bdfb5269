#if canImport(Glibc)
import Glibc
#endif

/// A file mapped read-only into memory.
///
/// The mapping lives as long as the object; tensors hold a reference, so a file that is replaced by rename while
/// tensors are in use stays readable through its old inode.
public final class MappedFile: Sendable {
    // Invariant: `base` is either nil with `count == 0`, or the start of a live PROT_READ mapping of `count` bytes that
    // is unmapped only in deinit. Nothing writes through it, so sharing it between threads is safe.
    private nonisolated(unsafe) let base: UnsafeRawPointer?

    /// The path as it was given.
    public let path: String
    /// The number of bytes.
    public let count: Int
    /// Which file it is, whatever its name.
    public let identity: Identity

    /// The device and inode of a file: the same for the same file under any name.
    public struct Identity: Sendable, Hashable {
        private let device: UInt64
        private let inode: UInt64

        /// The identity in the answer of `stat`.
        package init(_ status: stat) {
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
        }
    }

    /// Maps a regular file.
    ///
    /// - Throws: ``FileError``.
    public convenience init(path: String) throws(FileError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileError.opening(path, code: errno) }
        defer { close(descriptor) }
        try self.init(descriptor: descriptor, path: path)
    }

    /// Maps the regular file behind an open descriptor, which the caller keeps; `path` is used in messages.
    ///
    /// - Throws: ``FileError``.
    public init(descriptor: Int32, path: String) throws(FileError) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw FileError.cannotRead(path: path, reason: FileError.systemReason())
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw FileError.notARegularFile(path: path) }
        let size = Int(status.st_size)
        self.path = path
        self.count = size
        self.identity = Identity(status)
        guard size > 0 else {
            self.base = nil
            return
        }
        guard let mapping = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), mapping != MAP_FAILED else {
            throw FileError.cannotRead(path: path, reason: FileError.systemReason())
        }
        self.base = UnsafeRawPointer(mapping)
    }

    deinit {
        if let base { munmap(UnsafeMutableRawPointer(mutating: base), count) }
    }

    /// Calls `body` with all bytes; they are valid for the length of the call.
    public func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(self) {} }
        return try body(bytes)
    }

    /// All bytes; valid while the object lives.
    ///
    /// Hold the object (`withExtendedLifetime`) for as long as the pointer is in use; ``withBytes(_:)`` does it.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Tells the kernel that a range will be read once, from start to end, so it can read ahead.
    public func adviseSequential(_ range: Range<Int>) { advise(range, MADV_SEQUENTIAL) }

    /// Makes the pages of a range resident in one call, where the kernel can: cheaper than a fault for each.
    public func loadPages(_ range: Range<Int>) {
        // MADV_POPULATE_READ of Linux 5.14; Swift's module of the C library does not have it.
        advise(range, 22)
    }

    private func advise(_ range: Range<Int>, _ advice: Int32) {
        guard let base, !range.isEmpty else { return }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let start = range.lowerBound / page * page
        madvise(UnsafeMutableRawPointer(mutating: base + start), range.upperBound - start, advice)
    }

    /// Drops the resident pages of a range; they are read again from the file when touched.
    public func releasePages(_ range: Range<Int>) {
        guard let base, !range.isEmpty else { return }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let start = (range.lowerBound + page - 1) / page * page
        let end = range.upperBound / page * page
        if end > start {
            madvise(UnsafeMutableRawPointer(mutating: base + start), end - start, MADV_DONTNEED)
        }
    }
}

#if canImport(Glibc)
import Glibc
#endif

/// Writes files so that readers see the old content or the new, never a part.
///
/// The bytes go to a temporary file in the same folder, are synced, and replace the target by rename; the folder is
/// synced after. Where anything fails the temporary file is removed and the target is as it was.
public enum AtomicFile {
    /// Creates or replaces the file at `path` with what `body` writes.
    ///
    /// A symbolic link is followed, so its target is replaced and the link stays.
    /// - Throws: ``FileError``, and what `body` throws.
    public static func write<R>(to path: String, _ body: (FileWriter) throws -> R) throws -> R {
        let target = resolvingLink(path)
        let folder = Self.folder(of: target)
        let temporary = "\(target).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
        let mode = permissions(of: target)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else {
            throw FileError.cannotCreate(path: path, reason: FileError.systemReason())
        }
        let writer = FileWriter(descriptor: descriptor, path: path)
        do {
            let result = try body(writer)
            try writer.finish()
            close(descriptor)
            guard rename(temporary, target) == 0 else {
                throw FileError.cannotWrite(path: path, reason: FileError.systemReason())
            }
            try syncFolder(folder)
            return result
        } catch {
            writer.abandon()
            unlink(temporary)
            throw error
        }
    }

    /// Creates or replaces the file at `path` with the given bytes.
    public static func write(_ bytes: some Sequence<UInt8>, to path: String) throws {
        let array = ContiguousArray(bytes)
        try write(to: path) { writer in try array.withUnsafeBytes { try writer.write($0) } }
    }

    /// Creates or replaces the file at `path` with UTF-8 text.
    public static func write(text: String, to path: String) throws { try write(text.utf8, to: path) }

    /// Runs `body` with the path of a temporary file, which then replaces the file at `path`.
    ///
    /// For libraries that open files by name. The temporary file is synced before the rename and removed on failure.
    public static func replace<R>(_ path: String, by body: (_ temporaryPath: String) throws -> R) throws -> R {
        let target = resolvingLink(path)
        let temporary = "\(target).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
        do {
            let result = try body(temporary)
            let descriptor = open(temporary, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw FileError.cannotCreate(path: path, reason: FileError.systemReason()) }
            defer { close(descriptor) }
            guard fsync(descriptor) == 0, rename(temporary, target) == 0 else {
                throw FileError.cannotWrite(path: path, reason: FileError.systemReason())
            }
            try syncFolder(folder(of: target))
            return result
        } catch {
            unlink(temporary)
            throw error
        }
    }

    /// Makes the names in a folder durable.
    public static func syncFolder(_ folder: String) throws(FileError) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError.cannotWrite(path: folder, reason: FileError.systemReason()) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw FileError.cannotWrite(path: folder, reason: FileError.systemReason())
        }
    }

    /// The folder part of a path, `.` where there is none.
    public static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func resolvingLink(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static func permissions(of path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0o666
    }
}

/// A buffered writer to one open file.
public final class FileWriter {
    private var descriptor: Int32
    private let path: String
    private let buffer = ByteBuffer(count: 1 << 18)
    private var filled = 0

    /// The number of bytes written so far.
    public private(set) var position = 0

    fileprivate init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Appends bytes; large blocks go to the file without a copy.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        position += bytes.count
        if bytes.count >= buffer.count {
            try flush()
            try send(bytes)
            return
        }
        if filled + bytes.count > buffer.count { try flush() }
        memcpy(buffer.mutableBytes.baseAddress! + filled, start, bytes.count)
        filled += bytes.count
    }

    /// Appends an array of bytes.
    public func write(_ bytes: [UInt8]) throws(FileError) {
        do { try bytes.withUnsafeBytes { try write($0) } } catch let error as FileError { throw error } catch {
            throw FileError.cannotWrite(path: path, reason: "\(error)")
        }
    }

    /// Appends `count` zero bytes.
    public func writeZeros(_ count: Int) throws(FileError) {
        var left = count
        let zeros = [UInt8](repeating: 0, count: min(count, 1 << 16))
        while left > 0 {
            try write(left >= zeros.count ? zeros : Array(zeros[..<left]))
            left -= min(left, zeros.count)
        }
    }

    fileprivate func finish() throws(FileError) {
        try flush()
        guard fsync(descriptor) == 0 else { throw .cannotWrite(path: path, reason: FileError.systemReason()) }
    }

    fileprivate func abandon() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    private func flush() throws(FileError) {
        guard filled > 0 else { return }
        let count = filled
        filled = 0
        try send(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
    }

    private func send(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        var offset = 0
        while offset < bytes.count {
            let sent = Glibc.write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
            if sent < 0 {
                if errno == EINTR { continue }
                throw .cannotWrite(path: path, reason: FileError.systemReason())
            }
            offset += sent
        }
    }
}

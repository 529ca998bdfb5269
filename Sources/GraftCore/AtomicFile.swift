import CLinux
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// Writes files so that readers see the old content or the new, never a part.
///
/// The bytes go to a temporary file in the same folder, which then takes the target's name by rename. When they are on
/// the disk is a matter of ``Durability``; ``Durability/synced`` where nothing is said. Where anything fails the
/// temporary file is removed and the target is as it was.
public enum AtomicFile {
    /// Creates or replaces the file at `path` with what `body` writes.
    ///
    /// A symbolic link is followed, so its target is replaced and the link stays.
    /// - Throws: ``FileError``, and what `body` throws.
    public static func write<R>(
        to path: String, durability: Durability = .synced, _ body: (FileWriter) throws -> R
    ) throws -> R {
        let target = resolvingLink(path)
        let temporary = temporaryName(for: target)
        let mode = permissions(of: target)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else {
            throw FileError.cannotCreate(path: path, reason: FileError.systemReason())
        }
        let file = OpenFile(descriptor)
        do {
            let writer = FileWriter(descriptor: descriptor, path: path)
            let result = try body(writer)
            try writer.finish()
            try publish(temporary, as: target, file, durability)
            return result
        } catch {
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
    /// For libraries that open files by name. The temporary file is removed on failure.
    public static func replace<R>(
        _ path: String, durability: Durability = .synced, by body: (_ temporaryPath: String) throws -> R
    ) throws -> R {
        let target = resolvingLink(path)
        let temporary = temporaryName(for: target)
        do {
            let result = try body(temporary)
            try move(temporary, to: target, durability: durability)
            return result
        } catch {
            unlink(temporary)
            throw error
        }
    }

    /// Gives a whole file another name in the same file system; what had that name before is replaced at once.
    ///
    /// - Throws: ``FileError``; both names are as they were then.
    public static func move(_ source: String, to target: String, durability: Durability = .synced) throws(FileError) {
        let descriptor = open(source, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError.cannotCreate(path: target, reason: FileError.systemReason()) }
        try publish(source, as: target, OpenFile(descriptor), durability)
    }

    /// The files that were synced before they took their names, in order; nil outside tests, which keeps no list.
    package static let syncedTargets = Mutex<[String]?>(nil)

    /// The only place where a file takes its name.
    private static func publish(
        _ source: String, as target: String, _ file: consuming OpenFile, _ durability: Durability
    ) throws(FileError) {
        func check(_ succeeded: Bool) throws(FileError) {
            guard succeeded else { throw .cannotWrite(path: target, reason: FileError.systemReason()) }
        }
        if durability == .syncedWhenReplacing {
            // No more than a wish: a file system that cannot start the writing now writes later.
            _ = sync_file_range(file.descriptor, 0, 0, graft_sync_file_range_write)
            // A file system behind a network says that there is no room when a descriptor is closed.
            try check(close(dup(file.descriptor)) == 0)
            // Fails where the name is taken, and where the file system does not know the flag.
            if renameat2(AT_FDCWD, source, AT_FDCWD, target, graft_rename_noreplace) == 0 { return }
        }
        try check(fsync(file.descriptor) == 0)
        syncedTargets.withLock { $0?.append(target) }
        try check(rename(source, target) == 0)
        try syncFolder(folder(of: target))
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

    private static func temporaryName(for target: String) -> String {
        "\(target).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
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

/// A descriptor that is closed when nobody holds it any more.
private struct OpenFile: ~Copyable {
    let descriptor: Int32
    init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { close(descriptor) }
}

import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// Folders on disk: making, listing, removing.
package enum Folders {
    /// Makes a folder and those above it; one that exists is fine.
    package static func make(_ path: String) throws(FileError) {
        if isFolder(path) { return }
        let parent = AtomicFile.folder(of: path)
        if parent != path && !isFolder(parent) { try make(parent) }
        if mkdir(path, 0o777) != 0 && errno != EEXIST {
            throw FileError.cannotCreate(path: path, reason: FileError.systemReason())
        }
        if !isFolder(path) { throw FileError.cannotCreate(path: path, reason: "a file is in the way") }
    }

    static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// The size of a regular file; nil where there is none.
    static func size(of path: String) -> Int? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int(status.st_size)
    }

    /// The names in a folder, sorted; nothing for a folder that is not there.
    static func names(in path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a file or a folder with everything in it; links are not followed.
    static func remove(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            for name in names(in: path) { remove("\(path)/\(name)") }
            rmdir(path)
        } else {
            unlink(path)
        }
    }

    static func rename(_ old: String, to new: String) throws(FileError) {
        guard Glibc.rename(old, new) == 0 else {
            throw FileError.cannotWrite(path: new, reason: FileError.systemReason())
        }
    }
}

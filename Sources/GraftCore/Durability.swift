#if canImport(Glibc)
import Glibc
#endif

/// What a power failure may take away of a file that was written.
///
/// Whatever is chosen, a file has its name only when all its bytes are written, so a process that ends at any moment
/// leaves the old file, no file, or the whole new one. The choice is about the machine losing power while the bytes are
/// still on their way from the system's memory to the disk.
public enum Durability: Sendable, Equatable {
    /// Nothing: the bytes and the name are on the disk when the call returns. For what cannot be made again as it was,
    /// such as the state of a run.
    case synced
    /// A new file, nothing else. The bytes of a file that replaces another are on the disk before it takes the name, as
    /// with ``synced``. A file under a new name is only on its way there when the call returns: after a power failure
    /// within the next seconds it may be missing or damaged. For results that the command makes again from what
    /// is untouched, such as a converted model.
    case syncedWhenReplacing

    /// What holds for a file that the file at `path` will refer to, and that is written before it.
    ///
    /// Where the second replaces another, the first must be on the disk too.
    public func forCompanion(of path: String) -> Durability {
        var status = stat()
        return lstat(path, &status) == 0 ? .synced : self
    }
}

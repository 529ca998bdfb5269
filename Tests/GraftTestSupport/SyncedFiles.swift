import GraftCore
import Synchronization

/// The files in a folder that are synced while `body` runs.
///
/// - Parameter folder: one that no other test writes to.
public func filesSynced(in folder: String, while body: () throws -> Void) rethrows -> [String] {
    func found() -> [String] {
        AtomicFile.syncedTargets.withLock { targets in
            let all = targets ?? []
            targets = all
            return all.filter { $0.hasPrefix(folder) }
        }
    }
    let before = found().count
    try body()
    return Array(found().dropFirst(before))
}

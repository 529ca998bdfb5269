import GraftCore
import OrderedCollections

/// The checkpoints of a run, in a folder: `step-N` for the state after N steps, `best-N` for the best of a stage.
///
/// A checkpoint is written to `step-N.tmp`, each file synced, the manifest with sizes and SHA-256 last; then the folder
/// is renamed and its parent synced, and only then older ones are removed. A reader trusts only a folder whose manifest
/// is whole and whose files match it, so a run that is killed at any moment loses at most the work since the last
/// checkpoint.
public struct CheckpointStore: Sendable {
    /// The folder.
    public let folder: String
    /// The number of checkpoints that are kept, at least 2.
    public let keep: Int

    static let manifestName = "manifest.json"
    static let tensorsName = "tensors.safetensors"

    /// Which series a checkpoint belongs to.
    public enum Series: String, Sendable {
        /// The state of the run, from which it resumes.
        case step
        /// The best state of the present stage, which the end of the stage restores.
        case best
    }

    /// The checkpoints in a folder, which need not exist yet.
    public init(folder: String, keep: Int = 2) {
        self.folder = folder
        self.keep = max(keep, 2)
    }

    /// Saves a checkpoint durably; one of the same series and step is replaced.
    ///
    /// - Throws: ``FileError`` or ``TensorArchive/Failure``; what was saved before is untouched.
    public func write(_ series: Series = .step, _ checkpoint: Checkpoint) throws {
        try Folders.make(folder)
        let path = path(series, checkpoint.step)
        let temporary = path + ".tmp"
        Folders.remove(temporary)
        try Folders.make(temporary)
        try TensorArchive.write(checkpoint.tensors, to: "\(temporary)/\(Self.tensorsName)")
        let file = try MappedFile(path: "\(temporary)/\(Self.tensorsName)")
        let body: JSON = [
            "format": 1, "step": JSON(checkpoint.step), "state": checkpoint.state,
            "files": [
                [
                    "name": JSON(Self.tensorsName), "bytes": JSON(file.count),
                    "sha256": JSON(ContentHash(file.bytes).description),
                ]
            ],
        ]
        let manifest: JSON = ["sha256": JSON(Self.digest(body)), "manifest": body]
        try AtomicFile.write(text: manifest.text(.indented) + "\n", to: "\(temporary)/\(Self.manifestName)")
        if Folders.exists(path) { try discard(path) }
        try Folders.rename(temporary, to: path)
        try AtomicFile.syncFolder(folder)
    }

    /// The steps of a series that are there, newest first; they are not checked.
    public func steps(_ series: Series = .step) -> [Int] {
        Folders.names(in: folder).compactMap { name in
            guard name.hasPrefix("\(series.rawValue)-") else { return nil }
            return Int(name.dropFirst(series.rawValue.count + 1))
        }.filter { $0 >= 0 }.sorted(by: >)
    }

    /// Reads one checkpoint and checks it against its manifest.
    ///
    /// - Throws: ``CheckpointError/damaged(path:reason:)``.
    public func read(_ series: Series = .step, step: Int) throws(CheckpointError) -> Checkpoint {
        let path = path(series, step)
        do {
            let text = try MappedFile(path: "\(path)/\(Self.manifestName)")
            let outer = try withExtendedLifetime(text) { try JSON(parsing: text.bytes) }
            guard let body = outer["manifest"], outer["sha256"]?.string == Self.digest(body) else {
                throw CheckpointError.damaged(path: path, reason: "its manifest does not match its own hash")
            }
            guard body["format"]?.int == 1, body["step"]?.int == step, let state = body["state"],
                let files = body["files"]?.array
            else { throw CheckpointError.damaged(path: path, reason: "its manifest is of another kind") }
            for file in files {
                guard file["name"]?.string == Self.tensorsName else {
                    throw CheckpointError.damaged(path: path, reason: "its manifest names an unknown file")
                }
                let mapped = try MappedFile(path: "\(path)/\(Self.tensorsName)")
                guard mapped.count == file["bytes"]?.int,
                    withExtendedLifetime(mapped, { ContentHash(mapped.bytes).description }) == file["sha256"]?.string
                else {
                    throw CheckpointError.damaged(path: path, reason: "\(Self.tensorsName) is not what was written")
                }
            }
            return Checkpoint(
                step: step, state: state, tensors: try TensorArchive.read("\(path)/\(Self.tensorsName)"))
        } catch let error as CheckpointError {
            throw error
        } catch {
            throw .damaged(path: path, reason: "\(error)")
        }
    }

    /// The newest checkpoint that can be trusted, with the best state that it refers to.
    ///
    /// - Returns: nil where there are no checkpoints; `remarks` says which newer ones were passed over, and why.
    /// - Throws: ``CheckpointError/noneUsable(folder:remarks:)``.
    public func latest() throws(CheckpointError) -> (checkpoint: Checkpoint, best: Checkpoint?, remarks: [String])? {
        var remarks: [String] = []
        for step in steps() {
            do {
                let checkpoint = try read(step: step)
                let best = try Self.bestStep(checkpoint.state).map { step throws(CheckpointError) in
                    try read(.best, step: step)
                }
                return (checkpoint, best, remarks)
            } catch {
                remarks.append(error.description)
            }
        }
        if remarks.isEmpty { return nil }
        throw .noneUsable(folder: folder, remarks: remarks)
    }

    /// Removes checkpoints after a step: damaged ones that a resumed run passed over.
    public func removeNewer(than step: Int) throws {
        for newer in steps() where newer > step { try discard(path(.step, newer)) }
    }

    /// Removes what is no longer needed: unfinished checkpoints, all but the newest, best states that none refers to.
    public func prune() throws {
        for name in Folders.names(in: folder) where name.hasSuffix(".tmp") { Folders.remove("\(folder)/\(name)") }
        let all = steps()
        let kept = Set(all.prefix(keep))
        // What a damaged checkpoint refers to is not known; it keeps nothing alive.
        let needed = Set(kept.compactMap { step in (try? read(step: step)).flatMap { Self.bestStep($0.state) } })
        for step in all where !kept.contains(step) { try discard(path(.step, step)) }
        for step in steps(.best) where !needed.contains(step) { try discard(path(.best, step)) }
    }

    /// The step of the best state that a checkpoint's record refers to.
    static func bestStep(_ state: JSON) -> Int? { state["best"]?["step"]?.int }

    private func path(_ series: Series, _ step: Int) -> String { "\(folder)/\(series.rawValue)-\(step)" }

    /// Takes a folder out of sight in one move, then removes it.
    private func discard(_ path: String) throws(FileError) {
        let hidden = path + ".old.tmp"
        Folders.remove(hidden)
        try Folders.rename(path, to: hidden)
        Folders.remove(hidden)
    }

    private static func digest(_ body: JSON) -> String {
        var text = body.text()
        return text.withUTF8 { ContentHash(UnsafeRawBufferPointer($0)).description }
    }
}

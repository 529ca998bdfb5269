import GraftCore
import GraftIR
import GraftRuntime

#if canImport(Glibc)
import Glibc
#endif

/// Writes a model so that the file takes its name only after it was read back and answered like the source.
public struct VerifiedExport: Sendable {
    /// The format to write.
    public let format: any ModelFormat.Type
    /// The largest difference of outputs that passes, relative to the output's scale.
    public let tolerance: Double
    /// Whether the outputs are compared.
    public let isVerified: Bool
    /// The bounds for reading the result back.
    public let limits: Limits
    /// Wishes about the file.
    public var options = WriteOptions()

    /// An export into a format.
    public init(
        format: any ModelFormat.Type, tolerance: Double = 1e-4, isVerified: Bool = true, limits: Limits = Limits()
    ) {
        self.format = format
        self.tolerance = tolerance
        self.isVerified = isVerified
        self.limits = limits
    }

    /// What an export showed.
    public struct Report: Sendable {
        /// How far the outputs are apart; nil where they were not compared.
        public let parity: OutputParity?
        /// Why they were not compared.
        public let remark: String
        /// What the format could not keep, a sentence each.
        public let notices: [String]
        /// The size of the file in bytes.
        public let byteCount: Int
    }

    /// Writes a model.
    ///
    /// - Throws: ``ExportError`` where the outputs differ too much, and what writing, reading back and running throws.
    ///   Nothing is at `path` then that was not there before.
    public func write(_ model: Model, to path: String) throws -> Report {
        try format.checkWritable(model)
        guard isVerified else {
            let notices = try format.write(model, to: path, options: options)
            return Report(
                parity: nil, remark: "not compared, as asked", notices: notices, byteCount: Self.size(of: path))
        }
        // A source that cannot run here is no reason not to write it; the report says that nothing was compared.
        let reference: ReferenceRun
        do {
            reference = try ReferenceRun(model)
        } catch let error as any GraftError {
            let notices = try format.write(model, to: path, options: options)
            return Report(
                parity: nil, remark: "outputs not compared: \(error.description)", notices: notices,
                byteCount: Self.size(of: path))
        }
        return try AtomicFolder.stage(path, durability: options.durability) { staged in
            var options = options
            options.durability = .syncedWhenReplacing
            options.destination = path
            let notices = try format.write(model, to: staged, options: options)
            let back = try format.read(path: staged, limits: limits)
            let parity = try OutputParity(reference, back)
            guard parity.largestRelativeDifference <= tolerance else {
                throw ExportError.outputsDiffer(
                    path: path, difference: parity.largestRelativeDifference, tolerance: tolerance)
            }
            return Report(parity: parity, remark: "", notices: notices, byteCount: Self.size(of: staged))
        }
    }

    private static func size(of path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }
}

/// Why an export did not take place.
public enum ExportError: GraftError, Equatable {
    /// The result does not answer like the source.
    case outputsDiffer(path: String, difference: Double, tolerance: Double)

    public var exitStatus: ExitStatus { .gateFailed }
    public var description: String {
        switch self {
        case .outputsDiffer(let path, let difference, let tolerance):
            "\(path): not written: its outputs differ from the source's by \(difference) of their scale, more than "
                + "\(tolerance) (--tolerance)"
        }
    }
}

/// Stages files in a folder beside their target, so that several take their names together.
enum AtomicFolder {
    /// Calls `body` with a path of the same file name in a fresh folder beside the target, then moves every file of
    /// that folder beside the target, the named one last.
    ///
    /// The folder is removed in every case. What `body` writes need not be synced: it is when it moves.
    static func stage<R>(_ path: String, durability: Durability, _ body: (String) throws -> R) throws -> R {
        let folder = AtomicFile.folder(of: path)
        let name = String(path.split(separator: "/").last ?? "")
        var template = Array("\(folder)/.graft-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw FileError.cannotCreate(path: path, reason: String(cString: strerror(errno)))
        }
        let staging = String(cString: made)
        defer { removeFolder(staging) }
        let result = try body("\(staging)/\(name)")
        let companions = names(in: staging).filter { $0 != name }
        let durability = durability.forCompanion(of: path)
        for file in companions + [name] {
            try AtomicFile.move("\(staging)/\(file)", to: "\(folder)/\(file)", durability: durability)
        }
        return result
    }

    private static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var result: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { result.append(name) }
        }
        return result.sorted()
    }

    private static func removeFolder(_ folder: String) {
        for name in names(in: folder) { unlink("\(folder)/\(name)") }
        rmdir(folder)
    }
}

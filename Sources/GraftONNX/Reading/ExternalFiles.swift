import Glibc
import GraftCore

/// The files beside a model that hold its external data, each mapped once and only when a tensor refers to it.
///
/// A location is a path below the model's folder. It is walked one component at a time, each opened relative to the
/// one before without following links, so neither `..` nor a symbolic link, put there before or during the walk, leads
/// out of the folder. The file itself must be regular and have one name only.
final class ExternalFiles {
    private let folder: String
    private var mapped: [String: MappedFile] = [:]

    init(modelPath: String) { folder = AtomicFile.folder(of: modelPath) }

    /// Why a location was refused.
    struct Refusal: Error {
        var reason: String
        init(_ reason: String) { self.reason = reason }
    }

    /// The mapped file at a location.
    func file(at location: String) throws(Refusal) -> MappedFile {
        if let file = mapped[location] { return file }
        let descriptor = try open(location)
        defer { close(descriptor) }
        do {
            let file = try MappedFile(descriptor: descriptor, path: "\(folder)/\(location)")
            mapped[location] = file
            return file
        } catch {
            throw Refusal(error.description)
        }
    }

    /// Which file a location names, or nil where it may not be opened.
    static func identity(of location: String, in folder: String) -> MappedFile.Identity? {
        guard let descriptor = try? ExternalFiles(modelPath: "\(folder)/model").open(location) else { return nil }
        defer { close(descriptor) }
        var status = stat()
        return fstat(descriptor, &status) == 0 ? MappedFile.Identity(status) : nil
    }

    private func open(_ location: String) throws(Refusal) -> Int32 {
        guard !location.isEmpty else { throw Refusal("the location is empty") }
        guard !location.hasPrefix("/") else { throw Refusal("an absolute path is not allowed") }
        guard !location.utf8.contains(0) else { throw Refusal("the location holds a NUL") }
        let components = location.split(separator: "/").filter { $0 != "." }
        guard let last = components.last else { throw Refusal("the location names no file") }
        guard !components.contains("..") else { throw Refusal("a path may not leave the model's folder") }

        var current = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard current >= 0 else { throw Refusal("the model's folder cannot be opened: \(FileError.systemReason())") }
        for component in components.dropLast() {
            let next = openat(current, String(component), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            let code = errno
            close(current)
            guard next >= 0 else { throw Self.refusal(code, "\(component)") }
            current = next
        }
        let descriptor = openat(current, String(last), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        let code = errno
        close(current)
        guard descriptor >= 0 else { throw Self.refusal(code, "\(last)") }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw Refusal("not a regular file")
        }
        guard status.st_nlink == 1 else {
            close(descriptor)
            throw Refusal("the file has \(status.st_nlink) names (hard links), which is not allowed")
        }
        return descriptor
    }

    private static func refusal(_ code: Int32, _ component: String) -> Refusal {
        switch code {
        case ELOOP: Refusal("\"\(component)\" is a symbolic link, which is not allowed")
        case ENOENT: Refusal("no such file")
        case ENOTDIR: Refusal("\"\(component)\" is no folder, or a symbolic link, which is not allowed")
        default: Refusal(FileError.systemReason(code))
        }
    }
}

#if canImport(Glibc)
import Glibc
#endif

/// What can go wrong between Graft and the file system.
public enum FileError: GraftError, Equatable {
    /// There is no such file.
    case notFound(path: String)
    /// The path names something that is not a regular file.
    case notARegularFile(path: String)
    /// The file cannot be opened or read.
    case cannotRead(path: String, reason: String)
    /// The file cannot be created.
    case cannotCreate(path: String, reason: String)
    /// Writing failed; nothing was replaced.
    case cannotWrite(path: String, reason: String)

    public var exitStatus: ExitStatus {
        switch self {
        case .notFound: .missingInput
        case .notARegularFile: .badInput
        case .cannotRead, .cannotWrite: .ioFailure
        case .cannotCreate: .cannotCreate
        }
    }

    public var description: String {
        switch self {
        case .notFound(let path): "\(path): no such file"
        case .notARegularFile(let path): "\(path): not a regular file"
        case .cannotRead(let path, let reason): "\(path): cannot be read: \(reason)"
        case .cannotCreate(let path, let reason): "\(path): cannot be created: \(reason)"
        case .cannotWrite(let path, let reason): "\(path): cannot be written: \(reason); nothing was replaced"
        }
    }

    /// The text of the calling thread's `errno`.
    package static func systemReason(_ code: Int32 = errno) -> String { String(cString: strerror(code)) }

    /// The error for a failed open of an input.
    package static func opening(_ path: String, code: Int32) -> FileError {
        code == ENOENT ? .notFound(path: path) : .cannotRead(path: path, reason: systemReason(code))
    }
}

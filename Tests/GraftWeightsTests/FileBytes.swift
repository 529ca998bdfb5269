import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// All bytes of a file.
func fileBytes(_ path: String) throws -> [UInt8] {
    let file = try MappedFile(path: path)
    return withExtendedLifetime(file) { Array(file.bytes) }
}

/// Writes a file in place and without syncing, for tests that write thousands.
func writeFile(_ bytes: some Collection<UInt8>, to path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError.cannotCreate(path: path, reason: "errno \(errno)") }
    defer { close(descriptor) }
    let count = ContiguousArray(bytes).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    guard count == bytes.count else { throw FileError.cannotWrite(path: path, reason: "errno \(errno)") }
}

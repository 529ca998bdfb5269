#if canImport(Glibc)
import Glibc
#endif

/// Finds the files that tests read: the repository's own fixtures, and third-party models beside the checkout.
public enum Fixtures {
    /// The folder of the checkout.
    public static let root: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/")
    }()

    /// The path of a file under `fixtures/`.
    public static func path(_ name: String) -> String { "\(root)/fixtures/\(name)" }

    /// The path of a file in the folder `shared` beside the checkout, or nil where there is none.
    ///
    /// A test that needs it returns early where this is nil, after `Fixtures.sharedIsMissing(for:)` has said so.
    public static func shared(_ name: String) -> String? {
        let path = "\(root)/../shared/\(name)"
        return access(path, R_OK) == 0 ? path : nil
    }

    /// Prints that a test did not run because the shared models are not there.
    public static func sharedIsMissing(for test: String) { print("skipped, ../shared is not here: \(test)") }

    /// A folder for a test's files, removed after `body`.
    public static func withTemporaryFolder<R>(_ body: (String) throws -> R) throws -> R {
        var template = Array("/tmp/graft-test-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw POSIXFailure(code: errno) }
        let folder = String(cString: made)
        defer { removeTree(folder) }
        return try body(folder)
    }

    /// A failed system call in a test helper.
    public struct POSIXFailure: Error {
        /// The value of `errno`.
        public let code: Int32
    }

    private static func removeTree(_ path: String) {
        guard let stream = opendir(path) else {
            unlink(path)
            return
        }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            let child = "\(path)/\(name)"
            var status = stat()
            if lstat(child, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
                removeTree(child)
            } else {
                unlink(child)
            }
        }
        closedir(stream)
        rmdir(path)
    }
}

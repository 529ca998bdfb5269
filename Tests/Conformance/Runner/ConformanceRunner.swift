import GraftCore
import OrderedCollections

#if canImport(Glibc)
import Glibc
#endif

/// Runs the cases that `generate.py` wrote, and prints a JSON line for each.
///
/// `graft-conformance FOLDER [--after NAME] [PART OF A NAME ...]`
@main
struct ConformanceRunner {
    static func main() throws {
        var arguments = Array(CommandLine.arguments.dropFirst())
        var after: String?
        if let position = arguments.firstIndex(of: "--after"), position + 1 < arguments.count {
            after = arguments[position + 1]
            arguments.removeSubrange(position...(position + 1))
        }
        guard !arguments.isEmpty else {
            print("usage: graft-conformance FOLDER [--after NAME] [PART OF A NAME ...]")
            exit(64)
        }
        let root = arguments.removeFirst()
        let listing = try MappedFile(path: "\(root)/cases.json").withBytes { try JSON(parsing: $0) }
        var cases = (listing["cases"]?.array ?? []).compactMap { ConformanceCase($0, root: root) }
        if !arguments.isEmpty { cases.removeAll { entry in !arguments.contains { entry.name.contains($0) } } }
        if let after, let position = cases.firstIndex(where: { $0.name == after }) {
            cases.removeSubrange(...position)
        }
        for entry in cases {
            // The name comes first, so that whoever reads knows which case ended the process.
            emit(["start": JSON(entry.name)])
            let (verdict, reason) = entry.verdict()
            emit(["name": JSON(entry.name), "verdict": JSON(verdict.rawValue), "reason": JSON(reason)])
        }
    }

    // Unbuffered: what was printed before a crash must arrive.
    private static func emit(_ json: JSON) {
        let line = Array("\(json.text(.compact))\n".utf8)
        _ = write(STDOUT_FILENO, line, line.count)
    }
}

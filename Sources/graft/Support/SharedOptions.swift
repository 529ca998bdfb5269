import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Options that every command takes.
struct CommonOptions: ParsableArguments {
    @Flag(help: "Print the result as JSON for machines.")
    var json = false

    @Option(name: .long, help: "The number of threads; all processors by default.")
    var threads: Int?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Raise or lower a bound on what files may hold, as NAME=NUMBER.",
            discussion: "The names: \(Limits().entries.map { $0.name }.joined(separator: ", ")).",
            valueName: "name=number"))
    var limit: [String] = []

    func validate() throws {
        if let threads, threads < 1 { throw ValidationError("--threads takes a positive number.") }
        _ = try limits()
    }

    /// Applies what holds for the whole process.
    ///
    /// libgomp's threads spin while they wait, which makes a run a thousand times slower where other programs want the
    /// processors too. Only the environment at the start of a process says otherwise, so the command starts itself anew
    /// with it, unless the user has said what is wanted.
    ///
    /// - Parameter computes: whether the command runs a model.
    func apply(computes: Bool = true) {
        if computes, getenv("OMP_WAIT_POLICY") == nil, getenv("GOMP_SPINCOUNT") == nil {
            setenv("OMP_WAIT_POLICY", "passive", 1)
            execv("/proc/self/exe", CommandLine.unsafeArgv)
        }
        if let threads { Parallel.setThreads(threads) }
    }

    /// The limits with the user's changes.
    func limits() throws -> Limits {
        var limits = Limits()
        for entry in limit {
            let parts = entry.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let value = Int(parts[1]), value > 0 else {
                throw ValidationError("--limit \(entry): NAME=NUMBER is expected.")
            }
            guard limits.set(parts[0], to: value) else {
                let names = limits.entries.map(\.name)
                throw ValidationError(
                    "--limit: there is no limit \(parts[0]).\(Suggestion.sentence(parts[0], in: names))")
            }
        }
        return limits
    }
}

/// Options of commands that write a model.
struct OutputOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "Where to write the result; without it the command says what it would do.")
    var output: String?

    @Option(name: .long, help: "The format of the result, where the name's ending does not say it.")
    var to: String?

    @Flag(name: .long, inversion: .prefixedNo, help: "Read the result back and compare its outputs with the source's.")
    var verify = true

    /// Whether models run: to check what is written.
    var computes: Bool { output != nil && verify }
}

import ArgumentParser
import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// The `graft` command.
@main
struct GraftCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "graft",
        abstract: "Take a trained network out of its file, operate on it, fine-tune it, and put it back.",
        discussion: """
            A verb acts on a model and writes a new one with -o; without -o it says what it would do.
            Results go to standard output, everything else to standard error; --json is for machines.

              graft inspect resnet50.onnx
              graft convert mobilenet.h5 mobilenet.onnx
              graft head mobilenet.h5 --classes roses,tulips -o flowers.onnx
              graft tune flowers.onnx --data photos/ --recipe gradual -o flowers.onnx
              graft predict flowers.onnx picture.jpg

            Exit status: 0 done, 1 a check did not hold, 64 wrong usage, 65 the input is at fault, 66 not found,
            73 cannot create, 74 reading or writing failed, 130 interrupted with everything saved.
            """,
        version: "0.1.0",
        groupedSubcommands: CommandList.groups)

    /// Runs the command and turns errors into one clear line and the exit status that it stands for.
    static func main() {
        // A helper that ends early must not take the command with it; writing to it then fails with EPIPE.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as any GraftError {
            Console.error("graft: \(error.description)")
            Glibc.exit(error.exitStatus.rawValue)
        } catch let error as ExitCode {
            Glibc.exit(error.rawValue)
        } catch {
            exit(withError: error)
        }
    }
}

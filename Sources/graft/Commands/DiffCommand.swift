import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR

/// `graft diff`: where two models differ.
struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Compare two models, also of different formats.",
        discussion: """
            Compares inputs and outputs, operators, weights by name and content, and annotations. With --outputs both
            run on the same inputs, and only a difference of outputs beyond --tolerance counts.
            Exit status 1 where they differ.
            """)

    @Argument(help: "The first model.")
    var first: String

    @Argument(help: "The second model.")
    var second: String

    @Flag(name: .long, help: "Run both models and compare what they answer.")
    var outputs = false

    @Option(name: .long, help: "With --outputs: the largest difference relative to the output's scale.")
    var tolerance = 1e-4

    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply(computes: outputs)
        let limits = try common.limits()
        let models = (
            try ModelFormats.read(path: first, limits: limits), try ModelFormats.read(path: second, limits: limits)
        )
        let difference = try ModelDifference(models.0, models.1)
        let parity = outputs ? try OutputParity(models.0, models.1) : nil
        if common.json {
            var report = difference.json
            if let parity { report["outputs"] = parity.json }
            Console.output(report.text(.indented))
        } else {
            Console.output(difference.text)
            if let parity { Console.output(parity.text) }
        }
        let isSame = parity.map { $0.largestRelativeDifference <= tolerance } ?? difference.isEmpty
        if !isSame { throw ExitCode(ExitStatus.gateFailed.rawValue) }
    }
}

import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR

/// `graft convert`: a model from one format into another.
struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Write a model in another format, checked against the source.",
        discussion: """
            The format of the result follows from its name's ending, or from --to. Source and result run on the same
            probe inputs before the result takes its name; where their outputs differ by more than --tolerance of the
            output's scale nothing is written.

              graft convert mobilenet.h5 mobilenet.onnx
              graft convert flowers.onnx flowers.h5
            """)

    @Argument(help: "The model to read.")
    var input: String

    @Argument(help: "Where to write the result.")
    var output: String

    @Option(name: .long, help: "The format of the result, where the name's ending does not say it.")
    var to: String?

    @Option(name: .long, help: "The largest difference of outputs, relative to the output's scale.")
    var tolerance = 1e-4

    @Flag(name: .long, inversion: .prefixedNo, help: "Read the result back and compare its outputs with the source's.")
    var verify = true

    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply()
        let limits = try common.limits()
        let format = try ModelFormats.format(forOutput: output, named: to)
        let source = try ModelFormats.format(ofFile: input)
        let model = try source.read(path: input, limits: limits)
        let export = VerifiedExport(format: format, tolerance: tolerance, isVerified: verify, limits: limits)
        let report = try export.write(model, to: output)
        if common.json {
            Console.output(
                (["input": JSON(input), "output": JSON(output), "format": JSON(format.name), "check": report.json]
                    as JSON)
                    .text(.indented))
        } else {
            Console.note("\(input) (\(source.name)) → \(output) (\(format.name)): \(report.summary)")
        }
    }
}

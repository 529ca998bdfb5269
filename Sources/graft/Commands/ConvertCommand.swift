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
              graft convert large.onnx split.onnx --external-data
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

    @Flag(
        name: .long, inversion: .prefixedNo,
        help: "ONNX: weights go into NAME.data beside the model; by default each stays where it was.")
    var externalData: Bool?

    @Option(
        name: .long,
        help: ArgumentHelp("ONNX: with weights beside the model, smaller tensors stay in it.", valueName: "bytes"))
    var externalDataThreshold: Int?

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if let externalDataThreshold, externalDataThreshold < 0 {
            throw ValidationError("--external-data-threshold takes a number of bytes.")
        }
    }

    func run() throws {
        common.apply(computes: verify)
        let limits = try common.limits()
        let format = try ModelFormats.format(forOutput: output, named: to)
        let source = try ModelFormats.format(ofFile: input)
        let model = try source.read(path: input, limits: limits)
        var export = VerifiedExport(format: format, tolerance: tolerance, isVerified: verify, limits: limits)
        // The source is still there, so a new file can be made again.
        export.options.durability = .syncedWhenReplacing
        export.options.usesExternalData = externalData ?? (externalDataThreshold == nil ? nil : true)
        export.options.externalDataThreshold = externalDataThreshold
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

import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftSurgery

/// `graft dynamic-batch`: a model of a fixed batch size made to run with any.
struct DynamicBatchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dynamic-batch",
        abstract: "Let a model of a fixed batch size run with any.",
        discussion: """
            The first axis of the inputs gets a name, and what spells the old number out inside the graph follows:
            targets of Reshape, states, sizes. Proven by running: the rows of a batch of two are what single runs give.
            A node that cannot follow is named and nothing is written.

              graft dynamic-batch exported.onnx -o any-batch.onnx
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: "The name of the batch size.")
    var name = "batch"

    @Option(
        name: .long, parsing: .upToNextOption,
        help: "The inputs whose first axis is the batch; all with the same first extent if left out.")
    var inputs: [String] = []

    @OptionGroup var output: SurgeryOutputOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply()
        let source = try ModelFormats.read(path: model, limits: common.limits())
        let options = DynamicBatch.Options(symbol: name, inputs: inputs)
        let patch = try DynamicBatch.patch(for: source, options)
        var edited = source
        try edited.apply(patch)
        let check = try ChangeCheck(
            verifies: output.options.verify, bound: 1e-4, words: "rows of a batch of two differ from single runs",
            isRequired: true
        ) {
            try OutputParity.batch(source, edited, symbol: name)
        }
        try SurgeryResult(input: model, source: source, patch: patch).finish(
            output.options, common: common, extra: ["batch": JSON(name), "change": check.json], note: check.text)
    }
}

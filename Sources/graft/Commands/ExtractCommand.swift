import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftRuntime
import GraftSurgery

/// `graft extract`: a part of a model as a model.
struct ExtractCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "extract",
        abstract: "Cut out the part of a model between some values.",
        discussion: """
            Weights and functions come along where the part needs them. The part is proven to give what the whole gives
            at the same places.

              graft extract resnet50.onnx --outputs /avgpool/GlobalAveragePool_output_0 -o features.onnx
              graft extract m.onnx --inputs hidden --outputs scores -o head.onnx
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, parsing: .upToNextOption, help: "The values to begin at; the model's own inputs if left out.")
    var inputs: [String] = []

    @Option(name: .long, parsing: .upToNextOption, help: "The values to end at; the model's own outputs if left out.")
    var outputs: [String] = []

    @OptionGroup var output: SurgeryOutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if inputs.isEmpty && outputs.isEmpty { throw ValidationError("Give --inputs, --outputs or both.") }
    }

    func run() throws {
        common.apply()
        let source = try ModelFormats.read(path: model, limits: common.limits())
        let patch = try Extract.patch(for: source, .init(inputs: inputs, outputs: outputs))
        var edited = source
        try edited.apply(patch)
        let check = try ChangeCheck(verifies: output.options.verify, bound: 1e-4) {
            try Self.parity(source, edited)
        }
        try SurgeryResult(input: model, source: source, patch: patch).finish(
            output.options, common: common,
            extra: [
                "inputs": JSON(edited.graph.inputs.map { edited.graph[$0].name }),
                "outputs": JSON(edited.graph.outputs.map { edited.graph[$0].name }), "change": check.json,
            ], note: "\(edited.graph.nodeCount) of \(source.graph.nodeCount) nodes; \(check.text)")
    }

    /// Runs the whole model, gives what it has at the beginning of the part to the part, and compares the ends.
    private static func parity(_ source: Model, _ part: Model) throws -> OutputParity {
        let starts = part.graph.inputs.filter { part.graph[$0].initializer == nil }.map { part.graph[$0].name }
        let ends = part.graph.outputs.map { part.graph[$0].name }
        let given = try ProbeInputs.make(for: source)
        var options = PlanOptions.forComparison
        let computed = starts.filter { given[$0] == nil } + ends
        options.outputs = computed.compactMap { source.graph.value(named: $0) }
        let plan = try Plan(source, options: options)
        let wanted = Set(plan.inputs.map(\.name))
        let values = try Session(plan).run(given.filter { wanted.contains($0.key) })
        return try OutputParity(
            ReferenceRun(
                inputs: starts.compactMap { name in (values[name] ?? given[name]).map { (name, $0) } },
                outputs: ends.compactMap { name in values[name].map { (name, $0) } }), part)
    }
}

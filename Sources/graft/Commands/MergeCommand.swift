import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftRuntime
import GraftSurgery

/// `graft merge`: one model behind another.
struct MergeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge",
        abstract: "Put one model behind another.",
        discussion: """
            Outputs of the first feed inputs of the second. Where the two use different versions of ONNX's operators the
            older one is converted first. The result is proven to give what the two give one after the other.

              graft merge body.onnx head.onnx --map features:input -o whole.onnx
              graft merge a.onnx b.onnx --map y:x --prefix b/ -o both.onnx
            """)

    @Argument(help: "The first model.")
    var first: String

    @Argument(help: "The second model.")
    var second: String

    @Option(
        name: .long,
        help: ArgumentHelp(
            "An output of the first and the input of the second that it feeds; those of one name if left out.",
            valueName: "output:input"))
    var map: [String] = []

    @Option(name: .long, help: "What is put before names of the second model that the first has too.")
    var prefix: String?

    @OptionGroup var output: SurgeryOutputOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply()
        let limits = try common.limits()
        let source = try ModelFormats.read(path: first, limits: limits)
        let other = try ModelFormats.read(path: second, limits: limits)
        let pairs = try pairs(source, other)
        let patch = try Merge.patch(for: source, .init(other, map: pairs, prefix: prefix))
        var edited = source
        try edited.apply(patch)
        let check = try ChangeCheck(verifies: output.options.verify, bound: 1e-4) {
            try parity(source, other, edited)
        }
        try SurgeryResult(input: first, source: source, patch: patch).finish(
            output.options, common: common,
            extra: [
                "second": JSON(second), "inputs": JSON(edited.graph.inputs.map { edited.graph[$0].name }),
                "outputs": JSON(edited.graph.outputs.map { edited.graph[$0].name }), "change": check.json,
            ], note: check.text)
    }

    /// The pairs; names may hold colons, so the split is where both sides are names.
    private func pairs(_ first: Model, _ second: Model) throws -> [(output: String, input: String)] {
        try map.map { text in
            let splits = text.indices.filter { text[$0] == ":" }
            guard let last = splits.last else { throw ValidationError("--map \(text): OUTPUT:INPUT is expected.") }
            let fitting = splits.first {
                first.graph.value(named: String(text[..<$0])) != nil
                    && second.graph.value(named: String(text[text.index(after: $0)...])) != nil
            }
            let split = fitting ?? last
            return (String(text[..<split]), String(text[text.index(after: split)...]))
        }
    }

    /// Runs the first, then the second on what the first gave, and compares with the whole.
    private func parity(_ a: Model, _ b: Model, _ whole: Model) throws -> OutputParity {
        let joints = try Merge.joints(pairs(a, b), a, b)
        let given = try ProbeInputs.make(for: whole)
        var options = PlanOptions.forComparison
        let fed = Set(joints.map(\.output))
        let kept = a.graph.outputs.map { a.graph[$0].name }.filter { !fed.contains($0) }
        options.outputs = (joints.map(\.output) + kept).compactMap { a.graph.value(named: $0) }
        let plan = try Plan(a, options: options)
        let middle = try Session(plan).run(given.filter { entry in plan.inputs.contains { $0.name == entry.key } })
        let session = try Session(Plan(b, options: .forComparison))
        var inputs: [String: Tensor] = [:]
        for port in session.plan.inputs {
            if let joint = joints.first(where: { $0.input == port.name }) {
                inputs[port.name] = middle[joint.output]
            } else {
                inputs[port.name] = given[port.name] ?? given["\(prefix ?? "")\(port.name)"]
            }
        }
        let results = try session.run(inputs)
        let ends = session.plan.outputs.map(\.name)
        let names = whole.graph.outputs.map { whole.graph[$0].name }
        let values = kept.map { middle[$0] } + ends.map { results[$0] }
        return try OutputParity(
            ReferenceRun(
                inputs: given.map { ($0.key, $0.value) },
                outputs: zip(names, values).compactMap { name, value in value.map { (name, $0) } }), whole)
    }
}

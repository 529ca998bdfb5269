import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftSurgery

/// `graft rename`: other names for values, nodes and extents.
struct RenameCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rename",
        abstract: "Rename inputs, outputs, tensors, nodes and named extents.",
        discussion: """
            Names inside the bodies of control flow and functions are reached too, and what the file says about frozen
            layers and groups follows.

              graft rename m.onnx --map input.1=image --map 495=scores -o m.onnx
              graft rename m.onnx --regex --map '^model\\.(.*)=$1' -o m.onnx
              graft rename m.onnx --only dimensions --map N=batch -o m.onnx
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: ArgumentHelp("An old name and its new one.", valueName: "old=new"))
    var map: [String]

    @Flag(name: .long, help: "Old names are regular expressions; $1 in the new name is the first group.")
    var regex = false

    @Option(name: .long, help: "Rename only these: values, nodes or dimensions; may be given several times.")
    var only: [Rename.Kind] = []

    @OptionGroup var output: SurgeryOutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws { _ = try rules() }

    func run() throws {
        common.apply(computes: output.options.verify)
        let source = try ModelFormats.read(path: model, limits: common.limits())
        let kinds = only.isEmpty ? Set(Rename.Kind.allCases) : Set(only)
        let patch = try Rename.patch(for: source, .init(try rules(), isRegex: regex, kinds: kinds))
        var edited = source
        try edited.apply(patch)
        let renamed = edited.graph
        let check = try ChangeCheck(verifies: output.options.verify, bound: 1e-6) {
            let inputs = renamed.inputs.filter { renamed[$0].initializer == nil }.map { renamed[$0].name }
            let reference = try ReferenceRun(source)
                .renamed(inputs: inputs, outputs: renamed.outputs.map { renamed[$0].name })
            return try OutputParity(reference, edited)
        }
        try SurgeryResult(input: model, source: source, patch: patch).finish(
            output.options, common: common, extra: ["change": check.json], note: check.text)
    }

    private func rules() throws -> [Rename.Rule] {
        try map.map { text in
            // Names may hold "="; a new name rarely does.
            guard let split = text.lastIndex(of: "="), split != text.startIndex else {
                throw ValidationError("--map \(text): OLD=NEW is expected.")
            }
            return Rename.Rule(String(text[..<split]), to: String(text[text.index(after: split)...]))
        }
    }
}

extension Rename.Kind: ExpressibleByArgument {}

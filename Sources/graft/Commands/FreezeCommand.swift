import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftSurgery

/// `graft freeze`: which parameters training must not change.
struct FreezeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "freeze",
        abstract: "Say which layers training must not change; the file remembers.",
        discussion: """
            Layers are named by selectors: paths with * and ?, @head, @backbone, @last:N, @first:N, @norm, @bias,
            op:Conv, from:LAYER, through:LAYER; joined by , (or), & (and), ! (not).

              graft freeze m.onnx --all-but @head -o m.onnx
              graft freeze m.onnx --only 'layer1.*,@norm' --batch-norm frozen -o m.onnx
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: "Freeze these and no others.")
    var only: String?

    @Option(name: .long, help: "Freeze all but these.")
    var allBut: String?

    @Option(name: .long, help: "Freeze these besides those that are frozen.")
    var add: String?

    @Option(name: .long, help: "Thaw these.")
    var remove: String?

    @Flag(name: .long, help: "Freeze nothing.")
    var none = false

    @Option(name: .long, help: "How batch normalization behaves in training: frozen, inference or train.")
    var batchNorm: String?

    @OptionGroup var output: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        let given = [only, allBut, add, remove].compactMap { $0 }.count + (none ? 1 : 0)
        if given > 1 || given == 0 && batchNorm == nil {
            throw ValidationError("Give one of --only, --all-but, --add, --remove and --none, or --batch-norm.")
        }
        if let batchNorm, BatchNormMode(name: batchNorm) == nil {
            throw ValidationError("--batch-norm takes frozen, inference or train, not \(batchNorm).")
        }
    }

    func run() throws {
        common.apply(computes: output.computes)
        let source = try ModelFormats.read(path: model, limits: common.limits())
        var edited = source
        if let options = try freezing() { try Freeze.run(&edited, options) }
        if let name = batchNorm {
            try BatchNormSetting.run(&edited, BatchNormSetting.Options(BatchNormMode(name: name)))
        }
        let summary = try FrozenSummary(edited)
        try SurgeryResult(input: model, source: source, patch: Patch(Freeze.name, from: source, to: edited))
            .finish(output, common: common, extra: ["frozen": summary.json], note: summary.text)
    }

    private func freezing() throws -> Freeze.Options? {
        if let only { return .only(try Selector.parse(only)) }
        if let allBut { return .allBut(try Selector.parse(allBut)) }
        if let add { return .add(try Selector.parse(add)) }
        if let remove { return .remove(try Selector.parse(remove)) }
        return none ? Freeze.Options.none : nil
    }
}

/// How much of a model is frozen.
struct FrozenSummary {
    let frozen: Int
    let total: Int

    init(_ model: Model) throws {
        let tree = try LayerTree(model)
        let annotations = try model.annotations()
        func count(_ ids: [ValueID]) -> Int {
            ids.reduce(0) { $0 + (model.graph[$1].shape?.counts.flatMap { Checked.product($0) } ?? 0) }
        }
        total = count(tree.parameters)
        frozen = count(tree.parameters.filter { !annotations.isTrainable(model.graph[$0].name) })
    }

    var text: String { "\(Format.count(frozen)) of \(Format.count(total)) parameters are frozen" }
    var json: JSON { ["frozen_parameters": JSON(frozen), "parameters": JSON(total)] }
}

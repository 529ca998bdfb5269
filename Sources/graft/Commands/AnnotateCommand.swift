import ArgumentParser
import GraftCore
import GraftData
import GraftFormats
import GraftIR

/// `graft annotate`: what a model's file says about its classes and its pictures.
struct AnnotateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "annotate",
        abstract: "Write class names and the preprocessing contract into a model; the file remembers.",
        discussion: """
            Evaluation, prediction and tuning then agree on what the classes are called and how a picture becomes numbers.

              graft annotate mobilenet.h5 --classes imagenet.txt --preprocessing tf -o mobilenet.h5
              graft annotate m.onnx --show
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: "Names joined by commas, or a file with a name a line.")
    var classes: String?

    @Flag(name: .long, help: "Print the contract, the one in the file or the guessed one, as JSON for editing.")
    var show = false

    @OptionGroup var preprocessing: PreprocessingOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if classes == nil && preprocessing.preprocessing == nil && !show {
            throw ValidationError("Give --classes, --preprocessing or --show.")
        }
    }

    func run() throws {
        common.apply(computes: output.computes)
        let source = try ModelFormats.read(path: model, limits: common.limits())
        let contract = try ModelContract(source, options: preprocessing)
        if show {
            Console.note("preprocessing: \(contract.reason)")
            Console.output((contract.preprocessing?.json ?? .null).text(.indented))
            return
        }
        let names = try classes.map { try ClassNames.parse($0) }
        if let names, let head = try LayerTree(source).head, head.classCount != names.count {
            throw LabelError.count(names: names.count, classes: head.classCount)
        }
        let wanted = preprocessing.preprocessing == nil ? nil : contract.preprocessing
        let patch = try Patch.recording("annotate", on: source) { model in
            try model.updateAnnotations { annotations in
                if let names { annotations.labels = names }
                if let wanted { annotations.preprocessing = wanted.json }
            }
        }
        try SurgeryResult(input: model, source: source, patch: patch).finish(output, common: common)
    }
}

/// Names that do not fit a head.
enum LabelError: GraftError {
    case count(names: Int, classes: Int)

    var exitStatus: ExitStatus { .badInput }
    var description: String {
        switch self {
        case .count(let names, let classes): "\(names) names were given, the head tells \(classes) classes apart"
        }
    }
}

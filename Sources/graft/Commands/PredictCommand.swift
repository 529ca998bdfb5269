import ArgumentParser
import GraftCore
import GraftData
import GraftFormats
import GraftIR
import GraftRuntime
import GraftTraining

/// `graft predict`: what pictures show.
struct PredictCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "predict",
        abstract: "Say what pictures show: the top classes with their probabilities, or the class of each pixel.",
        discussion: """
            For a model that tells the class of each pixel the shares of the classes are printed; --output writes for each
            picture NAME.mask.png (palette, the values are the classes) and NAME.overlay.png.

              graft predict flowers.onnx picture.jpg
              graft predict mobilenet.h5 a.jpg b.png --top 3 --labels imagenet.txt
              graft predict street.onnx photos/*.jpg --output masks/
            """)

    @Argument(help: "The model.")
    var model: String

    @Argument(help: "The pictures.")
    var pictures: [String]

    @Option(name: .long, help: "How many classes to show.")
    var top = 5

    @Option(name: .long, help: "A file with the names of the classes, a line each, where the model has none.")
    var labels: String?

    @Option(
        name: .shortAndLong, help: "A folder for masks and overlays, where the model tells the class of each pixel.")
    var output: String?

    @OptionGroup var preprocessing: PreprocessingOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply()
        let limits = try common.limits()
        let source = try ModelFormats.read(path: model, limits: limits)
        let contract = try ModelContract(source, options: preprocessing)
        guard let wanted = contract.preprocessing else { throw ContractError.noPicture }
        let names = try labels.map { try ClassNames.read(path: $0) } ?? contract.labels ?? []
        if !common.json { Console.note("preprocessing: \(contract.reason)") }
        if let segmenter = try Segmenter(source, contract: wanted) {
            try segment(segmenter, input: contract.inputName, names: names, limits: limits)
            return
        }
        if output != nil {
            throw ValidationError("--output is for models that tell the class of each pixel; this one does not.")
        }
        let classifier = try Classifier(source)
        var results: [JSON] = []
        for path in pictures {
            let image = try Image(path: path, limits: limits)
            let probabilities = try classifier.probabilities(wanted.tensor(of: image), input: contract.inputName)
            let ranked = probabilities.indices.sorted { (probabilities[$1], $0) < (probabilities[$0], $1) }.prefix(top)
            func name(_ index: Int) -> String { names.indices.contains(index) ? names[index] : "class \(index)" }
            if common.json {
                results.append([
                    "path": JSON(path),
                    "classes": JSON(
                        ranked.map {
                            ["name": JSON(name($0)), "index": JSON($0), "probability": JSON(probabilities[$0])]
                        }),
                ])
                continue
            }
            Console.output(path)
            let width = ranked.map { name($0).count }.max() ?? 0
            for index in ranked {
                let share = Double(probabilities[index])
                let bar = String(repeating: "█", count: Int((share * 30).rounded()))
                let padding = String(repeating: " ", count: width - name(index).count)
                let percent = Format.percent(share)
                Console.output(
                    "  \(name(index))\(padding)  \(String(repeating: " ", count: max(0, 8 - percent.count)))\(percent)  \(bar)"
                )
            }
        }
        if common.json { Console.output(JSON(results).text(.indented)) }
    }
}

extension Preprocessing {
    /// A picture as a batch of one.
    func tensor(of image: Image) throws -> Tensor {
        let numbers = apply(image)
        let shape = layout == .nchw ? [1, channels.count, height, width] : [1, height, width, channels.count]
        switch elementType {
        case .float32: return Tensor(numbers, shape: shape)
        case .uint8: return Tensor(numbers.map { UInt8(max(0, min(255, $0.rounded()))) }, shape: shape)
        case .float64: return Tensor(numbers.map { Double($0) }, shape: shape)
        case .int32: return Tensor(numbers.map { Int32($0.rounded()) }, shape: shape)
        case .int64: return Tensor(numbers.map { Int64($0.rounded()) }, shape: shape)
        default: throw TensorError.typeMismatch(expected: .float32, actual: elementType)
        }
    }
}

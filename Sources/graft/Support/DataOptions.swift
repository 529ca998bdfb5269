import ArgumentParser
import GraftCore
import GraftData
import GraftIR
import GraftTraining

#if canImport(Glibc)
import Glibc
#endif

/// Options of commands that feed pictures to a model.
struct PreprocessingOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "How pictures become numbers: a preset, or a JSON file.",
            discussion: "Presets: \(PreprocessingPreset.all.map { $0.name }.joined(separator: ", ")). Without it the "
                + "contract in the model counts, else a guess that is said.", valueName: "name|file"))
    var preprocessing: String?
}

/// How a model wants its pictures, and how that is known.
struct ModelContract {
    /// The contract; nil where the model's input is no picture.
    let preprocessing: Preprocessing?
    /// How it is known.
    let reason: String
    /// The model's input that data is for.
    let inputName: String
    /// What the model expects of arrays.
    let expectations: [ArrayDataSet.Expectation]
    /// The names of the model's classes, where it says them.
    let labels: [String]?

    /// The contract of a model: the user's, the one in its file, or a guess.
    init(_ model: Model, options: PreprocessingOptions) throws {
        let inputs = model.graph.inputs.filter { model.graph[$0].initializer == nil }
        guard let first = inputs.first else { throw ContractError.noInput }
        inputName = model.graph[first].name
        labels = model.classLabels?.names
        expectations = inputs.map { id in
            let value = model.graph[id]
            return ArrayDataSet.Expectation(
                name: value.name, elementType: value.elementType ?? .float32,
                shape: (value.shape?.dimensions ?? []).dropFirst().map(\.count))
        }
        let evidence = try Self.evidence(model, first)
        if let choice = options.preprocessing {
            preprocessing = try Self.chosen(choice, evidence)
            reason = "as given by --preprocessing"
        } else if let stored = try model.annotations().preprocessing {
            preprocessing = try Preprocessing(json: stored)
            reason = "from the model"
        } else if let guess = Preprocessing.guess(evidence) {
            preprocessing = guess.preprocessing
            reason = "guessed, \(guess.reason)"
        } else {
            preprocessing = nil
            reason = "the model's input is no picture"
        }
    }

    private init(_ other: ModelContract, preprocessing: Preprocessing?) {
        self.preprocessing = preprocessing
        reason = other.reason
        inputName = other.inputName
        expectations = other.expectations
        labels = other.labels
    }

    /// The contract with the whole picture resized to the model's size.
    var stretched: ModelContract {
        var wanted = preprocessing
        wanted?.resize = .stretch
        return ModelContract(self, preprocessing: wanted)
    }

    private static func chosen(_ choice: String, _ evidence: PreprocessingEvidence) throws -> Preprocessing {
        if choice.hasSuffix(".json") || choice.contains("/") {
            let file = try MappedFile(path: choice)
            return try Preprocessing(json: file.withBytes { bytes throws(JSONError) in try JSON(parsing: bytes) })
        }
        let preset = try PreprocessingPreset.named(choice)
        guard let guess = Preprocessing.guess(evidence)?.preprocessing else { throw ContractError.noPicture }
        var result = try preset.preprocessing(
            height: guess.height, width: guess.width, channels: guess.channels == .gray ? .gray : nil,
            layout: guess.layout)
        result.elementType = guess.elementType
        return result
    }

    private static func evidence(_ model: Model, _ input: ValueID) throws -> PreprocessingEvidence {
        let graph = model.graph
        let tree = try LayerTree(model)
        // The operators on the way from the input to the first one that multiplies by stored weights.
        var operators: [String] = []
        var value = input
        while operators.count < 12, let node = graph[value].consumers.first {
            let op = graph[node].op.type
            operators.append(op)
            if ["Conv", "Gemm", "MatMul", "ConvTranspose", "LSTM", "GRU"].contains(op) { break }
            guard let next = graph[node].outputs.lazy.compactMap({ $0 }).first else { break }
            value = next
        }
        return PreprocessingEvidence(
            inputShape: (graph[input].shape?.dimensions ?? []).map(\.count),
            elementType: graph[input].elementType ?? .float32, producer: model.producerName,
            layerNames: [graph.name] + tree.layers.map(\.path) + graph.order.map { graph[$0].name },
            firstOperators: operators)
    }

    /// Opens data for the model: a folder of pictures, an NPZ file or a CSV file.
    ///
    /// - Parameter classes: the names of the classes; the model's where nil, else those of the data.
    func open(
        _ path: String, classes: [String]?? = nil, skipping: Bool = false, limits: Limits
    ) throws -> any DataSet {
        let names = classes ?? labels
        let lowered = path.lowercased()
        if lowered.hasSuffix(".npz") {
            return try ArrayDataSet(path: path, inputs: expectations, modelClasses: names, limits: limits)
        }
        if lowered.hasSuffix(".csv") || lowered.hasSuffix(".tsv") {
            return try TableFile.open(path: path, modelClasses: names, skippingUnusable: skipping, limits: limits)
        }
        var status = stat()
        guard stat(path, &status) == 0 else { throw FileError.notFound(path: path) }
        guard preprocessing != nil else { throw ContractError.noPicture }
        return try ImageFolder.open(path: path, modelClasses: names, skippingUnusable: skipping, limits: limits)
    }

    /// The data set's samples as the model reads them.
    func samples(_ dataSet: any DataSet, indices: [Int]? = nil, augmentation: AugmentationPipeline? = nil)
        -> DataSetSamples
    {
        DataSetSamples(
            dataSet, indices: indices, preprocessing: preprocessing, inputName: inputName, augmentation: augmentation)
    }
}

/// Why data cannot be brought to a model.
enum ContractError: GraftError {
    case noInput
    case noPicture

    var exitStatus: ExitStatus { .badInput }
    var description: String {
        switch self {
        case .noInput: "the model has no input"
        case .noPicture:
            "the model's input is no picture (batch, 1 or 3 channels, height, width); give its data as an NPZ file"
        }
    }
}

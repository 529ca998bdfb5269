import ArgumentParser
import GraftCore
import GraftData
import GraftFormats
import GraftIR
import GraftTraining
import OrderedCollections

/// Options that `tune` and `plan` share: the model, the data and the recipe.
struct TuningOptions: ParsableArguments {
    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: "The labelled data: an image folder, a CSV or an NPZ; else the recipe's.")
    var data: String?

    @Option(name: .long, help: "The recipe: head, gradual, full, or a YAML file.")
    var recipe = "gradual"

    @Option(name: .long, help: "The seed of everything random, in place of the recipe's.")
    var seed: UInt64?

    @Option(name: .long, help: "The batch size, in place of the recipe's.")
    var batch: Int?

    @Option(name: .long, help: "At most this many samples of each class are learned from.")
    var shots: Int?

    @Flag(
        name: .long, inversion: .prefixedNo,
        help: "Vary training pictures; a recipe by name does so for stages that run from the pictures.")
    var augment: Bool = true

    @Flag(name: .long, help: "Leave out pictures that cannot be read.")
    var skipUnusable = false

    @OptionGroup var preprocessing: PreprocessingOptions
}

/// A model with its recipe and data, ready to be tuned or planned.
struct TuningSetup {
    /// The model, with its labels and its contract.
    private(set) var model: Model
    private(set) var recipe: Recipe
    let contract: ModelContract
    let training: DataSetSamples?
    let validation: DataSetSamples?
    /// What a reader should know about the data.
    private(set) var remarks: [String] = []

    /// Reads everything that the options name.
    ///
    /// - Parameter needsData: whether a missing data set is an error.
    init(_ options: TuningOptions, limits: Limits, needsData: Bool) throws {
        model = try ModelFormats.read(path: options.model, limits: limits)
        var recipe = try Recipe.named(options.recipe, for: model)
        if let seed = options.seed { recipe.seed = seed }
        if let batch = options.batch { recipe.batch = batch }
        if let data = options.data { recipe.data.train = data }
        contract = try ModelContract(model, options: options.preprocessing)
        let isNamed = Recipe.names.contains(options.recipe)
        if isNamed, let preprocessing = contract.preprocessing {
            recipe.data.augment = AugmentationSetting.usual(for: preprocessing)
        }
        if !options.augment { recipe.data.augment = [] }
        self.recipe = recipe
        guard let path = recipe.data.train else {
            if needsData { throw ValidationError("Name the data: --data, or data.train in the recipe.") }
            (training, validation) = (nil, nil)
            return
        }
        let head = try LayerTree(model).head
        let dataSet = try contract.open(path, skipping: options.skipUnusable, limits: limits)
        if contract.labels == nil, let head, head.classCount != dataSet.classNames.count {
            throw SetupError.classCount(
                data: path, found: dataSet.classNames, expected: head.classCount, model: options.model)
        }
        if isNamed { self.recipe.loss.choice = NamedChoice(Losses.standard(for: dataSet.targetKind)) }
        let augmentation = try AugmentationPipeline(
            json: JSON(recipe.data.augment.map(Self.json)))
        let (learned, held): ([Int], DataSetSamples?)
        switch recipe.data.validation {
        case .fraction(let fraction):
            let split = try Split.stratified(labels: dataSet.labels, validation: fraction, seed: recipe.seed)
            learned = split.training
            held = split.validation.isEmpty ? nil : contract.samples(dataSet, indices: split.validation)
            let leaks = try LeakCheck(dataSet, split: split)
            if !leaks.leaks.isEmpty {
                remarks.append(
                    "\(leaks.leaks.count) samples are the same file in training and validation, such as "
                        + "\(dataSet.name(at: leaks.leaks[0].training)); the validation flatters")
            }
            if !leaks.conflicts.isEmpty {
                remarks.append(
                    "\(leaks.conflicts.count) files stand in several classes, such as "
                        + "\(dataSet.name(at: leaks.conflicts[0][0]))")
            }
        case .path(let other):
            learned = Array(0..<dataSet.count)
            held = contract.samples(
                try contract.open(
                    other, classes: .some(dataSet.classNames), skipping: options.skipUnusable, limits: limits))
        }
        var chosen = learned
        if let shots = options.shots {
            chosen = try Split.shots(shots, labels: dataSet.labels, of: learned, seed: recipe.seed)
        }
        if isNamed {
            if options.batch == nil { self.recipe.batch = Self.batch(for: chosen.count) }
            self.recipe = self.recipe.lengthened(forSamples: chosen.count)
        }
        // Arrays and rows go in as they are.
        let isVaried = contract.preprocessing != nil && dataSet is ImageDataSet
        if !isVaried { self.recipe.data.augment = [] }
        training = contract.samples(dataSet, indices: chosen, augmentation: isVaried ? augmentation : nil)
        validation = held
        let (classes, wanted) = (dataSet.classNames, contract.preprocessing)
        let isUnnamed = contract.labels == nil
        try model.updateAnnotations { annotations in
            if annotations.labels == nil, isUnnamed { annotations.labels = classes }
            if let wanted { annotations.preprocessing = wanted.json }
        }
    }

    /// The batch of a recipe by name: 32, but smaller where an epoch would have fewer than ten steps.
    private static func batch(for samples: Int) -> Int { max(4, min(32, samples / 10)) }

    private static func json(_ setting: AugmentationSetting) -> JSON {
        var members: OrderedDictionary<String, JSON> = ["name": JSON(setting.name)]
        for (key, values) in setting.values.sorted(by: { $0.key < $1.key }) {
            members[key] = values.count == 1 ? JSON(values[0]) : JSON(values.map { JSON($0) })
        }
        return .object(members)
    }

    /// The plan of the recipe for the model.
    func plan() throws -> TrainingPlan { try TrainingPlan(recipe, for: model, samples: training?.count) }
}

/// Why a model cannot be tuned on some data.
enum SetupError: GraftError {
    case classCount(data: String, found: [String], expected: Int, model: String)

    var exitStatus: ExitStatus { .badInput }
    var description: String {
        switch self {
        case .classCount(let data, let found, let expected, let model):
            "\(data) has \(found.count) classes (\(found.prefix(5).joined(separator: ", "))\(found.count > 5 ? ", ..." : "")), "
                + "the head of \(model) tells \(expected) apart; give it a new one first: "
                + "graft head \(model) --data \(data) -o ..."
        }
    }
}

import GraftCore
import GraftData
import GraftIR
import GraftRuntime
import OrderedCollections

/// A fine-tuning run: a model, a recipe and data in, the tuned model and a report out.
///
/// The run folder holds `recipe.yaml` (complete, as run), `metrics.jsonl` and `metrics.csv`, `checkpoints/`, `features/`
/// and at the end `report.json`. Everything random is a function of the seed and of the place in the run, and a checkpoint
/// holds the rest, so a run that is interrupted or killed and resumed ends with the same bytes as one that was not.
public struct FineTuning {
    /// The model; it is not changed.
    public var model: Model
    /// What to do.
    public var recipe: Recipe
    /// What to learn from.
    public var training: any TrainingSamples
    /// What progress is measured on; nil for nothing, and then every stage runs its whole length.
    public var validation: (any TrainingSamples)?
    /// The folder of the run.
    public var folder: String
    /// The model's name in reports.
    public var name = "model"
    /// The task that the model came with, where it is followed.
    public var retention: Retention?

    /// How a run ended.
    public enum Outcome {
        /// All stages are over: the tuned model, and what happened.
        case finished(Model, RunReport)
        /// Stopped on request after a step, with everything saved; the run can be resumed.
        case interrupted(step: Int)
    }

    /// A run.
    public init(
        _ model: Model, recipe: Recipe, training: any TrainingSamples, validation: (any TrainingSamples)?,
        folder: String
    ) {
        self.model = model
        self.recipe = recipe
        self.training = training
        self.validation = validation
        self.folder = folder
    }

    /// Runs from the start, or from the last checkpoint.
    ///
    /// - Parameters:
    ///   - resumes: whether to go on from the last checkpoint in the folder.
    ///   - events: told what happens.
    ///   - isInterrupted: asked after every step whether to save and stop.
    /// - Throws: ``TrainingError``, ``RecipeError``, ``CheckpointError``, and what planning throws before the first step.
    public func run(
        resumes: Bool = false, events: @escaping (TrainingEvent) -> Void = { _ in },
        isInterrupted: @escaping () -> Bool = { Interruption.isRequested }
    ) throws -> Outcome {
        let run = try Run(self, events: events, isInterrupted: isInterrupted)
        return try run.execute(resumes: resumes)
    }
}

/// One execution of a run.
final class Run {
    let settings: FineTuning
    let recipe: Recipe
    let plan: TrainingPlan
    let events: (TrainingEvent) -> Void
    let isInterrupted: () -> Bool
    let output: ValueID
    let store = ParameterStore()
    let checkpoints: CheckpointStore
    let context: RunContext
    let cohorts: [ValueID: Int]
    let classWeights: [Float]?
    var state: RunState
    var remarks: [String]
    var lastCheckpoint = ContinuousClock.now
    var pace = Pace()
    var before: Evaluation?
    var samplesUsed = 0
    private let started = ContinuousClock.now

    init(
        _ settings: FineTuning, events: @escaping (TrainingEvent) -> Void, isInterrupted: @escaping () -> Bool
    ) throws {
        self.settings = settings
        self.events = events
        self.isInterrupted = isInterrupted
        guard settings.training.count > 0 else { throw TrainingError.noSamples("the training data is empty") }
        plan = try TrainingPlan(settings.recipe, for: settings.model, samples: settings.training.count)
        recipe = plan.recipe
        output = try Scores.output(of: plan.layers)
        checkpoints = CheckpointStore(folder: "\(settings.folder)/checkpoints", keep: recipe.checkpoints.keep)
        context = try RunContext(
            model: settings.model, recipe: recipe, training: settings.training, validation: settings.validation)
        var cohorts: [ValueID: Int] = [:]
        for (index, stage) in plan.stages.enumerated() { for id in stage.thawed { cohorts[id] = index } }
        self.cohorts = cohorts
        classWeights = try ClassBalance.weights(
            recipe.loss, samples: settings.training, classes: Self.classCount(plan.layers, output: output))
        guard recipe.monitor != .map || settings.training.targetKind == .labels else {
            throw RecipeError.doesNotFit(
                RecipePlace("monitor"), reason: "map is a figure of samples that may have several classes")
        }
        state = RunState(stages: plan.stages.count)
        remarks = plan.remarks
    }

    func execute(resumes: Bool) throws -> FineTuning.Outcome {
        try Folders.make(settings.folder)
        if resumes {
            try resume()
        } else if !checkpoints.steps().isEmpty {
            throw TrainingError.folderNotEmpty(folder: settings.folder)
        }
        try AtomicFile.write(text: recipe.yaml(), to: "\(settings.folder)/recipe.yaml")
        for remark in remarks { events(.remark(remark)) }
        let log = try MetricsLog(folder: settings.folder, at: state.metrics)
        state.metrics = try log.flush()
        while state.stage < plan.stages.count {
            let stage = try StageRun(self, log: log)
            guard try stage.execute() else {
                try saveCheckpoint(log)
                return .interrupted(step: state.step)
            }
        }
        try saveCheckpoint(log)
        let tuned = try tunedModel()
        let report = try report(tuned)
        try AtomicFile.write(text: report.json().text(.indented) + "\n", to: "\(settings.folder)/report.json")
        return .finished(tuned, report)
    }

    private func resume() throws {
        guard let found = try checkpoints.latest() else {
            throw TrainingError.nothingToResume(folder: settings.folder)
        }
        for remark in found.remarks { remarks.append("passed over: \(remark)") }
        let differences = context.differences(from: found.checkpoint.state["context"] ?? .null)
        if let refusal = differences.refusals.first {
            throw TrainingError.anotherRun(folder: settings.folder, reason: refusal)
        }
        remarks += differences.remarks
        guard let state = RunState(found.checkpoint.state, best: found.best), state.stage <= plan.stages.count,
            state.cohortSteps.count == plan.stages.count
        else { throw TrainingError.anotherRun(folder: settings.folder, reason: "its record is of another kind") }
        self.state = state
        for (name, tensor) in found.checkpoint.tensors { try store.set(name, tensor) }
        try checkpoints.removeNewer(than: found.checkpoint.step)
    }

    /// Saves everything that the next step follows from.
    func saveCheckpoint(_ log: MetricsLog) throws {
        state.metrics = try log.flush()
        if var best = state.best, !best.isSaved {
            try checkpoints.write(.best, Checkpoint(step: best.step, state: [:], tensors: best.tensors))
            best.isSaved = true
            state.best = best
        }
        try checkpoints.write(
            .step, Checkpoint(step: state.step, state: state.json(context: context.json), tensors: try snapshot()))
        try checkpoints.prune()
        lastCheckpoint = .now
        events(.checkpoint(step: state.step))
    }

    /// Whether it is time for a checkpoint.
    var isCheckpointDue: Bool {
        ContinuousClock.now - lastCheckpoint >= .seconds(recipe.checkpoints.seconds)
    }

    /// Copies of all tensors that steps have changed.
    func snapshot() throws -> OrderedDictionary<String, Tensor> {
        var tensors = OrderedDictionary<String, Tensor>()
        // Sums of gradients begin anew at every step.
        for name in store.names where !name.hasPrefix("graft.sum/") { tensors[name] = try store.tensor(name) }
        return tensors
    }

    /// The model with what was learned.
    private func tunedModel() throws -> Model {
        var model = settings.model
        for name in store.names where !name.hasPrefix("graft.") {
            guard let id = model.graph.value(named: name), let tensor = try store.tensor(name) else { continue }
            model.graph.storeConstant(id)
            guard model.graph[id].initializer != nil else { continue }
            model.graph.setTensor(id, tensor)
        }
        try model.updateAnnotations { annotations in
            if annotations.labels == nil { annotations.labels = settings.training.classNames }
            annotations.history.append([
                "pass": "tune", "recipe": JSON(recipe.stages.map(\.name)), "steps": JSON(state.step),
                "seed": .int(Int64(bitPattern: recipe.seed)),
            ])
        }
        return model
    }

    private func report(_ tuned: Model) throws -> RunReport {
        var report = RunReport(
            model: settings.name, recipe: recipe.yaml(), labels: try tuned.annotations().labels ?? [])
        report.trainingSamples = settings.training.count
        report.validationSamples = settings.validation?.count ?? 0
        report.stages = state.results
        (report.steps, report.validations) = try MetricsLog.read(folder: settings.folder)
        if let validation = settings.validation, validation.count > 0 {
            func evaluate(_ model: Model) throws -> Evaluation {
                try Evaluator(model, targets: validation.targetKind).evaluate(
                    validation, batch: recipe.batch, ignored: recipe.loss.ignored)
            }
            report.before = try before ?? evaluate(settings.model)
            report.after = try evaluate(tuned)
        }
        if let retention = settings.retention {
            report.retention = try retention.evaluate(on: tuned, batch: recipe.batch)
        }
        report.layers = layerRows()
        report.seconds = (ContinuousClock.now - started).inSeconds
        report.samplesPerSecond = report.seconds > 0 ? Double(samplesUsed) / report.seconds : 0
        report.remarks = remarks
        return report
    }

    private func layerRows() -> [RunReport.LayerRow] {
        let graph = settings.model.graph
        let trained = Set(plan.stages.flatMap(\.trainable))
        let last = plan.stages.last
        return plan.layers.leaves.compactMap { layer in
            func count(_ ids: [ValueID]) -> Int { ids.reduce(0) { $0 + (graph.constantTensor(of: $1)?.count ?? 0) } }
            guard !layer.parameters.isEmpty else { return nil }
            let learning = layer.parameters.filter { trained.contains($0) }
            let group = last?.groups.first { group in learning.contains { group.parameters.contains($0) } }
            return RunReport.LayerRow(
                path: layer.path, kind: "\(layer.kind)", parameters: count(layer.parameters), trained: count(learning),
                multiplier: learning.isEmpty ? nil : group?.multiplier)
        }
    }

    /// The number of classes, checked against the data's labels.
    private static func classCount(_ layers: LayerTree, output: ValueID) throws -> Int? {
        let types = try Inference.inferTypes(of: layers.model, inputs: [:])
        let shape = types.shape(of: output)
        return layers.head?.classCount ?? shape.flatMap { $0.rank > 1 ? $0[1].count : nil }
    }
}

extension Duration {
    /// The duration in seconds.
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

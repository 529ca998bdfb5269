import GraftCore
import GraftIR
import GraftONNX
import GraftRuntime
import GraftTestSupport
import GraftTraining
import GraftWeights
import OrderedCollections
import Testing

/// Twenty steps against PyTorch; `fixtures/training/make.py` made the losses and weights.
@Suite struct GoldenStepTests {
    static let description: JSON = {
        guard let file = try? MappedFile(path: Fixtures.path("training/cases.json")),
            let json = try? withExtendedLifetime(file, { try JSON(parsing: file.bytes) })
        else { return [:] }
        return json
    }()

    static let names: [String] = Array((description["cases"]?.object ?? [:]).keys)

    /// The recipe that says what a case says, and the model with the case's groups.
    private func recipe(_ entry: JSON, _ model: inout Model) throws -> Recipe {
        let optimizer = try #require(entry["optimizer"])
        let parameters = Array(try #require(Self.description["parameters"]?.object).keys).filter {
            !$0.contains("running")
        }
        func prefixed(_ name: String, _ prefixes: JSON?) -> Bool {
            (prefixes?.array ?? []).contains { name.hasPrefix($0.string ?? "?") }
        }
        func quoted(_ names: [String]) -> [String] { names.map { "\"\($0)\"" } }
        let rate = try #require(optimizer["rate"]?.double)
        let first = parameters.filter { !prefixed($0, entry["frozen"]) }
        var stages = [Stage(name: "first", thaw: quoted(first), length: .steps(20), rate: rate)]
        if let thaw = entry["thaw"], !thaw.isNull {
            let before = try #require(thaw["before_step"]?.int)
            stages[0].length = .steps(before)
            let second = parameters.filter { prefixed($0, thaw["parameters"]) }
            stages.append(Stage(name: "second", thaw: quoted(second), length: .steps(20 - before), rate: rate))
        }
        if let schedule = entry["schedule"], !schedule.isNull {
            stages[0].schedule = ScheduleSettings(
                NamedChoice("cosine"), warmup: .steps(try #require(schedule["warmup_steps"]?.int)))
        }
        var recipe = Recipe(stages: stages)
        recipe.batch = 8
        recipe.data.shuffle = false
        recipe.checkpoints.seconds = 1000
        recipe.optimizer.choice = NamedChoice(try #require(optimizer["name"]?.string))
        for key in ["momentum", "weight_decay", "beta1", "beta2", "epsilon"] {
            if let value = optimizer[key]?.double { recipe.optimizer.choice.values[key] = value }
        }
        if optimizer["nesterov"]?.bool == true { recipe.optimizer.choice.values["nesterov"] = 1 }
        recipe.optimizer.exempt = entry["exempt"]?.bool ?? false
        recipe.batchNorm.mode = entry["batch_norm"]?.string == "train" ? .train : .frozen
        recipe.batchNorm.affine = entry["affine"]?.bool ?? true
        recipe.batchNorm.unbiased = entry["statistics"]?.string == "unbiased"
        recipe.loss.choice.values["label_smoothing"] = entry["label_smoothing"]?.double ?? 0
        recipe.clip = entry["clip_norm"]?.double
        for (prefix, multiplier) in entry["multipliers"]?.object ?? [:] {
            let factor = try #require(multiplier.double)
            try model.updateAnnotations { annotations in
                for name in parameters where name.hasPrefix(prefix) {
                    annotations.assign(name, to: RateGroup("group \(factor)", multiplier: factor))
                }
            }
        }
        return recipe
    }

    /// The largest distance of two lists, relative to the largest number of the second.
    private func distance(_ a: [Double], _ b: [Double]) -> Double {
        let scale = max(b.map(abs).max() ?? 0, 1e-12)
        return zip(a, b).reduce(a.count == b.count ? 0 : .infinity) { max($0, abs($1.0 - $1.1) / scale) }
    }

    @Test(arguments: names)
    func twentyStepsAreThoseOfPyTorch(name: String) throws {
        let entry = try #require(Self.description["cases"]?[name])
        var model = try ONNX.read(path: Fixtures.path("training/net.onnx"))
        let recipe = try recipe(entry, &model)
        let golden = try NPZ.read(path: Fixtures.path("training/\(name).npz"))
        let batches = try NPZ.read(path: Fixtures.path("training/batches.npz"))
        let pictures = try #require(batches["pictures"]).elements(as: Float.self)
        let labels = try #require(batches["labels"]).elements(as: Int64.self).map { Int($0) }
        let plan = try TrainingPlan(recipe, for: model)
        let store = ParameterStore()
        var cohorts: [ValueID: Int] = [:]
        for (index, stage) in plan.stages.enumerated() { for id in stage.thawed { cohorts[id] = index } }
        var cohortSteps = [Int](repeating: 0, count: plan.stages.count)
        var losses: [Double] = []
        let size = 8 * 3 * 16 * 16
        for (index, stage) in plan.stages.enumerated() {
            let program = try StageProgram(
                model, output: try #require(model.graph.outputs.first), stage: stage, recipe: recipe,
                cohorts: cohorts, classWeights: nil, store: store)
            let steps = try #require(stage.steps)
            let clock = try StageClock(stage.stage.schedule, steps: steps, stepsPerEpoch: 20)
            for step in 0..<steps {
                for cohort in 0...index { cohortSteps[cohort] += 1 }
                var rates = OrderedDictionary<String, Double>()
                for group in stage.groups {
                    rates[group.name] = stage.stage.rate * clock.factor(at: step) * group.multiplier
                }
                let k = losses.count
                let batch = Tensor(Array(pictures[(k * size)..<((k + 1) * size)]), shape: [8, 3, 16, 16])
                losses.append(
                    try program.step(
                        program.features(["pictures": batch]), labels: Array(labels[(k * 8)..<(k * 8 + 8)]),
                        clock: .init(rates: rates, cohortSteps: cohortSteps), isFirst: true, share: 1))
            }
        }
        let expected = try #require(golden["loss64"]).elements(as: Double.self)
        var worst = zip(losses, expected).map { abs($0 - $1) / abs($1) }.max() ?? .infinity
        print("\(name): losses differ by \(worst) of their size")
        #expect(worst <= 1e-4)
        #expect(losses.count == 20)
        worst = 0
        var compared = 0
        for (key, tensor) in golden where key.hasPrefix("final/") {
            let parameter = String(key.dropFirst("final/".count))
            compared += 1
            let id = try #require(model.graph.value(named: parameter))
            let value = try #require(try store.tensor(parameter) ?? model.graph[id].tensor).elements(as: Float.self)
            worst = max(worst, distance(value.map(Double.init), try tensor.elements(as: Float.self).map(Double.init)))
        }
        print("\(name): weights differ by \(worst) of their size")
        #expect(worst <= 1e-4 && compared == 14)
    }
}

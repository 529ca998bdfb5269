import GraftCore
import GraftIR
import GraftTestSupport
import GraftTraining
import OrderedCollections
import Testing

@Suite struct FineTuningTests {
    /// A run over two stages with dropout, augmentation-free features, early stopping and a validation each epoch.
    static func recipe(_ edit: (inout Recipe) -> Void = { _ in }) -> Recipe {
        var recipe = Recipe(stages: [
            Stage(name: "head", thaw: ["@head"], length: .epochs(2), rate: 0.02),
            Stage(
                name: "all", thaw: ["*"], length: .epochs(2), rate: 0.01, decay: 0.5,
                schedule: ScheduleSettings(NamedChoice("cosine"), warmup: .steps(2))),
        ])
        recipe.batch = 16
        recipe.checkpoints.seconds = 1000
        edit(&recipe)
        return recipe
    }

    static func tuning(_ recipe: Recipe, folder: String, dropout: Bool = true, count: Int = 80) throws -> FineTuning {
        let training = TinyNet.samples(count, seed: 1)
        let held = TinyNet.samples(48, seed: 2)
        return FineTuning(
            TinyNet.model(dropout: dropout), recipe: recipe,
            training: try ArraySamples(["pictures": training.pictures], labels: training.labels),
            validation: try ArraySamples(["pictures": held.pictures], labels: held.labels), folder: folder)
    }

    static func finished(_ outcome: FineTuning.Outcome) throws -> (Model, RunReport) {
        guard case .finished(let model, let report) = outcome else { throw Unfinished() }
        return (model, report)
    }

    struct Unfinished: Error {}

    /// The bytes of all stored tensors.
    static func weights(_ model: Model) throws -> [String: [Float]] {
        var result: [String: [Float]] = [:]
        for id in model.graph.initializers {
            let tensor = try #require(model.graph[id].tensor)
            if tensor.elementType == .float32 { result[model.graph[id].name] = try tensor.elements(as: Float.self) }
        }
        return result
    }

    private func text(_ path: String) throws -> String {
        let file = try MappedFile(path: path)
        return withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }
    }

    @Test func learnsTheTask() throws {
        try Fixtures.withTemporaryFolder { folder in
            let recipe = Self.recipe { recipe in
                recipe.stages[0].length = .epochs(10)
                recipe.stages[1].length = .epochs(25)
            }
            let (model, report) = try Self.finished(
                Self.tuning(recipe, folder: folder, dropout: false, count: 320).run(isInterrupted: { false }))
            let before = try #require(report.before?.accuracy)
            let after = try #require(report.after?.accuracy)
            #expect(before < 0.6 && after > 0.9, "\(before) -> \(after)")
            #expect(report.stages.map(\.name) == ["head", "all"])
            #expect(report.stages[0].featuresFrom != nil && report.stages[1].featuresFrom == nil)
            #expect(try model.annotations().history.last?["pass"]?.string == "tune")
            #expect(try Recipe(path: "\(folder)/recipe.yaml") == recipe.completed())
            let course = try MetricsLog.read(folder: folder)
            #expect(course.steps.count == 20 * 10 + 20 * 25 && course.validations.count == 35)
            #expect(course.steps.map(\.step) == Array(1...700))
        }
    }

    @Test(arguments: ["sgd", "adamw"], [false, true])
    func resumesBitForBitAtEveryStep(optimizer: String, accumulates: Bool) throws {
        try Fixtures.withTemporaryFolder { folder in
            let recipe = Self.recipe { recipe in
                recipe.optimizer.choice = NamedChoice(optimizer)
                recipe.batchNorm.mode = .train
                if accumulates {
                    recipe.batch = 6
                    recipe.accumulate = 3
                    recipe.clip = 0.5
                }
            }
            let whole = "\(folder)/whole"
            let (model, _) = try Self.finished(
                Self.tuning(recipe, folder: whole).run(isInterrupted: { false }))
            let expected = try Self.weights(model)
            for stop in 1..<20 {
                let part = "\(folder)/part-\(stop)"
                var steps = 0
                let first = try Self.tuning(recipe, folder: part).run(
                    events: { if case .step = $0 { steps += 1 } }, isInterrupted: { steps == stop })
                guard case .interrupted(let step) = first else {
                    Issue.record("the run was not interrupted at step \(stop)")
                    continue
                }
                #expect(step == stop)
                let (resumed, _) = try Self.finished(
                    Self.tuning(recipe, folder: part).run(resumes: true, isInterrupted: { false }))
                #expect(try Self.weights(resumed) == expected, "stopped at \(stop)")
                for name in ["metrics.jsonl", "metrics.csv", "recipe.yaml"] {
                    #expect(try text("\(part)/\(name)") == text("\(whole)/\(name)"), "\(name), stopped at \(stop)")
                }
            }
        }
    }

    @Test func theBestEpochIsKept() throws {
        try Fixtures.withTemporaryFolder { folder in
            let recipe = Self.recipe { recipe in
                recipe.stages = [
                    Stage(
                        name: "all", thaw: ["*"], length: .epochs(60), rate: 0.3, stop: StopSettings(patience: 3))
                ]
                recipe.optimizer.choice = NamedChoice("sgd", ["momentum": 0.9])
                recipe.clip = 1
            }
            let (model, report) = try Self.finished(
                Self.tuning(recipe, folder: folder).run(isInterrupted: { false }))
            let best = try #require(report.validations.min { $0.figures["loss"]! < $1.figures["loss"]! })
            let stage = try #require(report.stages.first)
            #expect(stage.keptStep == best.step)
            #expect(stage.endedEarly && stage.lastStep == best.step + 15)
            let held = TinyNet.samples(48, seed: 2)
            let measured = try Evaluator(model).evaluate(
                ArraySamples(["pictures": held.pictures], labels: held.labels), batch: 16)
            #expect(abs(measured.loss - best.figures["loss"]!) <= 1e-5 * measured.loss)
        }
    }

    @Test func frozenStatisticsAndLayersStayBitForBit() throws {
        try Fixtures.withTemporaryFolder { folder in
            let recipe = Self.recipe { $0.stages[1].thaw = ["layer2.*"] }
            let start = try Self.weights(TinyNet.model(dropout: true))
            let (model, _) = try Self.finished(
                Self.tuning(recipe, folder: folder).run(isInterrupted: { false }))
            for (name, values) in try Self.weights(model) {
                let isFrozen = name.contains("running") || name.hasPrefix("layer1") || name == "ratio"
                #expect((values == start[name]) == isFrozen, "\(name)")
            }
        }
    }

    @Test func keptFeaturesChangeNothing() throws {
        try Fixtures.withTemporaryFolder { folder in
            var results: [[String: [Float]]] = []
            for cached in [true, false] {
                let recipe = Self.recipe { $0.features.cache = cached }
                let (model, report) = try Self.finished(
                    Self.tuning(recipe, folder: "\(folder)/\(cached)", dropout: false).run(isInterrupted: { false }))
                #expect((report.stages[0].featuresFrom != nil) == cached)
                results.append(try Self.weights(model))
            }
            for (name, values) in results[0] {
                let other = try #require(results[1][name])
                let scale = other.map(abs).max() ?? 1
                #expect(zip(values, other).allSatisfy { abs($0 - $1) <= 1e-4 * scale }, "\(name)")
            }
        }
    }

    @Test func anotherRunIsNotResumed() throws {
        try Fixtures.withTemporaryFolder { folder in
            #expect(throws: TrainingError.nothingToResume(folder: folder)) {
                try Self.tuning(Self.recipe(), folder: folder).run(resumes: true, isInterrupted: { false })
            }
            _ = try Self.tuning(Self.recipe(), folder: folder).run(isInterrupted: { false })
            #expect(throws: TrainingError.folderNotEmpty(folder: folder)) {
                try Self.tuning(Self.recipe(), folder: folder).run(isInterrupted: { false })
            }
            let other = Self.recipe { $0.seed = 8 }
            let error = #expect(throws: TrainingError.self) {
                try Self.tuning(other, folder: folder).run(resumes: true, isInterrupted: { false })
            }
            #expect(error?.description.contains("the recipe is not what it was") ?? false)
        }
    }

    @Test func aFinishedRunResumesToTheSameResult() throws {
        try Fixtures.withTemporaryFolder { folder in
            let first = try Self.finished(Self.tuning(Self.recipe(), folder: folder).run(isInterrupted: { false }))
            let again = try Self.finished(
                Self.tuning(Self.recipe(), folder: folder).run(resumes: true, isInterrupted: { false }))
            #expect(try Self.weights(first.0) == Self.weights(again.0))
            #expect(first.1.validations == again.1.validations)
        }
    }

    @Test func aLossThatIsNoNumberStopsTheRun() throws {
        try Fixtures.withTemporaryFolder { folder in
            let recipe = Self.recipe { recipe in
                recipe.optimizer.choice = NamedChoice("sgd")
                recipe.stages[1].rate = 1000
                recipe.stages[1].length = .epochs(30)
            }
            #expect(throws: TrainingError.self) {
                try Self.tuning(recipe, folder: folder).run(isInterrupted: { false })
            }
        }
    }

    @Test func labelsBeyondTheHeadAreRefused() throws {
        try Fixtures.withTemporaryFolder { folder in
            var tuning = try Self.tuning(Self.recipe(), folder: folder)
            let data = TinyNet.samples(8, seed: 3)
            tuning.training = try ArraySamples(["pictures": data.pictures], labels: [0, 1, 2, 3, 4, 0, 0, 0])
            let error = #expect(throws: TrainingError.self) { try tuning.run(isInterrupted: { false }) }
            #expect(error?.description.contains("graft head --classes 5") ?? false)
        }
    }

    @Test func theOldTaskIsFollowed() throws {
        try Fixtures.withTemporaryFolder { folder in
            var tuning = try Self.tuning(Self.recipe(), folder: folder)
            let old = TinyNet.samples(40, seed: 9)
            tuning.retention = Retention(
                model: TinyNet.model(), samples: try ArraySamples(["pictures": old.pictures], labels: old.labels))
            let (_, report) = try Self.finished(tuning.run(isInterrupted: { false }))
            let retention = try #require(report.retention)
            #expect(retention.before.count == 40 && retention.before.loss != retention.after.loss)
        }
    }
}

import GraftCore
import GraftData
import GraftIR
import GraftONNX
import GraftRuntime
import GraftSurgery
import GraftTestSupport
import GraftTraining
import GraftWeights
import OrderedCollections
import Testing

/// Several classes a sample, and a class for each pixel; `fixtures/training/make_dense.py` and
/// `fixtures/metrics/make_dense.py` made the goldens.
@Suite struct DenseTrainingTests {
    @Test(arguments: [("dense", TargetKind.pixels, "cross-entropy"), ("labels", .labels, "binary-cross-entropy")])
    func twentyStepsAreThoseOfPyTorch(name: String, kind: TargetKind, loss: String) throws {
        let model = try ONNX.read(path: Fixtures.path("training/\(name)_net.onnx"))
        let golden = try NPZ.read(path: Fixtures.path("training/\(name).npz"))
        var recipe = Recipe(stages: [Stage(name: "all", thaw: ["*"], length: .steps(20), rate: 0.05)])
        recipe.optimizer.choice = NamedChoice("sgd", ["momentum": 0.9, "weight_decay": 1e-3])
        recipe.optimizer.exempt = false
        recipe.loss.choice = NamedChoice(loss)
        let plan = try TrainingPlan(recipe, for: model)
        let store = ParameterStore()
        let program = try StageProgram(
            model, output: try #require(model.graph.outputs.first), stage: plan.stages[0], recipe: plan.recipe,
            cohorts: [:], classWeights: nil, targets: kind, store: store)
        let pictures = try #require(golden["pictures"]).elements(as: Float.self)
        let targets = try #require(golden["targets"])
        let shape = Array(targets.shape.dropFirst())
        let (size, count) = (4 * 3 * 12 * 12, shape.reduce(1, *))
        var losses: [Double] = []
        for step in 0..<20 {
            let range = (step * count)..<((step + 1) * count)
            let target =
                kind == .labels
                ? Tensor(Array(try targets.elements(as: Float.self)[range]), shape: shape)
                : Tensor(Array(try targets.elements(as: Int64.self)[range]), shape: shape)
            let batch = Tensor(Array(pictures[(step * size)..<((step + 1) * size)]), shape: [4, 3, 12, 12])
            var rates = OrderedDictionary<String, Double>()
            for group in plan.stages[0].groups { rates[group.name] = 0.05 }
            losses.append(
                try program.step(
                    program.features(["pictures": batch]), targets: target,
                    clock: .init(rates: rates, cohortSteps: [step + 1]), isFirst: true, share: 1))
        }
        let expected = try #require(golden["loss64"]).elements(as: Double.self)
        let worst = zip(losses, expected).map { abs($0 - $1) / abs($1) }.max() ?? .infinity
        print("\(name): losses differ by \(worst) of their size")
        #expect(worst <= 1e-4 && losses.count == 20)
        var compared = 0
        for (key, tensor) in golden where key.hasPrefix("final/") {
            let wanted = try tensor.elements(as: Float.self)
            let found = try #require(try store.tensor(String(key.dropFirst(6)))).elements(as: Float.self)
            let scale = wanted.map(abs).max() ?? 1
            #expect(zip(wanted, found).allSatisfy { abs($0 - $1) <= 1e-4 * scale }, "\(key)")
            compared += 1
        }
        #expect(compared == 8)
    }

    private func golden(_ part: String) throws -> JSON {
        let file = try MappedFile(path: Fixtures.path("metrics/dense.json"))
        return try #require(try withExtendedLifetime(file) { try JSON(parsing: file.bytes) }[part])
    }

    private func numbers(_ json: JSON, _ key: String) throws -> [Float] {
        try #require(json[key]?.array).map { Float($0.double ?? .nan) }
    }

    @Test func figuresOfPixelsAreThoseOfScikitLearn() throws {
        let json = try golden("pixels")
        let (scores, labels) = (try numbers(json, "scores"), try numbers(json, "labels").map { Int64($0) })
        var evaluation = Evaluation(classes: 4, kind: .pixels)
        for half in 0..<2 {
            evaluation.addPixels(
                scores: Array(scores[(half * 120)..<((half + 1) * 120)]),
                labels: Array(labels[(half * 30)..<((half + 1) * 30)]), positions: 30)
        }
        let pairs = [
            ("accuracy", evaluation.accuracy), ("mean_iou", evaluation.meanIoU), ("macro_f1", evaluation.macroF1),
            ("log_loss", evaluation.loss),
        ]
        for (key, value) in pairs { #expect(abs(value - (json[key]?.double ?? .nan)) < 1e-6, "\(key): \(value)") }
        for index in 0..<3 {
            #expect(abs((evaluation.confusion.iou(index) ?? .nan) - (json["iou"]?[index]?.double ?? .nan)) < 1e-9)
        }
        #expect(evaluation.confusion.iou(3) == nil && evaluation.count == 2)
    }

    @Test func figuresOfLabelsAreThoseOfScikitLearn() throws {
        let json = try golden("labels")
        var evaluation = Evaluation(classes: 5, kind: .labels)
        evaluation.addLabels(scores: try numbers(json, "scores"), marks: try numbers(json, "marks"))
        let labels = try #require(evaluation.labels)
        let pairs = [
            ("accuracy", evaluation.accuracy), ("mean_ap", labels.meanAveragePrecision),
            ("macro_f1", evaluation.macroF1), ("exact_match", labels.exactMatch), ("loss", evaluation.loss),
        ]
        for (key, value) in pairs { #expect(abs(value - (json[key]?.double ?? .nan)) < 1e-9, "\(key): \(value)") }
        for index in 0..<4 {
            #expect(abs((labels.averagePrecision(index) ?? .nan) - (json["ap"]?[index]?.double ?? .nan)) < 1e-9)
        }
        #expect(labels.averagePrecision(4) == nil)
    }

    /// Pictures whose left or right half is bright, with masks that say which; the last row does not count.
    private func dense(_ count: Int, seed: UInt64) throws -> ArraySamples {
        var random = CounterRandom(seed: seed)
        var (pictures, masks): ([Float], [Int64]) = ([], [])
        for _ in 0..<count {
            let isLeft = random.below(2) == 0
            for _ in 0..<3 {
                for _ in 0..<16 {
                    for x in 0..<16 { pictures.append((x < 8) == isLeft ? 1 + random.gaussian() * 0.1 : 0) }
                }
            }
            for y in 0..<16 { for x in 0..<16 { masks.append(y == 15 ? 255 : (x < 8) == isLeft ? 1 : 0) } }
        }
        return try ArraySamples(
            ["input": Tensor(pictures, shape: [count, 3, 16, 16])],
            targets: Tensor(masks, shape: [count, 16, 16]), classNames: ["dark", "bright"])
    }

    @Test func aDenseHeadLearnsOnKeptFeatures() throws {
        var model = SmallNetworks.pyramid(side: nil)
        var options = HeadOptions(classes: .count(2), place: "stage2.out")
        options.hidden = 8
        try model.apply(DenseHead.patch(for: model, options))
        try Fixtures.withTemporaryFolder { folder in
            var recipe = Recipe(stages: [Stage(name: "head", thaw: ["@head"], length: .epochs(12), rate: 0.01)])
            recipe.batch = 8
            recipe.checkpoints.seconds = 1000
            recipe.monitor = .iou
            recipe.loss.classWeights = .balanced
            let tuning = FineTuning(
                model, recipe: recipe, training: try dense(32, seed: 1), validation: try dense(8, seed: 2),
                folder: folder)
            let (_, report) = try FineTuningTests.finished(tuning.run())
            let (before, after) = (try #require(report.before), try #require(report.after))
            #expect(after.meanIoU > 0.8 && after.meanIoU > before.meanIoU)
            // The extents of the picture cross the boundary too; they do not stand in the way of keeping features.
            #expect(report.stages[0].featuresFrom?.contains("stage2.out") == true)
            #expect(report.validations.last?.figures["mean_iou"] == after.meanIoU)
            let csv = try MappedFile(path: "\(folder)/metrics.csv").withBytes { String(decoding: $0, as: UTF8.self) }
            let lines = csv.split(separator: "\n")
            #expect(Set(lines.map { $0.split(separator: ",", omittingEmptySubsequences: false).count }).count == 1)
        }
    }

    @Test func dataAndModelMustBeOfOneKind() throws {
        let masks = try dense(4, seed: 1)
        let recipe = Recipe(stages: [Stage(name: "all", thaw: ["*"], length: .steps(1), rate: 0.01)])
        func message(_ model: Model, _ samples: ArraySamples, _ recipe: Recipe) throws -> String {
            try Fixtures.withTemporaryFolder { folder in
                do {
                    _ = try FineTuning(model, recipe: recipe, training: samples, validation: nil, folder: folder).run()
                    return ""
                } catch { return "\(error)" }
            }
        }
        #expect(try message(SmallNetworks.pyramid(side: 16), masks, recipe).contains("graft head --dense"))
        let input = try masks.batch([0, 1, 2, 3], variation: nil)
        let labels = try ArraySamples(input, targets: .zeros(.float32, shape: [4, 4]))
        #expect(
            try message(SmallNetworks.pyramid(side: 16), labels, recipe).contains("take binary-cross-entropy"))
        var map = recipe
        map.monitor = .map
        #expect(try message(SmallNetworks.pyramid(side: 16), try ArraySamples(input, labels: [0, 1, 2, 3]), map) != "")
        let few = try ArraySamples(input, targets: .zeros(.float32, shape: [4, 2]))
        #expect(try message(SmallNetworks.pyramid(side: 16), few, recipe).contains("4 classes"))
    }

    @Test func aBatchWithoutAnyPixelThatCountsChangesNothing() throws {
        var model = SmallNetworks.pyramid(side: 16)
        try model.apply(DenseHead.patch(for: model, HeadOptions(classes: .count(2))))
        let input = try dense(2, seed: 3).batch([0, 1], variation: nil)
        let ignored = Tensor([Int64](repeating: 255, count: 512), shape: [2, 16, 16])
        var recipe = Recipe(stages: [Stage(name: "head", thaw: ["@head"], length: .steps(1), rate: 0.1)])
        recipe.optimizer.choice = NamedChoice("sgd", ["weight_decay": 0])
        try Fixtures.withTemporaryFolder { folder in
            let (tuned, _) = try FineTuningTests.finished(
                FineTuning(
                    model, recipe: recipe, training: try ArraySamples(input, targets: ignored), validation: nil,
                    folder: folder
                ).run())
            #expect(try FineTuningTests.weights(tuned) == FineTuningTests.weights(model))
        }
    }

    @Test func picturesAreVariedWhereAStageRunsFromThem() throws {
        let photo = try Preprocessing(height: 224, width: 224)
        #expect(AugmentationSetting.usual(for: photo).map(\.name) == ["crop", "flip"])
        let digit = try Preprocessing(height: 28, width: 28, channels: .gray)
        #expect(AugmentationSetting.usual(for: digit).map(\.name) == ["shift"])
        var recipe = try Recipe.named("gradual", for: TinyNet.model())
        #expect(try TrainingPlan(recipe, for: TinyNet.model()).table().contains("augmentation: none"))
        recipe.data.augment = AugmentationSetting.usual(for: photo)
        let plan = try TrainingPlan(recipe, for: TinyNet.model())
        #expect(plan.stages.map(\.keepsFeatures) == plan.stages.map { $0.stage.name != "all" })
        #expect(plan.table().contains("flip; not in head,"))
    }
}

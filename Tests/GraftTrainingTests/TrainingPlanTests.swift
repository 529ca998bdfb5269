import GraftCore
import GraftIR
import GraftTraining
import OrderedCollections
import Testing

@Suite struct TrainingPlanTests {
    private func names(_ ids: [ValueID], _ model: Model) -> [String] { ids.map { model.graph[$0].name } }

    @Test func stagesThawOneAfterAnother() throws {
        let model = TinyNet.model()
        let plan = try TrainingPlan(
            Recipe(stages: [
                Stage(name: "head", thaw: ["@head"], length: .epochs(3), rate: 1e-2),
                Stage(name: "conv", thaw: ["layer2.conv"], length: .steps(7), rate: 1e-3),
                Stage(name: "all", thaw: ["*"], length: .epochs(1), rate: 1e-3, decay: 0.5),
            ]), for: model, samples: 70)
        #expect(plan.stepsPerEpoch == 3)
        #expect(plan.stages.map(\.steps) == [9, 7, 3])
        #expect(names(plan.stages[0].trainable, model) == ["fc.weight", "fc.bias"])
        #expect(names(plan.stages[1].thawed, model) == ["layer2.conv.weight"])
        #expect(plan.stages[2].trainable.count == 8)
        #expect(plan.stages[0].trainableCount == 36)
    }

    @Test func decayFollowsTheDistanceFromTheHead() throws {
        let model = TinyNet.model()
        let plan = try TrainingPlan(
            Recipe(stages: [Stage(name: "all", thaw: ["*"], length: .epochs(1), rate: 1, decay: 0.5)]), for: model)
        var multipliers: [String: Double] = [:]
        for group in plan.stages[0].groups {
            for name in names(group.parameters, model) { multipliers[name] = group.multiplier }
        }
        #expect(multipliers["fc.weight"] == 1 && multipliers["fc.bias"] == 1)
        #expect(multipliers["layer2.conv.weight"] == 0.5 && multipliers["layer2.bn.weight"] == 0.5)
        #expect(multipliers["layer1.conv.weight"] == 0.25 && multipliers["layer1.bn.bias"] == 0.25)
    }

    @Test func vectorsAreSparedWeightDecay() throws {
        let model = TinyNet.model()
        var recipe = Recipe(stages: [Stage(name: "all", thaw: ["*"], length: .epochs(1), rate: 1)])
        recipe.optimizer.choice.values["weight_decay"] = 0.3
        var groups = try TrainingPlan(recipe, for: model).stages[0].groups
        #expect(groups.count == 2)
        for group in groups {
            for id in group.parameters {
                #expect((group.weightDecay == 0) == (model.graph[id].tensor?.shape.count == 1))
            }
        }
        recipe.optimizer.exempt = false
        groups = try TrainingPlan(recipe, for: model).stages[0].groups
        #expect(groups.map(\.weightDecay) == [0.3])
    }

    @Test func groupsOfTheFileAreUsed() throws {
        var model = TinyNet.model()
        try model.updateAnnotations {
            $0.assign("layer1.conv.weight", to: RateGroup("slow", multiplier: 0.125, weightDecay: 0.5))
        }
        let plan = try TrainingPlan(
            Recipe(stages: [Stage(name: "all", thaw: ["*"], length: .epochs(1), rate: 1, decay: 0.5)]), for: model)
        let slow = try #require(plan.stages[0].groups.first { $0.name == "slow" })
        #expect(slow.multiplier == 0.125 && slow.weightDecay == 0.5)
    }

    @Test func whatTheFileFreezesStaysUnlessNamed() throws {
        var model = TinyNet.model()
        try model.updateAnnotations { $0.frozen = ["layer1.conv.weight", "layer1.bn.weight"] }
        func thawed(_ selector: String) throws -> [String] {
            let recipe = Recipe(stages: [Stage(name: "a", thaw: [selector], length: .epochs(1), rate: 1)])
            return names(try TrainingPlan(recipe, for: model).stages[0].trainable, model)
        }
        #expect(try !thawed("*").contains("layer1.conv.weight"))
        #expect(try !thawed("op:Conv, @head").contains("layer1.conv.weight"))
        #expect(try thawed("layer1.*").contains("layer1.conv.weight"))
        #expect(try thawed("*, layer1.conv").contains("layer1.conv.weight"))
        #expect(try !thawed("*, layer1.conv").contains("layer1.bn.weight"))
        let plan = try TrainingPlan(
            Recipe(stages: [Stage(name: "a", thaw: ["*"], length: .epochs(1), rate: 1)]), for: model)
        #expect(plan.remarks.count == 1 && plan.remarks[0].contains("layer1.conv.weight"))
    }

    @Test func fixedScalesDoNotLearn() throws {
        let model = TinyNet.model()
        var recipe = Recipe(stages: [Stage(name: "a", thaw: ["*"], length: .epochs(1), rate: 1)])
        recipe.batchNorm.affine = false
        let plan = try TrainingPlan(recipe, for: model)
        #expect(!names(plan.stages[0].trainable, model).contains { $0.contains(".bn.") })
        #expect(plan.stages[0].batchNorm.values.map(\.name) == ["frozen", "frozen"])
    }

    @Test func aStageThatTrainsNothingIsRefused() throws {
        var model = TinyNet.model()
        try model.updateAnnotations { $0.frozen = ["fc.weight", "fc.bias"] }
        let recipe = Recipe(stages: [Stage(name: "a", thaw: ["@weight & op:Gemm"], length: .epochs(1), rate: 1)])
        #expect(throws: RecipeError.self) { try TrainingPlan(recipe, for: model) }
    }

    @Test func gradualThawsBlocksFromTheEnd() throws {
        var model = TinyNet.model()
        let recipe = try Recipe.named("gradual", for: model)
        #expect(recipe.stages.map(\.thaw) == [["@head"], ["@last:1"], ["*"]])
        #expect(zip(recipe.stages, recipe.stages.dropFirst()).allSatisfy { $0.rate > $1.rate })
        // Frozen as a whole, the body is named block by block.
        let body = model.graph.initializers.map { model.graph[$0].name }.filter { !$0.hasPrefix("fc") }
        try model.updateAnnotations { $0.frozen = OrderedSet(body) }
        let frozen = try Recipe.named("gradual", for: model)
        #expect(frozen.stages.map(\.thaw) == [["@head"], ["@block:layer2"], ["@block:layer1"]])
        let plan = try TrainingPlan(frozen, for: model)
        #expect(plan.stages[2].trainable.count == 8)
    }

    @Test func namesLeadToRecipes() throws {
        let model = TinyNet.model()
        for name in Recipe.names {
            let recipe = try Recipe.named(name, for: model)
            #expect(try Recipe(yaml: recipe.yaml()) == recipe.completed())
            _ = try TrainingPlan(recipe, for: model, samples: 100)
        }
        let error = #expect(throws: RecipeError.self) { try Recipe.named("gradul", for: model) }
        #expect(error?.description.contains("Did you mean \"gradual\"?") ?? false)
    }

    @Test func fewSamplesGetMorePasses() throws {
        let recipe = try Recipe.named("gradual", for: TinyNet.model())
        let few = recipe.lengthened(forSamples: 80)
        #expect(few.stages.map(\.length) == [.epochs(100), .epochs(34), .epochs(34)])
        #expect(few.stages[0].stop?.patience == 16)
        #expect(recipe.lengthened(forSamples: 100_000) == recipe)
    }

    @Test func theTableShowsRatesAndCounts() throws {
        let model = TinyNet.model()
        let recipe = Recipe(stages: [
            Stage(name: "head", thaw: ["@head"], length: .epochs(3), rate: 1e-3),
            Stage(name: "all", thaw: ["*"], length: .epochs(2), rate: 3e-4, decay: 0.5),
        ])
        let plan = try TrainingPlan(recipe, for: model, samples: 64)
        let table = plan.table()
        for text in ["head", "3 epochs, 6 steps", "0.00015", "7.5e-05", "batch normalization: inference"] {
            #expect(table.contains(text), "\(text) is missing in\n\(table)")
        }
        #expect(plan.json()["stages"]?[1]?["groups"]?.array?.count == plan.stages[1].groups.count)
    }
}

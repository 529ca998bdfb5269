import GraftTraining
import Testing

@Suite struct RecipeTests {
    static let example = """
        data: {train: photos/, validation: 0.2, shuffle: true, augment: [crop, {name: flip, probability: 0.3}]}
        batch: 16
        seed: 7
        loss: {name: cross-entropy, label_smoothing: 0.1}
        optimizer: {name: adamw, weight_decay: 0.02}
        batch_norm: frozen
        stages:
          - {name: head, thaw: "@head",   epochs: 3, rate: 1e-3}
          - {name: top,  thaw: "@last:2", epochs: 3, rate: 3e-4, decay: 0.5, schedule: {name: cosine, warmup: 0.1}}
          - {name: all,  thaw: "*",       steps: 500, rate: 1e-4, decay: 0.5, stop: {patience: 2}}
        """

    @Test func readsEveryKey() throws {
        let recipe = try Recipe(yaml: Self.example)
        #expect(recipe.data.train == "photos/")
        #expect(
            recipe.data.augment == [AugmentationSetting("crop"), AugmentationSetting("flip", ["probability": [0.3]])])
        #expect(recipe.batch == 16)
        #expect(recipe.seed == 7)
        #expect(recipe.loss.choice.values["label_smoothing"] == 0.1)
        #expect(recipe.optimizer.choice.values["weight_decay"] == 0.02)
        #expect(recipe.batchNorm.mode == .frozen)
        #expect(recipe.stages.map(\.name) == ["head", "top", "all"])
        #expect(recipe.stages.map(\.rate) == [1e-3, 3e-4, 1e-4])
        #expect(recipe.stages[1].schedule == ScheduleSettings(NamedChoice("cosine"), warmup: .fraction(0.1)))
        #expect(recipe.stages[2].length == .steps(500))
        #expect(recipe.stages[2].stop == StopSettings(patience: 2))
    }

    @Test func leavesDefaultsWhereNothingIsSaid() throws {
        let recipe = try Recipe(yaml: "stages: [{}]")
        #expect(recipe == Recipe(stages: [Stage(name: "stage-1", thaw: ["@head"], length: .epochs(3), rate: 1e-3)]))
        let sgd = try Recipe(yaml: "optimizer: sgd\nstages: [{}]")
        #expect(sgd.stages[0].rate == 1e-2)
    }

    @Test func writesWhatItReads() throws {
        var recipe = try Recipe(yaml: Self.example)
        recipe.clip = 0.5
        recipe.loss.classWeights = .given([1, 2.5])
        recipe.data.validation = .path("held \"back\": yes/")
        recipe.stages[0].schedule = ScheduleSettings(NamedChoice("one-cycle", ["peak": 0.4]))
        recipe.stages[0].thaw = ["@head", "layer4.*", "yes"]
        let text = recipe.yaml()
        let again = try Recipe(yaml: text)
        #expect(again == recipe.completed())
        #expect(again.yaml() == text)
    }

    @Test(arguments: [
        ("batsh: 3\nstages: [{}]", "1: there is no key \"batsh\" here. Did you mean \"batch\"?"),
        ("stages:\n  - {rate: 1e-3}\n  - {rates: 3}", "recipe:3: stages[1]: there is no key \"rates\""),
        ("batch: many\nstages: [{}]", "recipe:1: batch: expected a whole number, found \"many\""),
        ("batch: \"32\"\nstages: [{}]", "batch: expected a whole number"),
        ("batch: 0\nstages: [{}]", "batch: 0 is out of range; allowed is 1 to 1000000"),
        ("stages:\n  - rate: -1", "recipe:2: stages[0].rate: -1 is out of range"),
        ("stages:\n  - {epochs: 1, steps: 3}", "either epochs or steps"),
        ("stages:\n  - schedule: {name: cosin}", "there is no \"cosin\". Did you mean \"cosine\"?"),
        ("stages:\n  - schedule: {name: one-cycle, warmup: 3}", "rises by itself"),
        ("stages:\n  - schedule: {warmup: 3}", "the key \"name\" is missing"),
        ("stages:\n  - stop: {delta: 1}", "the key \"patience\" is missing"),
        ("loss: {name: cross-entropy, smoothing: 1}\nstages: [{}]", "there is no key \"smoothing\""),
        ("optimizer: {name: adamw, nesterov: true}\nstages: [{}]", "there is no key \"nesterov\""),
        ("optimizer: {name: sgd, nesterov: 3}\nstages: [{}]", "optimizer.nesterov: expected true or false"),
        ("loss: {name: cross-entropy, label_smoothing: .nan}\nstages: [{}]", "expected a number"),
        ("batch_norm: thawed\nstages: [{}]", "There is frozen, train"),
        ("data: {augment: crop}\nstages: [{}]", "data.augment: expected a list, found \"crop\""),
        ("batch: 3\nbatch: 4\nstages: [{}]", "stands twice"),
        ("seed: 1", "the key \"stages\" is missing"),
        ("", "the key \"stages\" is missing"),
        ("stages: []", "expected at least one stage"),
        ("[1, 2]", "expected a mapping"),
        ("stages: [\n", "not valid YAML"),
        ("a: *b\nstages: [{}]", "not valid YAML"),
    ])
    func refusesWithPathAndLine(yaml: String, expected: String) throws {
        let error = #expect(throws: RecipeError.self) { try Recipe(yaml: yaml) }
        let text = error?.description ?? ""
        #expect(text.contains(expected), "\(text)")
    }

    @Test func refusesHostileNesting() {
        for deep in [String(repeating: "[", count: 200_000), String(repeating: "{a: ", count: 100_000)] {
            #expect(throws: RecipeError.self) { try Recipe(yaml: deep) }
        }
        let laughs = (1...40).reduce("a0: &a0 [x]\n") { $0 + "a\($1): &a\($1) [*a\($1 - 1), *a\($1 - 1)]\n" }
        #expect(throws: RecipeError.self) { try Recipe(yaml: laughs + "stages: [{}]") }
    }
}

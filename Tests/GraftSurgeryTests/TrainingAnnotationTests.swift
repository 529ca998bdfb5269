import GraftCore
import GraftIR
import GraftSurgery
import GraftTestSupport
import OrderedCollections
import Testing

@Suite struct TrainingAnnotationTests {
    private let model = SmallNetworks.residual()

    private func names() throws -> [String] {
        try LayerTree(model).parameters.map { model.graph[$0].name }
    }

    @Test func freezingFollowsTheSelectors() throws {
        let all = try names()
        let head: Set = ["fc.weight", "fc.bias"]
        let allBut = try checked(Freeze.self, model, .allBut(.head))
        #expect(try Array(allBut.annotations().frozen) == all.filter { !head.contains($0) })
        let only = try checked(Freeze.self, allBut, .only(Selector.parse("layer1")))
        #expect(try Array(only.annotations().frozen) == all.filter { $0.hasPrefix("layer1.") })
        let more = try checked(Freeze.self, only, .add(Selector.parse("conv1")))
        #expect(try more.annotations().frozen.first == "conv1.weight")
        #expect(try more.annotations().frozen.count == only.annotations().frozen.count + 1)
        let less = try checked(Freeze.self, more, .remove(Selector.parse("layer1.0")))
        #expect(try !less.annotations().frozen.contains { $0.hasPrefix("layer1.0.") })
        let none = try checked(Freeze.self, less, .none)
        #expect(try none.annotations().frozen.isEmpty)
        #expect(try none.annotations().history.count == 5)
    }

    @Test func statisticsAreNotFrozenAsParameters() throws {
        let frozen = try checked(Freeze.self, model, .only(Selector.parse("*")))
        #expect(try !frozen.annotations().frozen.contains { $0.contains("running") })
        #expect(try frozen.annotations().frozen.count == names().count)
    }

    @Test func aSelectorThatMatchesNothingChangesNothing() {
        #expect(throws: SelectorError.self) { try Freeze.patch(for: model, .only(Selector.parse("layer9"))) }
    }

    @Test func layerDecayFollowsTimmsFormula() throws {
        let edited = try checked(RateGrouping.self, model, .init([.decay(0.5, minimum: 0)]))
        let annotations = try edited.annotations()
        // Three blocks and the head: 0.5^3, 0.5^2, 0.5, 1.
        let expected: [(String, Double)] = [
            ("conv1.weight", 0.125), ("layer1.0.conv1.weight", 0.25), ("layer2.1.conv2.weight", 0.5), ("fc.weight", 1),
        ]
        for (name, rate) in expected { #expect(annotations.group(of: name)?.multiplier == rate) }
        #expect(annotations.groupOfParameter.count == (try names().count))
        for name in try names() {
            let isVector = name.contains("bn") || name.hasSuffix("bias")
            #expect(annotations.group(of: name)?.weightDecay == (isVector ? 0 : nil))
        }
        #expect(annotations.groups.count == 8)
        let bounded = try checked(RateGrouping.self, model, .init([.decay(0.5, minimum: 0.3)], exemptsVectors: false))
        #expect(try bounded.annotations().group(of: "conv1.weight")?.multiplier == 0.3)
        #expect(try bounded.annotations().group(of: "bn1.weight")?.weightDecay == nil)
        #expect(try bounded.annotations().groups.count == 4)
    }

    @Test func settingRatesAddsToWhatIsThere() throws {
        let decayed = try checked(RateGrouping.self, model, .init([.decay(0.5, minimum: 0)]))
        let edited = try checked(
            RateGrouping.self, decayed,
            .init([
                .set(Selector.parse("layer1 & @norm"), multiplier: 3), .weightDecay(Selector.parse("fc.weight"), 0.5),
            ]))
        let annotations = try edited.annotations()
        #expect(annotations.group(of: "layer1.0.bn1.weight")?.multiplier == 3)
        #expect(annotations.group(of: "layer1.0.bn1.weight")?.weightDecay == 0)
        #expect(annotations.group(of: "layer1.0.conv1.weight")?.multiplier == 0.25)
        #expect(annotations.group(of: "fc.weight")?.weightDecay == 0.5)
        #expect(annotations.group(of: "fc.weight")?.multiplier == 1)
        #expect(annotations.group(of: "fc.bias")?.weightDecay == 0)
        // Doing the same again changes nothing but the history.
        let again = try checked(
            RateGrouping.self, edited, .init([.weightDecay(Selector.parse("fc.weight"), 0.5)]))
        #expect(try again.annotations().group(of: "fc.weight")?.weightDecay == 0.5)
        let cleared = try checked(RateGrouping.self, again, .init([.clear]))
        #expect(try cleared.annotations().groups.isEmpty)
    }

    @Test func impossibleRatesAreRefused() {
        for step in [
            RateGrouping.Step.decay(0, minimum: 0), .decay(1.5, minimum: 0), .decay(.nan, minimum: 0),
            .set(.head, multiplier: -1), .set(.head, multiplier: .infinity), .weightDecay(.head, -0.1),
        ] {
            #expect(throws: RateGrouping.Failure.self) { try RateGrouping.patch(for: model, .init([step])) }
        }
    }

    @Test func batchNormModesAreSetForAllOrForSome() throws {
        let all = try checked(BatchNormSetting.self, model, .init(.frozen))
        #expect(try all.annotations().batchNormMode(ofMean: "bn1.running_mean") == .frozen)
        let some = try checked(BatchNormSetting.self, all, .init(.train, for: Selector.parse("layer2")))
        let annotations = try some.annotations()
        #expect(annotations.batchNormMode(ofMean: "layer2.0.bn1.running_mean") == .train)
        #expect(annotations.batchNormMode(ofMean: "layer1.0.bn1.running_mean") == .frozen)
        #expect(annotations.batchNorm.count == 4)
        #expect(throws: SelectorError.self) {
            try BatchNormSetting.patch(for: model, .init(.train, for: Selector.parse("fc")))
        }
    }
}

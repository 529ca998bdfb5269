import GraftCore
import GraftIR
import GraftRuntime
import GraftSurgery
import GraftTestSupport
import Testing

@Suite struct DenseHeadTests {
    private func run(_ model: Model, _ shape: [Int], output: String? = nil) throws -> Tensor {
        var options = PlanOptions()
        if let output { options.outputs = [try #require(model.graph.value(named: output))] }
        let plan = try Plan(model, options: options)
        let results = try Session(plan).run(["input": SmallNetworks.ramp(shape)])
        return try #require(results[plan.outputs[0].name])
    }

    @Test func theLastMapAtEachStrideIsACandidate() throws {
        for side in [32, nil] {
            let maps = try FeatureMaps(SmallNetworks.pyramid(side: side))
            #expect(maps.candidates.map(\.name) == ["stage1.out", "stage2.out", "stage3.out"])
            #expect(maps.candidates.map(\.stride) == [2, 4, 8])
            #expect(maps.candidates.map(\.channels) == [4, 6, 8])
            #expect(maps.standard?.name == "stage3.out")
        }
    }

    @Test func scoresHaveThePicturesSize() throws {
        let model = SmallNetworks.pyramid()
        let edited = try checked(DenseHead.self, model, HeadOptions(classes: .names(["a", "b", "c"])))
        #expect(try run(edited, [2, 3, 32, 32]).shape == [2, 3, 32, 32])
        #expect(edited.graph[edited.graph.outputs[0]].name == "logits")
        let operators = edited.graph.order.map { edited.graph[$0].op.type }
        #expect(!operators.contains("Gemm") && !operators.contains("GlobalAveragePool"))
        #expect(edited.graph.value(named: "fc.weight") == nil && edited.graph.value(named: "fc.bias") == nil)
        #expect(try edited.annotations().labels == ["a", "b", "c"])
        let head = try #require(try LayerTree(edited).head)
        #expect(head.kind == .pixel && head.classCount == 3 && head.featureCount == 8)
        let (before, after) = (
            try run(model, [1, 3, 32, 32], output: "stage3.out"), try run(edited, [1, 3, 32, 32], output: "stage3.out")
        )
        #expect(try before.isIdentical(to: after))
    }

    @Test func openSizesAreFollowedAtRunTime() throws {
        let edited = try checked(
            DenseHead.self, SmallNetworks.pyramid(side: nil), HeadOptions(classes: .count(5), place: "stage2.out"))
        #expect(try run(edited, [1, 3, 20, 28]).shape == [1, 5, 20, 28])
        #expect(try run(edited, [2, 3, 33, 17]).shape == [2, 5, 33, 17])
    }

    @Test func sizesThatAreNoMultipleAreMet() throws {
        let edited = try checked(DenseHead.self, SmallNetworks.pyramid(side: 30), HeadOptions(classes: .count(2)))
        #expect(try run(edited, [1, 3, 30, 30]).shape == [1, 2, 30, 30])
    }

    @Test(arguments: [32, nil]) func channelsLastStayLast(side: Int?) throws {
        let model = SmallNetworks.pyramid(side: side, isChannelsLast: true)
        let edited = try checked(DenseHead.self, model, HeadOptions(classes: .count(5)))
        #expect(try run(edited, [2, 32, 32, 3]).shape == [2, 32, 32, 5])
        let first = try checked(DenseHead.self, SmallNetworks.pyramid(side: side), HeadOptions(classes: .count(5)))
        // The same numbers in another order.
        let (last, front) = (
            try run(edited, [1, 32, 32, 3]).elements(as: Float.self).count,
            try run(first, [1, 3, 32, 32]).elements(as: Float.self).count
        )
        #expect(last == front)
    }

    @Test func optionsMakeTheirLayers() throws {
        var options = HeadOptions(classes: .count(3), place: "stage3.out")
        options.hidden = 7
        options.dropout = 0.25
        options.activation = .softmax
        let edited = try checked(DenseHead.self, SmallNetworks.pyramid(), options)
        #expect(try floats("head_hidden.weight", in: edited).count == 7 * 8 * 9)
        #expect(edited.graph.order.contains { edited.graph[$0].op.type == "Dropout" })
        let numbers = try run(edited, [1, 3, 32, 32]).elements(as: Float.self)
        for pixel in 0..<1024 {
            let sum: Float = numbers[pixel] + numbers[1024 + pixel] + numbers[2048 + pixel]
            #expect(abs(sum - 1) < 1e-5)
        }
    }

    @Test func aDenseHeadCanBeReplacedAgain() throws {
        let first = try checked(
            DenseHead.self, SmallNetworks.pyramid(side: nil), HeadOptions(classes: .count(5)))
        let second = try checked(HeadSwap.self, first, HeadOptions(classes: .count(2)))
        #expect(try run(second, [1, 3, 24, 24]).shape == [1, 2, 24, 24])
        #expect(try FeatureMaps(second).standard?.name == "stage3.out")
    }

    @Test func severalMapsAtTheEndAreForTheUserToChooseFrom() throws {
        var model = SmallNetworks.pyramid(ending: "map")
        let middle = try #require(model.graph.value(named: "stage2.out"))
        model.graph.addOutput(middle)
        let error = #expect(throws: HeadError.self) {
            try DenseHead.patch(for: model, HeadOptions(classes: .count(3)))
        }
        #expect(error?.description.contains("stage2.out") == true && error?.description.contains("stride 8") == true)
        let edited = try DenseHead.patch(for: model, HeadOptions(classes: .count(3), place: "stage3.out"))
        var changed = model
        try changed.apply(edited)
        #expect(changed.graph.outputs.count == 1)
    }

    @Test func whatCannotBeIsRefusedByName() throws {
        func text(_ model: Model, _ options: HeadOptions) -> String {
            do {
                _ = try DenseHead.patch(for: model, options)
                return ""
            } catch { return "\(error)" }
        }
        #expect(text(SmallNetworks.pyramid(), HeadOptions(classes: .count(2), place: "flatten")).contains("stage3.out"))
        #expect(text(SmallNetworks.pyramid(), HeadOptions(classes: .count(2), place: "stage9")).contains("stage9"))
        #expect(text(SmallNetworks.pyramid(opset: 9), HeadOptions(classes: .count(2))).contains("opset 11"))
        var keeping = HeadOptions(classes: .names(["a", "b"]))
        keeping.keepsNamedClasses = true
        #expect(text(SmallNetworks.pyramid(), keeping).contains("--keep"))
    }
}

@Suite struct AppendedHeadTests {
    private func shape(_ model: Model, _ input: [Int]) throws -> [Int]? {
        let plan = try Plan(model)
        return try Session(plan).run(["input": SmallNetworks.ramp(input)])[plan.outputs[0].name]?.shape
    }

    @Test(arguments: ["map", "vector"]) func aNetworkWithoutAClassifierGetsOne(ending: String) throws {
        for isChannelsLast in [false, true] {
            let model = SmallNetworks.pyramid(ending: ending, side: nil, isChannelsLast: isChannelsLast)
            #expect(!HeadFinder(model).hasLikelyHead)
            var options = HeadOptions(classes: .names(["a", "b", "c"]))
            options.preprocessing = ["anything": true]
            var edited = model
            try edited.apply(AppendedHead.patch(for: model, options))
            try Verifier.verify(edited)
            #expect(try shape(edited, isChannelsLast ? [2, 32, 32, 3] : [2, 3, 32, 32]) == [2, 3])
            let head = try #require(try LayerTree(edited).head)
            #expect(head.kind == .sample && head.classCount == 3 && head.featureCount == 8)
            #expect(try edited.annotations().preprocessing == ["anything": true])
            let pools = edited.graph.order.filter { edited.graph[$0].op.type == "GlobalAveragePool" }
            #expect(pools.count == 1)
            #expect(!edited.graph.order.contains { edited.graph[$0].name == "last" })
        }
    }

    @Test func aMapInTheMiddleCanBeTheEnd() throws {
        let model = SmallNetworks.pyramid()
        let edited = try checked(AppendedHead.self, model, HeadOptions(classes: .count(6), place: "stage2.out"))
        #expect(try shape(edited, [1, 3, 32, 32]) == [1, 6])
        #expect(edited.graph.value(named: "stage3.down.weight") == nil)
    }

    @Test func severalOutputsAreListedWithTheirShapes() throws {
        var model = SmallNetworks.pyramid(ending: "map")
        model.graph.addOutput(try #require(model.graph.value(named: "stage1.out")))
        let error = #expect(throws: HeadError.self) { try AppendedHead.place(in: model) }
        #expect(error?.description.contains("stage1.out [N, 4, 16, 16]") == true)
    }

    @Test func theEndOfABodyIsNoClassifier() {
        // A 1x1 convolution, a bounded activation, pooling: how MobileNet's body ends.
        var model = Model(opset: 17)
        var value = model.graph.addInput("input", type: .tensor(.float32, ["N", 3, 8, 8]))
        let weight = model.graph.addInitializer("conv.weight", SmallNetworks.ramp([12, 3, 1, 1]))
        value = model.graph.add("Conv", [value, weight], attributes: ["kernel_shape": .ints([1, 1])], name: "conv")
        value = model.graph.add("Clip", [value], name: "clip")
        value = model.graph.add("GlobalAveragePool", [value], name: "pool")
        model.graph.addOutput(model.graph.add("Flatten", [value], name: "flatten"))
        #expect(!HeadFinder(model).hasLikelyHead)
    }
}

import GraftCore
import GraftFormats
import GraftIR
import GraftSurgery
import GraftTestSupport
import Testing

@Suite struct DynamicBatchTests {
    private func model(
        _ shape: SymbolicShape, output: SymbolicShape, _ build: (inout Graph, ValueID) -> ValueID
    ) -> Model {
        var model = Model(opset: 17)
        let x = model.graph.addInput("x", type: .tensor(.float32, shape))
        let y = build(&model.graph, x)
        model.graph.rename(y, to: "y")
        model.graph[y].type = .tensor(.float32, output)
        model.graph.addOutput(y)
        return model
    }

    private func target(_ graph: inout Graph, _ extents: [Int]) -> ValueID {
        graph.addInitializer(graph.uniqueValueName("target"), Tensor(extents.map { Int64($0) }))
    }

    /// Runs the pass, and compares rows of a batch of two with single runs.
    private func proven(_ model: Model) throws -> Model {
        let edited = try checked(DynamicBatch.self, model, .init(symbol: "N"))
        #expect(edited.graph[edited.graph.inputs[0]].shape?[0].extent == .symbol("N"))
        #expect(edited.graph[edited.graph.outputs[0]].shape?[0].extent == .symbol("N"))
        #expect(try OutputParity.batch(model, edited, symbol: "N").largestRelativeDifference <= 1e-6)
        return edited
    }

    @Test(arguments: [
        ([1, 12], [0, 12]), ([1, -1], [0, -1]), ([-1, 12], [-1, 12]), ([0, -1], [0, -1]),
    ]) func targetsOfReshape(given: [Int], expected: [Int]) throws {
        let network = model([1, 3, 4], output: [1, 12]) { graph, x in
            graph.add("Reshape", [x, target(&graph, given)])
        }
        let edited = try proven(network)
        let node = try #require(edited.graph.order.last)
        let input = try #require(edited.graph[node].inputs[1])
        #expect(edited.graph.constantIntegers(of: input) == expected)
    }

    @Test func batchesOfSeveralInsideOtherAxes() throws {
        let network = model([4, 3, 2], output: [4, 6]) { graph, x in
            // [4, 3, 2] -> [3, 4, 2] -> [3, 8] -> [3, 4, 2] -> [4, 3, 2] -> [4, 6]
            let turned = graph.add("Transpose", [x], attributes: ["perm": .ints([1, 0, 2])])
            let flat = graph.add("Reshape", [turned, target(&graph, [3, 8])])
            let back = graph.add("Reshape", [flat, target(&graph, [3, 4, 2])])
            let again = graph.add("Transpose", [back], attributes: ["perm": .ints([1, 0, 2])])
            return graph.add("Reshape", [again, target(&graph, [4, 6])])
        }
        _ = try proven(network)
    }

    @Test func oneTokenForAllSamplesIsRepeated() throws {
        let network = model([1, 3, 4], output: [1, 4, 4]) { graph, x in
            let token = graph.addInitializer("token", SmallNetworks.ramp([1, 1, 4]))
            let joined = graph.add("Concat", [token, x], attributes: ["axis": .int(1)])
            return graph.add("Add", [joined, graph.addInitializer("position", SmallNetworks.ramp([1, 4, 4]))])
        }
        let edited = try proven(network)
        #expect(
            edited.graph.order.map { edited.graph[$0].op.type } == [
                "Shape", "Gather", "Concat", "Expand", "Concat", "Add",
            ])
    }

    @Test func equalRowsBecomeOne() throws {
        let row = SmallNetworks.ramp([1, 4])
        let twice = Tensor(try row.floats() + row.floats(), shape: [2, 4])
        let network = model([2, 4], output: [2, 4]) { graph, x in
            graph.add("Add", [x, graph.addInitializer("bias", twice)])
        }
        let edited = try proven(network)
        let kept = try #require(edited.graph.initializers.first)
        #expect(edited.graph[kept].tensor?.shape == [1, 4])
        let others = model([2, 4], output: [2, 4]) { graph, x in
            graph.add("Add", [x, graph.addInitializer("bias", SmallNetworks.ramp([2, 4]))], name: "sum")
        }
        let error = #expect(throws: DynamicBatchError.self) { try DynamicBatch.patch(for: others) }
        #expect(error?.description.contains("\"sum\"") == true)
    }

    @Test func sizesOfResizeFollow() throws {
        let network = model([1, 2, 3, 3], output: [1, 2, 6, 9]) { graph, x in
            graph.add("Resize", [x, nil, nil, target(&graph, [1, 2, 6, 9])])
        }
        _ = try proven(network)
    }

    @Test func whatCannotFollowIsNamed() throws {
        let squeezed = model([1, 5], output: [5]) { graph, x in
            graph.add("Squeeze", [x, target(&graph, [0])], name: "narrow")
        }
        let first = #expect(throws: DynamicBatchError.self) { try DynamicBatch.patch(for: squeezed) }
        #expect(first?.description.contains("\"narrow\"") == true)
        let reduced = model([1, 5], output: [1, 1]) { graph, x in
            graph.add("ReduceSum", [x, target(&graph, [0, 1])], name: "sum")
        }
        #expect(throws: DynamicBatchError.output(name: "y", shape: "[1, 1]")) {
            try DynamicBatch.patch(for: reduced)
        }
        #expect(throws: DynamicBatchError.nothingFixed) { try DynamicBatch.patch(for: SmallNetworks.residual()) }
        let typo = #expect(throws: DynamicBatchError.self) {
            try DynamicBatch.patch(for: squeezed, .init(inputs: ["y"]))
        }
        #expect(typo == .noSuchInput("y", suggestion: Suggestion.sentence("y", in: ["x"])))
    }

    @Test func networksWithAFixedBatch() throws {
        let network = SmallNetworks.reshapedMatrix()
        let edited = try checked(DynamicBatch.self, network, .init())
        #expect(try OutputParity.batch(network, edited, symbol: "batch").largestRelativeDifference <= 1e-6)
        let detector = SmallNetworks.twoHeads()
        let free = try checked(DynamicBatch.self, detector, .init())
        #expect(try OutputParity.batch(detector, free, symbol: "batch").largestRelativeDifference <= 1e-6)
    }
}

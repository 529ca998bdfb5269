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

    @Test func timeBeforeTheBatchIsJoinedAndSplitAgain() throws {
        let network = model([2, 3, 4], output: [2, 3, 4]) { graph, x in
            // Rows of all steps together, as recurrent and attention layers take them: [3, 2, 4] -> [6, 4] -> [3, 2, 4].
            let turned = graph.add("Transpose", [x], attributes: ["perm": .ints([1, 0, 2])])
            let rows = graph.add("Reshape", [turned, target(&graph, [6, 4])])
            let mixed = graph.add("MatMul", [rows, graph.addInitializer("w", SmallNetworks.ramp([4, 4]))])
            let back = graph.add("Reshape", [mixed, target(&graph, [3, 2, 4])])
            return graph.add("Transpose", [back], attributes: ["perm": .ints([1, 0, 2])])
        }
        _ = try proven(network)
    }

    @Test func rowsThatAreComputedWithoutTheBatch() throws {
        let network = model([2, 3], output: [2, 3]) { graph, x in
            let ids = graph.addInitializer("ids", Tensor([Int64(1), 0, 2, 1, 0, 2], shape: [2, 3]))
            let table = graph.addInitializer("table", SmallNetworks.ramp([3]))
            let wide = graph.add("Expand", [x, target(&graph, [2, 3])])
            return graph.add("Add", [wide, graph.add("Gather", [table, ids])])
        }
        let edited = try proven(network)
        #expect(edited.graph.order.map { edited.graph[$0].op.type } == ["Expand", "Gather", "Slice", "Add"])
    }

    @Test func statesThatTheGraphExpands() throws {
        let network = model([2, 3], output: [2, 3]) { graph, x in
            let count = graph.add("Gather", [graph.add("Shape", [x]), target(&graph, [0])])
            let extents = graph.add("Concat", [count, target(&graph, [3])], attributes: ["axis": .int(0)])
            let zeros = graph.addInitializer("zeros", Tensor([Float](repeating: 0.5, count: 6), shape: [2, 3]))
            return graph.add("Add", [x, graph.add("Expand", [zeros, extents])])
        }
        let edited = try proven(network)
        #expect(edited.graph.initializers.contains { edited.graph[$0].tensor?.shape == [1, 3] })
    }

    @Test func samplesThatAreCountedInStoredIndicesAreRefused() throws {
        let network = model([2, 3], output: [2, 3]) { graph, x in
            let flat = graph.add("Reshape", [x, target(&graph, [-1])])
            let places = graph.addInitializer("places", Tensor([Int64(0), 1, 2, 3, 4, 5], shape: [2, 3]))
            return graph.add("Add", [x, graph.add("Gather", [flat, places], name: "gather")], name: "sum")
        }
        let error = #expect(throws: DynamicBatchError.self) { try DynamicBatch.patch(for: network) }
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

    /// Attention as PyTorch exports it with its tokens first: heads join the batch, and leave it again.
    @Test func headsThatJoinABatchOfOne() throws {
        let network = model([1, 3, 4], output: [1, 3, 4]) { graph, x in
            let tokens = graph.add("Transpose", [x], attributes: ["perm": .ints([1, 0, 2])])
            let joined = graph.add("Reshape", [tokens, target(&graph, [3, 2, 2])])
            let heads = graph.add("Transpose", [joined], attributes: ["perm": .ints([1, 0, 2])])
            let apart = graph.add("Reshape", [heads, target(&graph, [1, 2, 3, 2])])
            let keys = graph.add("Transpose", [apart], attributes: ["perm": .ints([0, 1, 3, 2])])
            let weights = graph.add("Softmax", [graph.add("MatMul", [apart, keys])], attributes: ["axis": .int(-1)])
            let mixed = graph.add("MatMul", [weights, apart])
            let rows = graph.add("Transpose", [mixed], attributes: ["perm": .ints([2, 0, 1, 3])])
            let flat = graph.add("Reshape", [rows, target(&graph, [3, 4])])
            let dense = graph.add("MatMul", [flat, graph.addInitializer("w", SmallNetworks.ramp([4, 4]))])
            let back = graph.add("Reshape", [dense, target(&graph, [3, 1, 4])])
            return graph.add("Add", [x, graph.add("Transpose", [back], attributes: ["perm": .ints([1, 0, 2])])])
        }
        _ = try proven(network)
    }

    /// Rows of pictures as samples of a recurrent layer, and pictures again.
    @Test func rowsThatJoinABatchOfOne() throws {
        let network = model([1, 3, 5, 4], output: [1, 3, 5, 4]) { graph, x in
            let rows = graph.add("Reshape", [x, target(&graph, [3, 5, 4])])
            let turned = graph.add("Transpose", [rows], attributes: ["perm": .ints([1, 0, 2])])
            let back = graph.add("Transpose", [turned], attributes: ["perm": .ints([1, 0, 2])])
            let whole = graph.add("Reshape", [back, target(&graph, [1, 3, 5, 4])])
            return graph.add("Concat", [whole, x], attributes: ["axis": .int(2)], name: "both")
        }
        var wide = network
        wide.graph[wide.graph.outputs[0]].type = .tensor(.float32, [1, 3, 10, 4])
        _ = try proven(wide)
    }

    @Test(arguments: [1, 2])
    func aStateThatTheCallerGivesHasABatchToo(_ size: Int) throws {
        let network = model([Dimension(.fixed(size)), 3, 4], output: [3, 1, Dimension(.fixed(size)), 5]) { graph, x in
            let state = graph.addInput("state", type: .tensor(.float32, [1, Dimension(.fixed(size)), 5]))
            let steps = graph.add("Transpose", [x], attributes: ["perm": .ints([1, 0, 2])])
            let w = graph.addInitializer("w", SmallNetworks.ramp([1, 15, 4]))
            let r = graph.addInitializer("r", SmallNetworks.ramp([1, 15, 5]))
            return graph.add("GRU", [steps, w, r, nil, nil, state], attributes: ["hidden_size": .int(5)])
        }
        let edited = try checked(DynamicBatch.self, network, .init(symbol: "N"))
        #expect(edited.graph[edited.graph.inputs[1]].shape?.extents == [.fixed(1), .symbol("N"), .fixed(5)])
        #expect(try OutputParity.batch(network, edited, symbol: "N").largestRelativeDifference <= 1e-6)
        // Who names the inputs with a batch decides about all of them.
        if size > 1 {
            let error = #expect(throws: DynamicBatchError.self) {
                try DynamicBatch.patch(for: network, .init(symbol: "N", inputs: ["x"]))
            }
            #expect(error?.description.contains("\"state\"") == true)
        }
    }

    @Test func nodesThatComputeAcrossSamplesAreNamed() throws {
        let softmax = model([2, 3], output: [2, 3]) { graph, x in
            graph.add("Softmax", [x], attributes: ["axis": .int(0)], name: "across")
        }
        let product = model([2, 3], output: [3, 3]) { graph, x in
            graph.add("MatMul", [graph.add("Transpose", [x], attributes: ["perm": .ints([1, 0])]), x], name: "across")
        }
        // A picture without a batch, as detectors take: its first axis are the channels.
        let picture = model([3, 8, 8], output: [1, 2, 8, 8]) { graph, x in
            let sample = graph.add("Unsqueeze", [x, target(&graph, [0])])
            return graph.add(
                "Conv", [sample, graph.addInitializer("w", SmallNetworks.ramp([2, 3, 1, 1]))], name: "across")
        }
        for network in [softmax, product, picture] {
            let error = #expect(throws: DynamicBatchError.self) { try DynamicBatch.patch(for: network) }
            #expect(error?.description.contains("\"across\"") == true)
        }
    }

    @Test func whatFitsOnlyTheOldSizeIsNamed() throws {
        // A mask of as many rows as there are samples, put together from what follows from a shape.
        let network = model([2, 3], output: [2, 3]) { graph, x in
            let twice = graph.add("Tile", [x, target(&graph, [2, 1])], name: "tile")
            let part = graph.add("Slice", [twice, target(&graph, [0]), target(&graph, [2]), target(&graph, [0])])
            return graph.add("Add", [x, part], name: "sum")
        }
        let error = #expect(throws: DynamicBatchError.self) { try DynamicBatch.patch(for: network) }
        #expect(error?.description.contains("\"sum\"") == true)
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

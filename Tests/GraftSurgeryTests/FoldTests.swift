import GraftCore
import GraftIR
import GraftSurgery
import GraftTestSupport
import Testing

@Suite struct FoldTests {
    private func norm(_ graph: inout Graph, _ x: ValueID, _ channels: Int) -> ValueID {
        let parts = (0..<4).map { part -> ValueID in
            let numbers = (0..<channels).map { 0.5 + Float(($0 * 7 + part * 3) % 5) / 4 }
            return graph.addInitializer(graph.uniqueValueName("bn.\(part)"), Tensor(numbers, shape: [channels]))
        }
        return graph.add("BatchNormalization", [x] + parts, attributes: ["epsilon": .float(0.01)])
    }

    private func model(_ shape: SymbolicShape, _ build: (inout Graph, ValueID) -> ValueID) -> Model {
        var model = Model(opset: 17)
        let x = model.graph.addInput("x", type: .tensor(.float32, shape))
        let y = build(&model.graph, x)
        model.graph.rename(y, to: "y")
        model.graph[y].type = .tensor(.float32)
        model.graph.addOutput(y)
        return model
    }

    private func operators(_ model: Model) -> [String] { model.graph.order.map { model.graph[$0].op.type } }

    @Test func everyNormalizationOfANetworkGoes() throws {
        let network = SmallNetworks.residual()
        let edited = try checked(Fold.self, network, .init())
        #expect(!operators(edited).contains("BatchNormalization"))
        #expect(edited.graph.nodeCount == network.graph.nodeCount - 9)
        #expect(try difference(network, edited) <= 1e-5)
        for id in edited.graph.initializers { #expect(!edited.graph[id].uses.isEmpty) }
        let fc = try #require(network.graph.value(named: "fc.weight"))
        #expect(edited.graph[fc] == network.graph[fc])
    }

    @Test(arguments: [1, 2]) func groupsAndBiasesOfConvolutions(groups: Int) throws {
        for transposed in [false, true] {
            let network = model([2, 4, 5, 5]) { graph, x in
                let shape = transposed ? [4, 6 / groups, 3, 3] : [6, 4 / groups, 3, 3]
                let weight = graph.addInitializer("w", SmallNetworks.ramp(shape))
                let bias = graph.addInitializer("b", SmallNetworks.ramp([6], from: 1))
                let made = graph.add(
                    transposed ? "ConvTranspose" : "Conv", [x, weight, bias],
                    attributes: ["group": .int(groups), "pads": .ints([1, 1, 1, 1])])
                return norm(&graph, made, 6)
            }
            let edited = try checked(Fold.self, network, .init())
            #expect(operators(edited) == [transposed ? "ConvTranspose" : "Conv"])
            #expect(try difference(network, edited) <= 1e-5)
        }
    }

    @Test(arguments: [false, true]) func matrixProducts(transposed: Bool) throws {
        let network = model([3, 4]) { graph, x in
            let weight = graph.addInitializer("w", SmallNetworks.ramp(transposed ? [5, 4] : [4, 5]))
            let bias = graph.addInitializer("b", SmallNetworks.ramp([1, 5]))
            let made = graph.add(
                "Gemm", [x, weight, bias],
                attributes: ["transB": .int(transposed ? 1 : 0), "alpha": .float(0.5), "beta": .float(2)])
            return norm(&graph, made, 5)
        }
        let edited = try checked(Fold.self, network, .init())
        #expect(operators(edited) == ["Gemm"])
        #expect(try difference(network, edited) <= 1e-5)
    }

    @Test func beforeAConvolutionOnlyWithoutPadding() throws {
        for (pads, expected) in [([0, 0, 0, 0], ["Conv"]), ([1, 1, 1, 1], ["BatchNormalization", "Conv"])] {
            let network = model([2, 4, 5, 5]) { graph, x in
                let weight = graph.addInitializer("w", SmallNetworks.ramp([6, 2, 3, 3]))
                return graph.add(
                    "Conv", [norm(&graph, x, 4), weight], attributes: ["group": .int(2), "pads": .ints(pads)])
            }
            let edited = try checked(Fold.self, network, .init())
            #expect(operators(edited) == expected)
            #expect(try difference(network, edited) <= 1e-5)
        }
    }

    @Test func sharedWeightsAndReadersInBetweenAreRespected() throws {
        let shared = model([2, 4, 5, 5]) { graph, x in
            let weight = graph.addInitializer("w", SmallNetworks.ramp([4, 4, 1, 1]))
            let first = norm(&graph, graph.add("Conv", [x, weight]), 4)
            return graph.add("Conv", [graph.add("Relu", [first]), weight])
        }
        let edited = try checked(Fold.self, shared, .init())
        #expect(operators(edited) == ["Conv", "Relu", "Conv"])
        #expect(try difference(shared, edited) <= 1e-5)
        #expect(try floats("w", in: edited) == floats("w", in: shared))
        let read = model([2, 4, 5, 5]) { graph, x in
            let made = graph.add("Conv", [x, graph.addInitializer("w", SmallNetworks.ramp([4, 4, 1, 1]))])
            return graph.add("Add", [made, norm(&graph, made, 4)])
        }
        #expect(try Fold.patch(for: read, .init()).isEmpty)
    }

    @Test func normalizationThatTrainsStays() throws {
        let network = model([2, 4, 5, 5]) { graph, x in
            let made = graph.add("Conv", [x, graph.addInitializer("w", SmallNetworks.ramp([4, 4, 1, 1]))])
            let normal = norm(&graph, made, 4)
            if let node = graph[normal].producer { graph.setAttribute("training_mode", of: node, to: .int(1)) }
            return normal
        }
        #expect(try Fold.patch(for: network, .init()).isEmpty)
    }

    @Test func shapesAndIdentitiesGoWhenAsked() throws {
        let network = model([2, 4, 5, 5]) { graph, x in
            let same = graph.add("Identity", [graph.add("Relu", [x])])
            let extents = graph.add("Shape", [same])
            let two = graph.addInitializer("two", Tensor([Int64(0), 1]))
            let lead = graph.add("Gather", [extents, two])
            let rest = graph.add("Constant", [], attributes: ["value": .tensor(Tensor([Int64(-1)]))])
            let target = graph.add("Concat", [lead, rest], attributes: ["axis": .int(0)])
            let flat = graph.add("Reshape", [graph.add("Dropout", [same]), target])
            return graph.add("Identity", [flat])
        }
        #expect(try Fold.patch(for: network, .init()).isEmpty)
        let edited = try checked(Fold.self, network, .init(constants: true, identities: true))
        #expect(operators(edited) == ["Relu", "Reshape"])
        #expect(try difference(network, edited) == 0)
    }

    @Test func aDefaultThatACallerMayReplaceIsNoConstant() throws {
        var network = model([2, 6]) { graph, x in
            let target = graph.addInitializer("target", Tensor([Int64(3), 4]))
            return graph.add("Reshape", [x, graph.add("Concat", [target], attributes: ["axis": .int(0)])])
        }
        let target = try #require(network.graph.value(named: "target"))
        let folded = try checked(Fold.self, network, .init(constants: true))
        #expect(operators(folded) == ["Reshape"])
        network.graph.makeInput(target)
        #expect(try Fold.patch(for: network, .init(constants: true)).isEmpty)
    }
}

import GraftCore
import GraftIR
import GraftSurgery
import GraftTestSupport
import Testing

@Suite struct CleaningTests {
    @Test func constantWeightsBecomeStoredTensors() throws {
        let model = SmallNetworks.constants()
        let edited = try checked(ConstantsToInitializers.self, model, .parameters)
        #expect(!edited.graph.order.contains { edited.graph[$0].op.isONNX("Constant") })
        for name in ["conv1_weights", "fc_0.w_0", "fc_0.b_0"] {
            #expect(try floats(name, in: edited) == floats(name, in: model))
            #expect(edited.graph[try #require(edited.graph.value(named: name))].isInitializer)
        }
        let tree = try LayerTree(edited)
        #expect(tree.parameters.count == 3)
    }

    @Test func onlyParametersMoveUnlessAllAreAskedFor() throws {
        var model = SmallNetworks.constants()
        let input = model.graph.inputs[0]
        let three = model.graph.add(
            "Constant", [], attributes: ["value_float": .float(3)], name: "three", output: "three", at: 0)
        let first = try #require(model.graph.order.first { model.graph[$0].op.isONNX("Conv") })
        let sum = model.graph.add("Add", [input, three], name: "shift", at: 1)
        model.graph.setInput(0, of: first, to: sum)
        let some = try checked(ConstantsToInitializers.self, model, .parameters)
        #expect(some.graph.node(named: "three") != nil)
        let all = try checked(ConstantsToInitializers.self, model, .all)
        #expect(all.graph.node(named: "three") == nil)
        #expect(try floats("three", in: all) == [3])
    }

    @Test func oldFilesListStoredTensorsAsInputs() throws {
        var model = SmallNetworks.constants()
        model.irVersion = 3
        let edited = try checked(ConstantsToInitializers.self, model, .parameters)
        #expect(edited.graph.inputs.count == 4)
    }

    @Test func deadNodesAndTensorsGo() throws {
        var model = SmallNetworks.residual()
        let input = model.graph.inputs[0]
        let weight = model.graph.addInitializer("unused.weight", SmallNetworks.ramp([2, 3, 1, 1]))
        let dead = model.graph.add("Conv", [input, weight], name: "dead")
        model.graph.add("Relu", [dead], name: "dead too")
        let edited = try checked(DeadCode.self, model, .init())
        #expect(edited.graph.node(named: "dead") == nil && edited.graph.node(named: "dead too") == nil)
        #expect(edited.graph.value(named: "unused.weight") == nil)
        #expect(edited.graph.nodeCount == SmallNetworks.residual().graph.nodeCount)
        let kept = try checked(DeadCode.self, model, .init(removesTensors: false))
        #expect(kept.graph.value(named: "unused.weight") != nil)
        let clean = SmallNetworks.residual()
        #expect(try DeadCode.patch(for: clean, .init()).isEmpty)
    }

    @Test func whatABodyCapturesIsAlive() throws {
        var model = SmallNetworks.residual()
        let input = model.graph.inputs[0]
        let captured = model.graph.add("Neg", [input], name: "captured", output: "captured")
        let condition = model.graph.addInput("condition", type: .tensor(.bool, []))
        var body = Graph(name: "branch")
        let inner = body.addValue("captured")
        body.makeCapture(inner, of: captured)
        body.addOutput(body.add("Abs", [inner]))
        model.graph.addOutput(
            model.graph.add("If", [condition], attributes: ["then_branch": .graph(body), "else_branch": .graph(body)]))
        let edited = try checked(DeadCode.self, model, .init())
        #expect(edited.graph.node(named: "captured") != nil)
    }
}

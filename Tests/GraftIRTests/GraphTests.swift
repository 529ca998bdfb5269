import GraftCore
import GraftIR
import Testing

/// A model of one convolution and one activation.
func smallModel() -> Model {
    var model = Model()
    let x = model.graph.addInput("x", type: .tensor(.float32, ["N", 3, 8, 8]))
    let w = model.graph.addInitializer("conv.weight", Tensor([Float](repeating: 0.5, count: 24), shape: [8, 3, 1, 1]))
    let y = model.graph.add("Conv", [x, w], name: "conv")
    let z = model.graph.add("Relu", [y], name: "relu", output: "z")
    model.graph.addOutput(z)
    return model
}

@Suite struct GraphTests {
    @Test func editingKeepsUseListsRight() throws {
        var model = smallModel()
        let graph = model.graph
        let conv = try #require(graph.node(named: "conv"))
        let relu = try #require(graph.node(named: "relu"))
        let y = try #require(graph[conv].outputs[0])
        #expect(graph[y].uses == [.node(relu, input: 0)])
        let bypass = model.graph.add("Identity", [y], at: 1)
        model.graph.setInput(0, of: relu, to: bypass)
        try Verifier.verify(model)
        #expect(graph.nodeCount == 2, "a copy is not changed")
        model.graph.replaceUses(of: bypass, with: y)
        model.graph.removeNode(try #require(model.graph[bypass].producer))
        model.graph.removeValue(bypass)
        try Verifier.verify(model)
    }

    @Test func verifierNamesAValueThatIsReadBeforeItIsMade() throws {
        var model = smallModel()
        model.graph.setOrder(model.graph.order.reversed())
        #expect(throws: VerificationError.self) { try Verifier.verify(model) }
    }

    @Test func capturesAreEdgesAndFollowRenames() throws {
        var model = smallModel()
        let z = try #require(model.graph.value(named: "z"))
        var body = Graph(name: "then")
        let inner = body.addValue("z")
        body.makeCapture(inner, of: z)
        body.addOutput(body.add("Neg", [inner]))
        let condition = model.graph.addInput("condition", type: .tensor(.bool, []))
        let result = model.graph.add(
            "If", [condition], attributes: ["then_branch": .graph(body), "else_branch": .graph(body)])
        model.graph.addOutput(result)
        try Verifier.verify(model)
        #expect(model.graph[z].uses.count == 3)
        model.graph.rename(z, to: "renamed")
        try Verifier.verify(model)
        let node = try #require(model.graph[result].producer)
        #expect(model.graph[node].attributes.graph("then_branch")?.value(named: "renamed") != nil)
    }

    @Test func aPatchAppliesWholeAndUndoes() throws {
        let model = smallModel()
        let patch = try Patch.recording("test", on: model) { model in
            let z = try #require(model.graph.value(named: "z"))
            let w = model.graph.addInitializer("extra", Tensor([Float](repeating: 1, count: 1), shape: [1]))
            model.graph.setOutputs([model.graph.add("Mul", [z, w], name: "scale")])
            model.metadata["graft.note"] = "x"
        }
        var edited = model
        try edited.apply(patch)
        #expect(edited != model)
        #expect(edited.graph.node(named: "scale") != nil)
        #expect(patch.description.contains("+ node scale (Mul)"))
        #expect(patch.description.contains("+ tensor extra float [1]"))
        try edited.apply(patch.inverse)
        try Verifier.verify(edited)
        #expect(edited.graph.order == model.graph.order)
        #expect(edited.graph.value(named: "extra") == nil)
        #expect(throws: PatchError.self) { try edited.apply(patch.inverse) }
    }
}

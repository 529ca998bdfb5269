import GraftCore
import GraftFormats
import GraftIR
import GraftRuntime
import GraftSurgery
import GraftTestSupport
import Testing

@Suite struct ExtractTests {
    @Test func thePartAnswersLikeTheWhole() throws {
        let model = SmallNetworks.residual()
        let middle = "/layer1/layer1.0/Add_output"
        let end = "/layer2/layer2.0/Relu_1_output"
        let part = try checked(
            Extract.self, model, .init(inputs: [middle], outputs: [end, "logits"]), keepsOutputs: false)
        #expect(part.graph.inputs.map { part.graph[$0].name } == [middle])
        #expect(part.graph.outputs.map { part.graph[$0].name } == [end, "logits"])
        #expect(part.graph.value(named: "conv1.weight") == nil && part.graph.value(named: "fc.weight") != nil)
        #expect(part.graph[part.graph.inputs[0]].type?.elementType == .float32)
        var options = PlanOptions()
        options.outputs = [middle, end, "logits"].compactMap { model.graph.value(named: $0) }
        let whole = try Session(Plan(model, options: options)).run(ProbeInputs.make(for: model))
        let given = try #require(whole[middle])
        let own = try Session(Plan(part)).run([middle: given])
        for name in [end, "logits"] {
            let (a, b) = (try #require(whole[name]), try #require(own[name]))
            #expect(try ArrayComparison(a, b).relativeDifference <= 1e-6)
        }
    }

    @Test func whatIsLeftOutIsTheModelsOwn() throws {
        let model = SmallNetworks.residual()
        let features = try checked(
            Extract.self, model, .init(outputs: ["/avgpool/GlobalAveragePool_output"]), keepsOutputs: false)
        #expect(features.graph.inputs.map { features.graph[$0].name } == ["input"])
        #expect(features.graph.node(named: "/fc/Gemm") == nil)
        #expect(features.graph.nodeCount == model.graph.nodeCount - 2)
    }

    @Test func moreInputsThanGivenAreNamed() throws {
        let model = SmallNetworks.residual()
        let error = #expect(throws: ExtractError.self) {
            try Extract.patch(
                for: model, .init(inputs: ["/layer1/layer1.0/Relu_output"], outputs: ["logits"]))
        }
        #expect(error == .unreachable(outputs: ["logits"], needed: ["input"]))
    }

    @Test func anInputThatNothingReadsIsRefused() throws {
        let error = #expect(throws: ExtractError.self) {
            try Extract.patch(
                for: SmallNetworks.residual(), .init(inputs: ["logits", "input"], outputs: ["/relu/Relu_output"]))
        }
        #expect(error == .unused(input: "logits", outputs: ["/relu/Relu_output"]))
    }

    @Test func namesThatAreNotThereGetNearMisses() throws {
        let error = #expect(throws: ExtractError.self) {
            try Extract.patch(for: SmallNetworks.residual(), .init(outputs: ["logit"]))
        }
        #expect(error?.description.contains("logits") == true)
        #expect(throws: ExtractError.stored(name: "fc.weight")) {
            try Extract.patch(for: SmallNetworks.residual(), .init(inputs: ["fc.weight"], outputs: ["logits"]))
        }
    }

    @Test func capturesAndFunctionsComeAlong() throws {
        var model = Model(opset: 17)
        let x = model.graph.addInput("x", type: .tensor(.float32, [2, 3]))
        let condition = model.graph.addInput("condition", type: .tensor(.bool, []))
        let idle = model.graph.addInput("idle", type: .tensor(.float32, [2, 3]))
        let captured = model.graph.add("Neg", [x], name: "captured", output: "captured")
        var innermost = Graph(name: "innermost")
        let deep = innermost.addValue("captured")
        var body = Graph(name: "branch")
        let outer = body.addValue("captured")
        body.makeCapture(outer, of: captured)
        innermost.makeCapture(deep, of: outer)
        innermost.addOutput(innermost.add("Abs", [deep]))
        let flag = body.add("Constant", [], attributes: ["value": .tensor(Tensor([true], shape: []))])
        body.addOutput(
            body.add("If", [flag], attributes: ["then_branch": .graph(innermost), "else_branch": .graph(innermost)]))
        let chosen = model.graph.add(
            "If", [condition], attributes: ["then_branch": .graph(body), "else_branch": .graph(body)], output: "chosen",
            type: .tensor(.float32, [2, 3]))
        func function(_ name: String) -> Function {
            var inner = Graph(name: "")
            let argument = inner.addInput("a", type: nil)
            inner.addOutput(inner.add("Relu", [argument]))
            return Function(
                OperatorName(name, domain: "local"), body: inner, opsets: [OpsetImport(version: 17)])
        }
        model.functions = [function("Used"), function("Unused")]
        model.importOpset("local", version: 1)
        model.graph.addOutput(
            model.graph.add(
                OperatorName("Used", domain: "local"), [chosen], output: "y", type: .tensor(.float32, [2, 3])))
        model.graph.addOutput(
            model.graph.add(OperatorName("Unused", domain: "local"), [idle], output: "z"))
        let part = try checked(
            Extract.self, model, .init(inputs: ["x", "condition"], outputs: ["y"]), keepsOutputs: false)
        #expect(part.graph.node(named: "captured") != nil)
        #expect(part.functions.map(\.name.type) == ["Used"])
        #expect(part.graph.value(named: "idle") == nil)
        // Cut at the captured value, its maker goes.
        let cut = try checked(
            Extract.self, model, .init(inputs: ["captured", "condition"], outputs: ["y"]), keepsOutputs: false)
        #expect(cut.graph.node(named: "captured") == nil && cut.graph.inputs.count == 2)
    }
}

import GraftCore
import GraftFormats
import GraftIR
import GraftRuntime
import GraftSurgery
import GraftTestSupport
import Testing

@Suite struct MergeTests {
    /// A small model that scales rows of four numbers.
    private func scaling(opset: Int = 17, width: Int = 4, by axis: Int = 1) -> Model {
        var model = Model(opset: opset)
        let x = model.graph.addInput("scores", type: .tensor(.float32, ["rows", Dimension(.fixed(width))]))
        let weight = model.graph.addInitializer("fc.weight", SmallNetworks.ramp([width, 3]))
        let product = model.graph.add("MatMul", [x, weight], name: "/fc/Gemm", output: "product")
        let soft = model.graph.add(
            "Softmax", [product], attributes: ["axis": .int(axis)], output: "shares",
            type: .tensor(.float32, ["rows", 3])
        )
        model.graph.addOutput(soft)
        model.metadata["author"] = "second"
        return model
    }

    private func answers(_ first: Model, _ second: Model, _ whole: Model) throws -> Double {
        let given = try ProbeInputs.make(for: first)
        let middle = try #require(Session(Plan(first)).run(given)["logits"])
        let expected = try #require(Session(Plan(second)).run(["scores": middle])["shares"])
        let name = whole.graph[try #require(whole.graph.outputs.last)].name
        let actual = try #require(Session(Plan(whole)).run(given)[name])
        return try ArrayComparison(expected, actual).relativeDifference
    }

    @Test func theWholeAnswersLikeTheTwo() throws {
        let (first, second) = (SmallNetworks.residual(), scaling())
        let whole = try checked(
            Merge.self, first, .init(second, map: [("logits", "scores")], prefix: "b/"), keepsOutputs: false)
        #expect(whole.graph.outputs.map { whole.graph[$0].name } == ["shares"])
        #expect(whole.graph.value(named: "b/fc.weight") != nil && whole.graph.node(named: "b//fc/Gemm") != nil)
        #expect(whole.graph[whole.graph.outputs[0]].shape == ["N", 3])
        #expect(try answers(first, second, whole) <= 1e-6)
        // What the first says stays.
        for id in first.graph.initializers { #expect(whole.graph[id].initializer == first.graph[id].initializer) }
        #expect(whole.metadata["author"] == "second")
    }

    @Test func theOlderModelIsConverted() throws {
        let (first, second) = (SmallNetworks.residual(), scaling(opset: 11))
        let whole = try checked(
            Merge.self, first, .init(second, map: [("logits", "scores")], prefix: "b/"), keepsOutputs: false)
        #expect(whole.opset() == 17)
        #expect(try answers(first, second, whole) <= 1e-6)
        let other = try checked(
            Merge.self, SmallNetworks.residual(), .init(scaling(opset: 20), prefix: "b/"), keepsOutputs: false)
        #expect(other.opset() == 20)
    }

    @Test func clashesAreNamed() throws {
        let error = #expect(throws: MergeError.self) {
            try Merge.patch(for: SmallNetworks.residual(), .init(scaling()))
        }
        #expect(error == .clashes(["fc.weight"]))
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let error = #expect(throws: MergeError.self) {
            try Merge.patch(for: SmallNetworks.residual(), .init(scaling(width: 5), prefix: "b/"))
        }
        #expect(error?.description.contains("[N, 4]") == true)
        let typo = #expect(throws: MergeError.self) {
            try Merge.patch(
                for: SmallNetworks.residual(), .init(scaling(), map: [("logit", "scores")], prefix: "b/"))
        }
        #expect(typo?.description.contains("\"logits\"") == true)
    }

    @Test func functionsOfOneNameBothStay() throws {
        func model(_ op: OperatorName, input: String, output: String) -> Model {
            var body = Graph(name: "")
            let argument = body.addInput("a", type: nil)
            body.addOutput(body.add(op, [argument]))
            var model = Model(opset: 17)
            model.functions = [
                Function(OperatorName("Act", domain: "local"), body: body, opsets: [OpsetImport(version: 17)])
            ]
            model.importOpset("local", version: 1)
            let x = model.graph.addInput(input, type: .tensor(.float32, [2]))
            model.graph.addOutput(
                model.graph.add(OperatorName("Act", domain: "local"), [x], output: output, type: .tensor(.float32, [2]))
            )
            return model
        }
        let (first, second) = (model("Relu", input: "x", output: "y"), model("Neg", input: "u", output: "v"))
        let whole = try checked(Merge.self, first, .init(second, prefix: "second_"), keepsOutputs: false)
        #expect(whole.functions.map(\.name.type) == ["Act", "second_Act"])
        #expect(whole.graph.order.map { whole.graph[$0].op.type } == ["Act", "second_Act"])
        let same = try checked(
            Merge.self, first, .init(model("Relu", input: "u", output: "v"), prefix: nil), keepsOutputs: false)
        #expect(same.functions.count == 1)
    }
}

import GraftCore
import GraftIR
import GraftSurgery
import GraftTestSupport
import OrderedCollections
import Testing

@Suite struct RenameTests {
    private func names(_ model: Model) -> Set<String> { Set(model.graph.values.map { model.graph[$0].name }) }

    @Test func inputsOutputsAndExtentsGetOtherNames() throws {
        let model = SmallNetworks.residual()
        let edited = try checked(
            Rename.self, model,
            .init([.init("input", to: "image"), .init("logits", to: "scores"), .init("N", to: "batch")]),
            keepsOutputs: false)
        #expect(edited.graph[edited.graph.inputs[0]].name == "image")
        #expect(edited.graph[edited.graph.inputs[0]].shape == ["batch", 3, 16, 16])
        #expect(edited.graph[edited.graph.outputs[0]].name == "scores")
        for id in model.graph.initializers { #expect(edited.graph[id] == model.graph[id]) }
    }

    @Test func patternsHaveGroups() throws {
        let edited = try checked(
            Rename.self, SmallNetworks.residual(),
            .init([.init("^layer(\\d)\\.(\\d)", to: "stage$1_$2")], isRegex: true))
        #expect(names(edited).contains("stage2_1.conv1.weight") && !names(edited).contains("layer2.1.conv1.weight"))
    }

    @Test func namesMayBeExchanged() throws {
        let model = SmallNetworks.residual()
        let edited = try checked(
            Rename.self, model, .init([.init("bn1.weight", to: "bn1.bias"), .init("bn1.bias", to: "bn1.weight")]))
        #expect(try floats("bn1.weight", in: edited) == floats("bn1.bias", in: model))
    }

    @Test func annotationsFollow() throws {
        let frozen = try checked(
            Freeze.self, SmallNetworks.residual(), .only(try Selector.parse("conv1")))
        let edited = try checked(Rename.self, frozen, .init([.init("conv1.weight", to: "stem.weight")]))
        #expect(try edited.annotations().frozen == ["stem.weight"])
    }

    @Test func whatANodeNamesFollows() throws {
        var model = Model(opset: 17)
        model.importOpset("ai.onnx.preview.training", version: 1)
        let x = model.graph.addInput("x", type: .tensor(.float32, [2]))
        let w = model.graph.addInput("w", type: .tensor(.float32, [2]))
        model.graph.addOutput(model.graph.add("Mul", [x, w], output: "y"))
        let slope = model.graph.addValue("slope")
        model.graph.addNode(
            OperatorName("Gradient", domain: "ai.onnx.preview.training"), name: "gradient", inputs: [x, w],
            outputs: [slope],
            attributes: ["xs": .strings([Array("x".utf8)]), "zs": .strings([Array("w".utf8)]), "y": .string("y")])
        model.graph.addOutput(slope)
        let edited = try checked(
            Rename.self, model, .init([.init("x", to: "w"), .init("w", to: "x"), .init("y", to: "z")]),
            keepsOutputs: false)
        let node = try #require(edited.graph.node(named: "gradient"))
        #expect(edited.graph[node].attributes.strings("xs") == ["w"])
        #expect(edited.graph[node].attributes.strings("zs") == ["x"])
        #expect(edited.graph[node].attributes.string("y") == "z")
    }

    @Test func bodiesAreReached() throws {
        var model = Model(opset: 17)
        let x = model.graph.addInput("x", type: .tensor(.float32, ["n"]))
        let condition = model.graph.addInput("condition", type: .tensor(.bool, []))
        var body = Graph(name: "branch")
        let inner = body.addValue("x")
        body.makeCapture(inner, of: x)
        body.addOutput(body.add("Abs", [inner], name: "deep", output: "made", type: .tensor(.float32, ["n"])))
        model.graph.addOutput(
            model.graph.add(
                "If", [condition], attributes: ["then_branch": .graph(body), "else_branch": .graph(body)], name: "if"))
        let edited = try checked(
            Rename.self, model,
            .init(["x": "image", "made": "result", "deep": "deeper", "n": "rows"].map { .init($0.key, to: $0.value) }),
            keepsOutputs: false)
        let node = try #require(edited.graph.node(named: "if"))
        for branch in edited.graph.bodies(of: node) {
            #expect(branch.graph.value(named: "image") != nil && branch.graph.value(named: "x") == nil)
            let result = try #require(branch.graph.value(named: "result"))
            #expect(branch.graph[result].shape == ["rows"] && branch.graph.node(named: "deeper") != nil)
        }
    }

    @Test func clashesAndTyposAreRefused() throws {
        let model = SmallNetworks.residual()
        #expect(throws: RenameError.clash(first: "input", second: "logits", name: "logits")) {
            try Rename.patch(for: model, .init([.init("input", to: "logits")]))
        }
        let typo = #expect(throws: RenameError.self) {
            try Rename.patch(for: model, .init([.init("logit", to: "scores")]))
        }
        #expect(typo?.description.contains("logits") == true)
        #expect(throws: RenameError.self) { try Rename.patch(for: model, .init([.init("(", to: "x")], isRegex: true)) }
        // A name of another kind than asked for is not there.
        #expect(throws: RenameError.self) {
            try Rename.patch(for: model, .init([.init("input", to: "x")], kinds: [.nodes, .dimensions]))
        }
    }
}

import GraftCore
import GraftIR
import GraftTestSupport
import Testing

@Suite struct LayerHeadTests {
    @Test func classifiersOfAllStylesAreFound() throws {
        let expected: [(Model, node: String, features: Int, classes: Int, HeadCandidate.Kind)] = [
            (SmallNetworks.residual(), "/fc/Gemm", 8, 4, .sample),
            (SmallNetworks.residual(activation: "Softmax"), "/fc/Gemm", 8, 4, .sample),
            (SmallNetworks.residual(activation: "Sigmoid"), "/fc/Gemm", 8, 4, .sample),
            (SmallNetworks.keras(), "conv_preds", 6, 5, .sample),
            (SmallNetworks.constants(), "MatMul_0", 5, 2, .sample),
            (SmallNetworks.reshapedMatrix(), "Times212", 18, 10, .sample),
            (SmallNetworks.segmentation(), "/classifier/Conv", 6, 21, .pixel),
        ]
        for (model, node, features, classes, kind) in expected {
            let head = try HeadFinder(model).head()
            #expect(model.graph[head.node].name == node)
            #expect(head.featureCount == features && head.classCount == classes && head.kind == kind)
            #expect(head.reason.contains("\(features) features") && head.reason.contains("\(classes) outputs"))
        }
        let squeeze = SmallNetworks.convolutionBeforePooling()
        let head = try HeadFinder(squeeze).head()
        #expect(squeeze.graph[head.node].op.isONNX("Conv") && head.classCount == 6 && head.kind == .sample)
        #expect(head.activation != nil && head.biasNode == nil)
    }

    @Test func theBiasNodeAndTheTailBelongToTheHead() throws {
        let model = SmallNetworks.constants()
        let head = try HeadFinder(model).head()
        #expect(head.biasNode == model.graph.node(named: "Add_0"))
        #expect(head.tail == [try #require(model.graph.node(named: "Softmax_0"))])
        #expect(model.graph[head.features].producer == model.graph.node(named: "Flatten_0"))
    }

    @Test func severalPlacesAreListedAndOneCanBeChosen() throws {
        let model = SmallNetworks.twoHeads()
        let error = #expect(throws: HeadError.self) { try HeadFinder(model).head() }
        #expect(error?.description.contains("Conv_cls") == true && error?.description.contains("Conv_reg") == true)
        #expect(error?.description.contains("--at") == true)
        for place in ["Conv_cls", "head.cls", "head.cls.weight"] {
            let head = try HeadFinder(model).head(at: place)
            #expect(model.graph[head.node].name == "Conv_cls")
        }
        #expect(throws: SelectorError.self) { try LayerTree(model).select("@last:99") }
        #expect(throws: HeadError.self) { try LayerTree(model).select("@head") }
    }

    @Test func wrongPlacesAreRefusedWithReasons() throws {
        let finder = HeadFinder(SmallNetworks.residual())
        let typo = #expect(throws: HeadError.self) { try finder.head(at: "/fc/Gemn") }
        #expect(typo?.description.contains("Did you mean \"/fc/Gemm\"") == true)
        let pool = #expect(throws: HeadError.self) { try finder.head(at: "/avgpool/GlobalAveragePool") }
        #expect(pool?.description.contains("cannot be the head") == true)
    }

    @Test func aNetworkThatEndsInPictureIsNoClassifier() throws {
        var model = Model(opset: 13)
        let input = model.graph.addInput("x", type: .tensor(.float32, [1, 1, 8, 8]))
        let weight = model.graph.addInitializer("conv.weight", SmallNetworks.ramp([4, 1, 3, 3]))
        let map = model.graph.add("Conv", [input, weight], name: "conv")
        model.graph.addOutput(
            model.graph.add("DepthToSpace", [map], attributes: ["blocksize": .int(2)], name: "shuffle"))
        let error = #expect(throws: HeadError.self) { try HeadFinder(model).head() }
        #expect(error?.description.contains("shuffle") == true)
    }

    @Test func theMarkerInTheFileDecides() throws {
        var model = SmallNetworks.twoHeads()
        let node = try #require(model.graph.node(named: "Conv_reg"))
        let graph = model.graph
        try model.updateAnnotations {
            $0.head = HeadMarker(
                node: "Conv_reg", features: graph[graph[node].inputs[0]!].name,
                logits: graph[graph[node].outputs[0]!].name, classes: 3)
        }
        let tree = try LayerTree(model)
        #expect(tree.headParameters.map { model.graph[$0].name } == ["head.reg.weight"])
    }

    @Test func labelsRaiseTheScore() throws {
        var model = SmallNetworks.residual()
        let before = try HeadFinder(model).head().score
        model.metadata["names"] = "['a', 'b', 'c', 'd']"
        #expect(try HeadFinder(model).head().score > before)
    }
}

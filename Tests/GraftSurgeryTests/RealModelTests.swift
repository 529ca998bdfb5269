import GraftCore
import GraftIR
import GraftONNX
import GraftSurgery
import GraftTestSupport
import OrderedCollections
import Testing

/// What is true of networks that others trained and exported.
@Suite struct RealModelTests {
    struct Expectation: Sendable, CustomTestStringConvertible {
        let file: String
        let node: String
        let features: Int
        let classes: Int
        let kind: HeadCandidate.Kind
        let blocks: Int
        let parameters: Int
        var testDescription: String { file }
    }

    static let classifiers: [Expectation] = [
        Expectation(
            file: "onnx/mnist_8_cntk.onnx", node: "Times212", features: 256, classes: 10, kind: .sample, blocks: 2,
            parameters: 6),
        Expectation(
            file: "onnx/mobilenet_v2_050_128.onnx",
            node: "StatefulPartitionedCall/mobilenet_v2_128_0.5/predictions_dense/MatMul", features: 16, classes: 2,
            kind: .sample, blocks: 20, parameters: 113),
        Expectation(
            file: "onnx/ppocr_v2_cls.onnx", node: "MatMul_0", features: 200, classes: 2, kind: .sample, blocks: 12,
            parameters: 143),
        Expectation(
            file: "onnx/magika_standard_v3_3.onnx",
            node: "jax2tf_get_logits_/pjit_get_logits_/MagikaV2/Dense_1/MatMul", features: 512, classes: 214,
            kind: .sample, blocks: 2, parameters: 10),
        Expectation(
            file: "onnx/tiny_random_bert_optimum.onnx", node: "Gemm_189", features: 2, classes: 2, kind: .sample,
            blocks: 4, parameters: 40),
        Expectation(
            file: "onnx/byte_sb_bidi_lstm.onnx", node: "MatMul_25", features: 128, classes: 2, kind: .position,
            blocks: 3, parameters: 9),
        Expectation(
            file: "onnx/deeplab_v3_mnv2_voc21.onnx", node: "logits/semantic/BiasAdd", features: 256, classes: 21,
            kind: .pixel, blocks: 19, parameters: 110),
        Expectation(
            file: "onnx/sinet_portrait.onnx", node: "Conv_317", features: 2, classes: 2, kind: .pixel, blocks: 7,
            parameters: 219),
        Expectation(
            file: "derived/mobilenet_v1_025_224_imagenet.onnx", node: "mobilenet_0.25_224/conv_preds/BiasAdd",
            features: 256, classes: 1000, kind: .sample, blocks: 14, parameters: 56),
        Expectation(
            file: "derived/mobilenet_v1_025_224_imagenet_int8_qdq.onnx", node: "mobilenet_0.25_224/conv_preds/BiasAdd",
            features: 256, classes: 1000, kind: .sample, blocks: 14, parameters: 0),
        Expectation(
            file: "derived/resnet20_cifar10.onnx", node: "/linear/Gemm", features: 64, classes: 10, kind: .sample,
            blocks: 4, parameters: 40),
    ]

    private func model(_ file: String) throws -> Model? {
        guard let path = Fixtures.shared("models/\(file)") else {
            Fixtures.sharedIsMissing(for: file)
            return nil
        }
        return try ONNX.read(path: path)
    }

    @Test(arguments: classifiers) func theClassifierIsFound(_ expected: Expectation) throws {
        guard let model = try model(expected.file) else { return }
        let tree = try LayerTree(model)
        let head = try #require(tree.head)
        #expect(model.graph[head.node].name == expected.node)
        #expect(head.featureCount == expected.features && head.classCount == expected.classes)
        #expect(head.kind == expected.kind)
        #expect(tree.blocks.count == expected.blocks, "\(tree.blocks.map(\.name))")
        #expect(tree.parameters.count == expected.parameters)
        let nodes = tree.leaves.flatMap(\.nodes)
        #expect(Set(nodes) == Set(model.graph.order) && nodes.count == model.graph.nodeCount)
    }

    @Test(arguments: classifiers) func theHeadIsReplacedAndTypesStillFit(_ expected: Expectation) throws {
        guard let model = try model(expected.file) else { return }
        var options = HeadOptions(classes: .count(7))
        options.dropout = 0.1
        let edited = try checked(HeadSwap.self, model, options)
        let head = try HeadFinder(edited).head()
        #expect(head.classCount == 7)
        let before = try Inference.inferTypes(of: model)
        let after = try Inference.inferTypes(of: edited)
        #expect(after.conflicts.count <= before.conflicts.count, "\(after.conflicts)")
        let (old, new) = (before.shape(of: head.output), after.shape(of: head.output))
        if let old, let new { #expect(old.rank == new.rank) }
        let declared = edited.graph[head.output].type?.shape
        #expect(declared?.counts == nil || declared?.dimensions.contains { $0.count == 7 } == true)
        // The body is the same, node by node and tensor by tensor.
        let features = try #require(model.graph.value(named: edited.annotations().head?.features ?? ""))
        for node in HeadFinder.body(of: model, before: features) {
            #expect(edited.graph[node] == model.graph[node])
            for case let input? in model.graph[node].inputs {
                #expect(edited.graph[input].initializer == model.graph[input].initializer)
            }
        }
    }

    @Test(arguments: [
        "onnx/yolox_nano.onnx", "onnx/ultraface_slim_320.onnx", "onnx/super_resolution_10.onnx",
        "onnx/qonnx_espcn_subpixel_quant_model.onnx",
    ])
    func detectorsAndPicturesHaveNoSingleHead(file: String) throws {
        guard let model = try model(file) else { return }
        let error = #expect(throws: HeadError.self) { try HeadFinder(model).head() }
        #expect(error?.description.contains("--at") == true)
        #expect(try LayerTree(model).head == nil)
    }

    @Test func constantsOfPaddleBecomeTrainable() throws {
        guard let model = try model("onnx/ppocr_v2_cls.onnx") else { return }
        let edited = try checked(ConstantsToInitializers.self, model, .parameters)
        let tree = try LayerTree(edited)
        #expect(tree.parameters.count == 143 && tree.statistics.count == 70)
        #expect(tree.parameters.allSatisfy { edited.graph[$0].isInitializer })
        #expect(edited.graph.initializers.count == 213)
    }
}

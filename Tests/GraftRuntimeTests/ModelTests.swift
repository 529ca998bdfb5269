import GraftCore
import GraftIR
import GraftONNX
import GraftRuntime
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

/// Whole networks from real exporters give the outputs that their makers wrote down.
@Suite struct ModelTests {
    static let models = [
        "pytorch/activations", "pytorch/activations_opset_13", "pytorch/attention", "pytorch/cnn_dynamo",
        "pytorch/cnn_fixed_batch", "pytorch/cnn_folded", "pytorch/cnn_kept", "pytorch/cnn_opset_9",
        "pytorch/cnn_opset_11", "pytorch/cnn_opset_13", "pytorch/cnn_opset_20", "pytorch/mobilenet_folded",
        "pytorch/mobilenet_kept", "pytorch/resnet_dynamic_size", "pytorch/resnet_folded", "pytorch/resnet_kept",
        "pytorch/segmenter", "pytorch/shared_initializer", "pytorch/squeezenet", "pytorch/two_heads",
        "tf2onnx/batch_norm_first", "tf2onnx/mobilenet_like", "tf2onnx/mobilenet_v1_head", "tf2onnx/multi_output",
        "tf2onnx/resnet_like", "tf2onnx/segmentation", "tf2onnx/separable_multiplier", "tf2onnx/sequential",
        "tf2onnx/shared_layer", "tf2onnx/squeeze_excite", "onnx/matmul_add_head", "onnx/noncanonical",
        "onnx/two_candidates",
    ]

    @Test(arguments: models, [true, false])
    func outputsAgree(_ name: String, optimizes: Bool) throws {
        let model = try ONNX.read(path: Fixtures.path("\(name).onnx"))
        let golden = try NPZ.read(path: Fixtures.path("\(name).npz"))
        var options = PlanOptions()
        options.optimizes = optimizes
        let session = try Session(Plan(model, options: options))
        // The second run has cached primitives and packed weights.
        for _ in 0..<2 {
            let outputs = try session.run(Self.inputs(of: session.plan, golden))
            #expect(!outputs.isEmpty)
            for (output, tensor) in outputs {
                let expected = try #require(golden[output])
                #expect(try relativeDifference(tensor, expected) < 1e-4, "\(name): \(output)")
            }
        }
    }

    static func inputs(of plan: Plan, _ arrays: OrderedDictionary<String, Tensor>) -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for port in plan.inputs { result[port.name] = arrays[port.name] }
        return result
    }
}

/// The largest difference between two tensors of one type and shape, relative to the second one's largest number.
func relativeDifference(_ a: Tensor, _ b: Tensor) throws -> Double {
    guard a.elementType == b.elementType, a.shape == b.shape else {
        Issue.record("\(a.elementType.name) \(a.shape) is not \(b.elementType.name) \(b.shape)")
        return .infinity
    }
    func numbers(_ tensor: Tensor) throws -> [Double]? {
        switch tensor.elementType {
        case .float32: try tensor.elements(as: Float.self).map { Double($0) }
        case .float64: try tensor.elements(as: Double.self)
        default: nil
        }
    }
    guard let x = try numbers(a), let y = try numbers(b) else { return try a.isIdentical(to: b) ? 0 : .infinity }
    var scale = 1e-6
    var difference = 0.0
    for (p, q) in zip(x, y) {
        if p.isNaN != q.isNaN { return .infinity }
        if p == q || p.isNaN { continue }
        scale = max(scale, q.isFinite ? abs(q) : 0)
        difference = max(difference, abs(p - q))
    }
    for q in y where q.isFinite { scale = max(scale, abs(q)) }
    return difference / scale
}

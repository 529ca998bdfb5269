import Glibc
import GraftCore
import GraftIR
import GraftKeras
import GraftRuntime
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

/// The files of a folder under `fixtures/` that have inputs and outputs beside them.
func kerasFixtures(_ folder: String) -> [String] {
    guard let stream = opendir(Fixtures.path(folder)) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name.hasSuffix(".npz") { names.append("\(folder)/\(name.dropLast(4))") }
    }
    return names.sorted()
}

/// The largest difference between the outputs of a model and of Keras, relative to the largest output.
func difference(of model: Model, from golden: OrderedDictionary<String, Tensor>) throws -> Float {
    let inputs = model.graph.inputs.map { model.graph[$0].name }
    let outputs = try Session(Plan(model)).run(
        Dictionary(uniqueKeysWithValues: inputs.map { ($0, golden[$0] ?? Tensor([Float]())) }))
    var worst: Float = 0
    for (name, expected) in golden where !inputs.contains(name) {
        let actual = try #require(outputs[name], "no output \(name)")
        #expect(actual.shape == expected.shape)
        let (a, b) = (try actual.elements(as: Float.self), try expected.elements(as: Float.self))
        let scale = b.reduce(Float.leastNormalMagnitude) { max($0, abs($1)) }
        worst = zip(a, b).reduce(worst) { max($0, abs($1.0 - $1.1) / scale) }
    }
    return worst
}

/// Golden values: `fixtures/keras/make.py` with Keras 3.15.1 on PyTorch, `fixtures/keras2/make.py` with Keras 2.15.0.
@Suite struct KerasReadingTests {
    @Test(arguments: kerasFixtures("keras") + kerasFixtures("keras2"))
    func outputsAreThoseOfKeras(name: String) throws {
        let model = try KerasH5.read(path: Fixtures.path("\(name).h5"))
        let golden = try NPZ.read(path: Fixtures.path("\(name).npz"))
        try Verifier.verify(model)
        #expect(try difference(of: model, from: golden) < 1e-4)
    }

    @Test(arguments: kerasFixtures("keras") + kerasFixtures("keras2"))
    func noTransposeStandsInTheMiddle(name: String) throws {
        // What truly moves elements in Keras too, and what comes before the first layer that needs an order.
        let excepted = [
            "reshape", "dense_on_images", "flatten", "channels_first", "fixed_batch", "rescaling", "efficientnet",
        ]
        if excepted.contains(where: name.contains) { return }
        let graph = try KerasH5.read(path: Fixtures.path("\(name).h5")).graph
        let transposes = graph.order.filter { graph[$0].op.isONNX("Transpose") }
        #expect(transposes.count <= graph.inputs.count + graph.outputs.count)
        for id in transposes {
            let readsInput = graph[id].inputs[0].map { graph[$0].origin == .input } ?? false
            let value = try #require(graph[id].outputs[0])
            let isLast = graph[value].isOutput || graph[value].consumers.allSatisfy { graph[$0].op.isONNX("Reshape") }
            #expect(readsInput || isLast, "\(graph[id].name)")
        }
    }

    @Test(arguments: ["keras", "keras2"])
    func whatIsNotCoveredIsRefusedByName(folder: String) throws {
        for (name, layer) in [("lambda", "twice"), ("lstm", "lstm"), ("gru", "gru")] {
            let path = Fixtures.path("\(folder)/refused_\(name).h5")
            let error = #expect(throws: KerasError.self) { try KerasH5.read(path: path) }
            #expect(error?.description.contains("layer \"\(layer)\"") == true)
            #expect(error?.exitStatus == .badInput)
        }
    }

    @Test func frozenLayersAreAnnotated() throws {
        let model = try KerasH5.read(path: Fixtures.path("keras/partly_frozen.h5"))
        let annotations = try model.annotations()
        #expect(!annotations.frozen.isEmpty)
        for id in model.graph.initializers {
            let name = model.graph[id].name
            guard let layer = name.split(separator: "/").first, name.hasSuffix("kernel") else { continue }
            let flags = model.attachments["keras"]?["trainable"]?.object
            #expect(annotations.isTrainable(name) == flags?[String(layer)]?.bool, "\(name)")
        }
    }

    @Test func weightsStayInTheFile() throws {
        let model = try KerasH5.read(path: Fixtures.path("keras/resnet_like.h5"))
        for id in model.graph.initializers {
            guard let tensor = model.graph[id].tensor, tensor.shape.count == 4 else { continue }
            if case .owned = tensor.storage { Issue.record("\(model.graph[id].name) was copied") }
        }
    }

    @Test func sharedModelsAreRead() throws {
        guard Fixtures.shared("models/keras") != nil else {
            Fixtures.sharedIsMissing(for: "sharedModelsAreRead")
            return
        }
        let covered = [
            "esc10_miniresnet_1stacks_64x50_tl.h5", "fer2013_mini_xception.102-0.66.hdf5",
            "hand_keypoint_classifier.hdf5", "mlperf_tiny_ad_toycar.hdf5", "mlperf_tiny_resnet8_cifar10.h5",
            "mlperf_tiny_resnet8_cifar10_trained.h5", "mobilenet_v1_025_224_imagenet.h5", "tinymaix_mnist_resnet.h5",
        ]
        for name in covered {
            let model = try KerasH5.read(path: try #require(Fixtures.shared("models/keras/\(name)")))
            #expect(model.graph.nodeCount > 0)
        }
        for name in ["squeezenet_imagenet_notop_tf.h5", "textgenrnn_weights.hdf5", "magika_standard_v1.h5"] {
            let path = try #require(Fixtures.shared("models/keras/\(name)"))
            #expect(throws: KerasError.self) { try KerasH5.read(path: path) }
        }
    }
}

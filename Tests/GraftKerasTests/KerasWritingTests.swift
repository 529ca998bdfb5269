import GraftCore
import GraftHDF5
import GraftIR
import GraftKeras
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

/// That Keras loads what is written, with the same outputs, is checked in `Tests/Peers/test_keras.py`.
@Suite struct KerasWritingTests {
    private func reread(_ model: Model) throws -> Model {
        try Fixtures.withTemporaryFolder { folder in
            try KerasH5.write(model, to: "\(folder)/written.h5")
            // The tensors hold the open file, so the folder may go.
            return try KerasH5.read(path: "\(folder)/written.h5")
        }
    }

    @Test(arguments: kerasFixtures("keras") + kerasFixtures("keras2"))
    func anUntouchedModelIsWrittenAsItWas(name: String) throws {
        let path = Fixtures.path("\(name).h5")
        let model = try KerasH5.read(path: path)
        try Fixtures.withTemporaryFolder { folder in
            try KerasH5.write(model, to: "\(folder)/copy.h5")
            var expected = try HDF5Description.lines(of: HDF5File.open(path: path))
            var actual = try HDF5Description.lines(of: HDF5File.open(path: "\(folder)/copy.h5"))
            let config = try KerasFile.config(path)
            let written = try KerasFile.config("\(folder)/copy.h5")
            #expect(written == config)
            // The same JSON may be spelled otherwise; Graft's own attribute is an addition.
            for key in ["/@model_config", "/@graft"] {
                expected[key] = nil
                actual[key] = nil
            }
            #expect(actual == expected)
        }
    }

    @Test(arguments: kerasFixtures("keras"))
    func aModelWithoutItsLayersIsRaisedFromItsOperators(name: String) throws {
        var model = try KerasH5.read(path: Fixtures.path("\(name).h5"))
        model.attachments = [:]
        model.attachedTensors = [:]
        for id in model.graph.order { model.graph[id].metadata = Metadata() }
        let golden = try NPZ.read(path: Fixtures.path("\(name).npz"))
        #expect(try difference(of: reread(model), from: golden) < 1e-4)
    }

    @Test func aChangedHeadLeavesOtherLayersAsTheyWere() throws {
        let path = Fixtures.path("keras/compiled_adam.h5")
        var model = try KerasH5.read(path: path)
        let dense = try #require(model.graph.order.last { model.graph[$0].op.isONNX("Gemm") })
        let kernel = try #require(model.graph[dense].inputs[1])
        let bias = try #require(model.graph[dense].inputs[2])
        let features = try #require(model.graph[kernel].tensor?.shape[0])
        model.graph.setTensor(kernel, Tensor.zeros(.float32, shape: [features, 7]))
        model.graph.setTensor(bias, Tensor([Float](repeating: 1, count: 7)))
        try Fixtures.withTemporaryFolder { folder in
            let notices = try KerasH5.write(model, to: "\(folder)/changed.h5")
            #expect(notices.contains { $0.contains("optimizer") })
            let before = try #require(KerasFile.config(path)["config"]?["layers"]?.array)
            let after = try #require(KerasFile.config("\(folder)/changed.h5")["config"]?["layers"]?.array)
            var same = 0
            for layer in before {
                let name = layer["config"]?["name"]?.string
                guard let found = after.first(where: { $0["config"]?["name"]?.string == name }) else { continue }
                if found["config"] == layer["config"], found["class_name"] == layer["class_name"] { same += 1 }
            }
            #expect(same >= before.count - 2)
            let written = try KerasH5.read(path: "\(folder)/changed.h5")
            let output = try #require(written.graph.outputs.first)
            #expect(written.graph[output].shape?[1].count == 7)
        }
    }

    @Test(arguments: ["keras/nested_model", "keras2/nested_model", "keras/resnet_like"])
    func freezingIsWrittenAndOrdersTheWeights(name: String) throws {
        var model = try KerasH5.read(path: Fixtures.path("\(name).h5"))
        let frozen = model.graph.initializers.map { model.graph[$0].name }.filter {
            ($0.contains("conv") || $0.contains("stem")) && ($0.hasSuffix("kernel") || $0.hasSuffix("bias"))
        }
        #expect(!frozen.isEmpty)
        try model.updateAnnotations { $0.frozen.formUnion(frozen) }
        let again = try reread(model)
        #expect(try again.annotations().frozen == model.annotations().frozen)
        for id in model.graph.initializers {
            let name = model.graph[id].name
            let other = try #require(again.graph.value(named: name))
            let (a, b) = (try #require(model.graph[id].tensor), try #require(again.graph[other].tensor))
            let isSame = try a.isIdentical(to: b)
            #expect(isSame, "\(name)")
        }
        guard name.contains("nested") else { return }
        try Fixtures.withTemporaryFolder { folder in
            try KerasH5.write(model, to: "\(folder)/frozen.h5")
            let body = try HDF5File.open(path: "\(folder)/frozen.h5").group("model_weights/body")
            let names: [String]? = body.stringList("weight_names")
            let leaves = names?.map { String($0.split(separator: ":")[0]) }
            // Trained weights first, and then per layer those that are not.
            #expect(
                leaves == [
                    "body_bn/gamma", "body_bn/beta", "body_conv/kernel", "body_bn/moving_mean",
                    "body_bn/moving_variance",
                ])
        }
    }

    @Test func annotationsThatKerasHasNoWordForAreKept() throws {
        var model = try KerasH5.read(path: Fixtures.path("keras/sequential.h5"))
        let parameter = model.graph[try #require(model.graph.initializers.first)].name
        try model.updateAnnotations { annotations in
            annotations.labels = ["tulip", "rose"]
            annotations.assign(parameter, to: RateGroup("slow", multiplier: 0.1))
        }
        let again = try reread(model).annotations()
        #expect(try again == model.annotations())
        #expect(again.labels == ["tulip", "rose"])
    }

    @Test func whatHasNoLayerIsRefusedBeforeAnythingIsWritten() throws {
        var model = Model()
        let input = model.graph.addInput("x", type: .tensor(.float32, ["N", 4]))
        let value = model.graph.add("Det", [input], name: "determinant")
        model.graph.addOutput(value)
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/none.h5"
            let error = #expect(throws: KerasError.self) { try KerasH5.write(model, to: path) }
            #expect(error?.description.contains("\"determinant\" (Det)") == true)
            #expect(throws: FileError.notFound(path: path)) { try HDF5File.open(path: path) }
        }
    }
}

/// What the tests look at in a Keras file.
enum KerasFile {
    static func config(_ path: String) throws -> JSON {
        let text = try HDF5File.open(path: path).root.attributes["model_config"]?.string
        return try JSON(parsing: try #require(text))
    }
}

import Glibc
import GraftCore
import GraftIR
import GraftONNX
import GraftTestSupport
import Testing

/// Weights in files beside the model.
@Suite struct ExternalDataTests {
    /// A model with the given number of float weights, some large.
    private func sampleModel(weights: Int = 3) -> Model {
        var model = Model(opset: 17, irVersion: 8)
        model.graph.name = "g"
        var x = model.graph.addInput("x", type: .tensor(.float32, ["N", 512]))
        for index in 0..<weights {
            let numbers = (0..<512).map { Float($0 + index) }
            let w = model.graph.addInitializer("w\(index)", Tensor(numbers, shape: [512]))
            x = model.graph.add("Add", [x, w])
        }
        model.graph.addInitializer("small", Tensor(scalar: Float(1)))
        model.graph.addOutput(x)
        return model
    }

    private func externalModel(location: String, offset: String = "0", length: String = "4") -> [UInt8] {
        func entry(_ key: String, _ value: String) -> [UInt8] {
            Wire.block(13, Wire.text(1, key) + Wire.text(2, value))
        }
        let tensor =
            Wire.number(1, 1) + Wire.number(2, 1) + Wire.text(8, "w") + entry("location", location)
            + entry("offset", offset) + entry("length", length) + Wire.number(14, 1)
        return Wire.model(graph: Wire.text(2, "g") + Wire.block(5, tensor))
    }

    private func refusal(_ folder: String, location: String, offset: String = "0", length: String = "4") -> String? {
        put(externalModel(location: location, offset: offset, length: length), at: "\(folder)/m.onnx")
        let error = failure { _ = try ONNX.read(path: "\(folder)/m.onnx") }
        if let error, error.status != .badInput { return nil }
        return error?.message
    }

    @Test func dataIsReadFromFilesBelowTheFolder() throws {
        let path = Fixtures.path("onnx/external.onnx")
        let model = try ONNX.read(path: path)
        for id in model.graph.initializers {
            let stored = try #require(model.graph[id].initializer)
            guard case .external = stored.encoding else { continue }
            guard case .mapped(let file, _) = stored.tensor.storage else {
                Issue.record("\(model.graph[id].name) was loaded")
                continue
            }
            #expect(file.path != path)
        }
    }

    @Test func savingIntoTheSameFolderKeepsTheEntries() throws {
        try Fixtures.withTemporaryFolder { folder throws in
            try ONNX.write(sampleModel(), to: "\(folder)/a.onnx", options: .init(externalData: .always))
            let model = try ONNX.read(path: "\(folder)/a.onnx")
            try ONNX.write(model, to: "\(folder)/b.onnx")
            #expect(try bytes(of: "\(folder)/a.onnx") == bytes(of: "\(folder)/b.onnx"))
            #expect(access("\(folder)/b.onnx.data", F_OK) != 0)
        }
    }

    @Test func savingElsewhereWritesTheDataAgain() throws {
        try Fixtures.withTemporaryFolder { folder throws in
            mkdir("\(folder)/other", 0o755)
            try ONNX.write(sampleModel(), to: "\(folder)/a.onnx", options: .init(externalData: .always))
            let model = try ONNX.read(path: "\(folder)/a.onnx")
            try ONNX.write(model, to: "\(folder)/other/b.onnx")
            unlink("\(folder)/a.onnx.data")
            let moved = try ONNX.read(path: "\(folder)/other/b.onnx")
            for id in model.graph.initializers {
                let other = try #require(moved.graph.value(named: model.graph[id].name))
                #expect(moved.graph[other].tensor == model.graph[id].tensor)
            }
            #expect(access("\(folder)/other/b.onnx.data", F_OK) == 0)
        }
    }

    @Test func offsetsAreAlignedAndSmallTensorsStay() throws {
        try Fixtures.withTemporaryFolder { folder throws in
            try ONNX.write(sampleModel(), to: "\(folder)/a.onnx", options: .init(externalData: .always))
            let model = try ONNX.read(path: "\(folder)/a.onnx")
            var external = 0
            for id in model.graph.initializers {
                let stored = try #require(model.graph[id].initializer)
                guard case .external(let entries) = stored.encoding else { continue }
                external += 1
                #expect(entries["location"] == "a.onnx.data")
                #expect(Int(entries["offset"] ?? "").map { $0 % 4096 } == 0)
                #expect(entries["length"] == "2048")
            }
            #expect(external == 3)
            let small = try #require(model.graph.value(named: "small"))
            #expect(model.graph[small].initializer?.encoding == .raw)
        }
    }

    @Test func aModelBeyondTheBoundGoesBesideItsFile() throws {
        try Fixtures.withTemporaryFolder { folder throws in
            var options = ONNXWriteOptions()
            options.messageBound = 4000
            try ONNX.write(sampleModel(), to: "\(folder)/a.onnx", options: options)
            #expect(try bytes(of: "\(folder)/a.onnx").count < 4000)
            let model = try ONNX.read(path: "\(folder)/a.onnx")
            let w = try #require(model.graph.value(named: "w2"))
            #expect(try model.graph[w].tensor?.elements(as: Float.self).last == 513)

            options.externalData = .never
            let error = failure { try ONNX.write(sampleModel(), to: "\(folder)/b.onnx", options: options) }
            #expect(error?.message.contains("external data") == true)
            #expect(access("\(folder)/b.onnx", F_OK) != 0)
        }
    }

    @Test func dataOfAnotherModelIsNotOverwritten() throws {
        try Fixtures.withTemporaryFolder { folder throws in
            try ONNX.write(sampleModel(), to: "\(folder)/a.onnx", options: .init(externalData: .always))
            let before = try bytes(of: "\(folder)/a.onnx.data")
            var model = try ONNX.read(path: "\(folder)/a.onnx")
            let w = try #require(model.graph.value(named: "w0"))
            model.graph.setTensor(w, Tensor([Float](repeating: 7, count: 512)))
            try ONNX.write(model, to: "\(folder)/a.onnx", options: .init(externalData: .always))
            #expect(try bytes(of: "\(folder)/a.onnx.data") == before)
            let again = try ONNX.read(path: "\(folder)/a.onnx")
            #expect(
                again.graph.initializers.map { again.graph[$0].tensor }
                    == model.graph.initializers.map { model.graph[$0].tensor })
        }
    }

    @Test func inliningBringsTheDataBack() throws {
        try Fixtures.withTemporaryFolder { folder throws in
            let original = sampleModel()
            try ONNX.write(original, to: "\(folder)/a.onnx", options: .init(externalData: .always))
            let model = try ONNX.read(path: "\(folder)/a.onnx")
            try ONNX.write(model, to: "\(folder)/b.onnx", options: .init(externalData: .never))
            #expect(try bytes(of: "\(folder)/b.onnx") == written(original))
        }
    }

    @Test func pathsThatLeaveTheFolderAreRefused() throws {
        try Fixtures.withTemporaryFolder { folder throws in
            mkdir("\(folder)/sub", 0o755)
            mkdir("\(folder)/sub/deep", 0o755)
            put([0, 0, 0, 0], at: "\(folder)/secret")
            put([0, 0, 0, 0], at: "\(folder)/sub/data")
            let inner = "\(folder)/sub"
            #expect(refusal(inner, location: "data") == nil)
            #expect(refusal(inner, location: "./data") == nil)
            for location in [
                "../secret", "deep/../../secret", "deep/../data", "\(folder)/secret", "..", "", ".", "missing", "deep",
                "data/x",
            ] {
                #expect(
                    refusal(inner, location: location)?.contains("external data \"\(location)\"") == true, "\(location)"
                )
            }
        }
    }

    @Test func linksAreRefused() throws {
        try Fixtures.withTemporaryFolder { folder throws in
            mkdir("\(folder)/sub", 0o755)
            put([0, 0, 0, 0], at: "\(folder)/secret")
            put([0, 0, 0, 0], at: "\(folder)/sub/data")
            let inner = "\(folder)/sub"
            symlink("../secret", "\(inner)/link")
            symlink("data", "\(inner)/inside")
            symlink("..", "\(inner)/up")
            link("\(folder)/secret", "\(inner)/hard")
            mkfifo("\(inner)/pipe", 0o644)
            #expect(refusal(inner, location: "link")?.contains("symbolic link") == true)
            #expect(refusal(inner, location: "inside")?.contains("symbolic link") == true)
            #expect(refusal(inner, location: "up/secret")?.contains("symbolic link") == true)
            #expect(refusal(inner, location: "hard")?.contains("hard links") == true)
            #expect(refusal(inner, location: "pipe")?.contains("not a regular file") == true)
        }
    }

    @Test(arguments: [
        ("1", "4"), ("0", "5"), ("-1", "4"), ("0", "-4"), ("9223372036854775807", "4"), ("x", "4"), ("5", "0"),
    ])
    func rangesBeyondTheFileAreRefused(_ offset: String, _ length: String) throws {
        try Fixtures.withTemporaryFolder { folder throws in
            put([0, 0, 0, 0], at: "\(folder)/data")
            #expect(refusal(folder, location: "data", offset: offset, length: length) != nil)
        }
    }

    @Test(arguments: ["external_escapes", "external_absolute", "external_bad_ranges"])
    func fixturesThatEscapeAreRefused(_ name: String) throws {
        let error = failure { _ = try ONNX.read(path: Fixtures.path("onnx/\(name).onnx")) }
        #expect(error?.status == .badInput)
    }
}

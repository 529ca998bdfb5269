import GraftCore
import GraftIR
import GraftONNX
import GraftTestSupport
import Testing

/// How tensors lie in a file, and what happens when they change.
@Suite struct TensorStorageTests {
    private func graph(_ tensor: [UInt8]) -> [UInt8] { Wire.model(graph: Wire.text(2, "g") + Wire.block(5, tensor)) }

    private func weight(_ model: Model) throws -> StoredTensor {
        let w = try #require(model.graph.value(named: "w"))
        return try #require(model.graph[w].initializer)
    }

    @Test func rawDataAndLargeListsStayInTheFile() throws {
        let numbers = (0..<2048).flatMap { withUnsafeBytes(of: Float($0).bitPattern.littleEndian) { Array($0) } }
        let raw = Wire.tensor("w", dims: [2048], raw: numbers)
        let list = Wire.number(1, 2048) + Wire.number(2, 1) + Wire.block(4, numbers) + Wire.text(8, "w")
        for (tensor, encoding) in [(raw, StoredTensor.Encoding.raw), (list, .typed)] {
            let read = try model(in: graph(tensor))
            let stored = try weight(read)
            #expect(stored.encoding == encoding)
            guard case .mapped = stored.tensor.storage else {
                Issue.record("the tensor was loaded")
                continue
            }
            #expect(try stored.tensor.elements(as: Float.self) == (0..<2048).map { Float($0) })
            #expect(try written(read) == graph(tensor))
        }
    }

    @Test func aListInSeveralPiecesIsOneList() throws {
        let half = (0..<1024).flatMap { withUnsafeBytes(of: Float($0).bitPattern.littleEndian) { Array($0) } }
        let single = Wire.varint(4 << 3 | 5) + [0, 0, 0x80, 0x3f]
        let tensor =
            Wire.number(1, 2049) + Wire.number(2, 1) + Wire.block(4, half) + single + Wire.block(4, half)
            + Wire.text(8, "w")
        let elements = try weight(model(in: graph(tensor))).tensor.elements(as: Float.self)
        #expect(elements == (0..<1024).map { Float($0) } + [1] + (0..<1024).map { Float($0) })
    }

    @Test func raisedEntriesSurviveUntilTheTensorChanges() throws {
        // An int8 of -1 spelled as 255: the same element, another entry.
        let tensor = Wire.number(1, 2) + Wire.number(2, 3) + Wire.block(5, [0xff, 0x01, 0x02]) + Wire.text(8, "w")
        var read = try model(in: graph(tensor))
        #expect(try weight(read).tensor.elements(as: Int8.self) == [-1, 2])
        #expect(try written(read) == graph(tensor))
        let w = try #require(read.graph.value(named: "w"))
        read.graph.setTensor(w, Tensor([Int8(3), 4]))
        let changed = try weight(model(in: try written(read)))
        #expect(try changed.tensor.elements(as: Int8.self) == [3, 4])
        #expect(changed.encoding == .typed)
    }

    @Test func everyElementTypeHasTheSameElementsRawAndTyped() throws {
        let raw = try ONNX.read(path: Fixtures.path("onnx/types_typed_as_raw.onnx")).graph
        let typed = try ONNX.read(path: Fixtures.path("onnx/types_typed.onnx")).graph
        var types = Set<ElementType>()
        for id in raw.initializers {
            let other = try #require(typed.value(named: raw[id].name))
            let a = try #require(raw[id].tensor)
            let b = try #require(typed[other].tensor)
            #expect(try a.isIdentical(to: b), "\(raw[id].name)")
            types.insert(a.elementType)
        }
        #expect(types == Set(ElementType.allCases))

        // And back: what Graft spells as a list is what the file has.
        var retyped = try ONNX.read(path: Fixtures.path("onnx/types_typed_as_raw.onnx"))
        for id in retyped.graph.initializers { retyped.graph[id].initializer?.encoding = .typed }
        #expect(try written(retyped) == bytes(of: Fixtures.path("onnx/types_typed.onnx")))
    }

    @Test func bytesMadeOnDemandAreWrittenWithoutBeingKept() throws {
        struct Ramp: DeferredBytes {
            let byteCount = 4096
            func load() throws -> ByteBuffer {
                let buffer = ByteBuffer(count: byteCount)
                for index in 0..<byteCount { buffer.mutableBytes[index] = UInt8(truncatingIfNeeded: index) }
                return buffer
            }
        }
        var model = Model()
        let shape = [1024]
        let tensor = try Tensor(.float32, shape: shape, storage: .deferred(Ramp()))
        model.graph.addInitializer("raw", tensor)
        let typed = model.graph.addInitializer("typed", tensor)
        model.graph[typed].initializer?.encoding = .typed
        let small = model.graph.addInitializer("ints", try Tensor(.int8, shape: [4096], storage: .deferred(Ramp())))
        model.graph[small].initializer?.encoding = .typed
        let read = try GraftONNXTests.model(in: written(model))
        for name in ["raw", "typed", "ints"] {
            let id = try #require(read.graph.value(named: name))
            #expect(try read.graph[id].tensor?.withBytes { $0[4095] } == 255, "\(name)")
        }
    }

    @Test func aFailureWhileBytesAreMadeLeavesTheOldFile() throws {
        struct Broken: DeferredBytes {
            let byteCount = 4096
            func load() throws -> ByteBuffer { throw FileError.cannotRead(path: "weights", reason: "gone") }
        }
        var model = Model()
        model.graph.addInitializer("w", try Tensor(.float32, shape: [1024], storage: .deferred(Broken())))
        try Fixtures.withTemporaryFolder { folder throws in
            put([1, 2, 3], at: "\(folder)/m.onnx")
            for external in [ONNXWriteOptions.ExternalData.automatic, .always] {
                let error = failure {
                    try ONNX.write(model, to: "\(folder)/m.onnx", options: .init(externalData: external))
                }
                #expect(error?.message.contains("gone") == true)
                #expect(try bytes(of: "\(folder)/m.onnx") == [1, 2, 3])
            }
        }
    }
}

import GraftCore
import GraftIR
import GraftONNX
import GraftTestSupport
import Testing

/// Damaged and malicious files end in one typed error, within the limits.
@Suite struct HostileFileTests {
    /// Reads the bytes and, where they are a model, writes it; nothing else than a typed error may come out.
    private func survives(_ bytes: [UInt8], in folder: String) -> Bool {
        put(bytes, at: "\(folder)/model.onnx")
        do {
            let model = try ONNX.read(path: "\(folder)/model.onnx")
            try? Verifier.verify(model)
            try ONNX.write(model, to: "\(folder)/written.onnx")
            return true
        } catch {
            return error is any GraftError
        }
    }

    @Test(arguments: ["everything", "if"]) func everyTruncationIsSurvived(_ name: String) throws {
        let whole = try bytes(of: Fixtures.path("onnx/\(name).onnx"))
        try withFolder { folder throws in
            for length in whole.indices {
                #expect(survives(Array(whole[..<length]), in: folder), "\(length) bytes")
            }
        }
    }

    @Test(arguments: ["if", "sparse", "functions"]) func everyBitFlipIsSurvived(_ name: String) throws {
        let whole = try bytes(of: Fixtures.path("onnx/\(name).onnx"))
        try withFolder { folder throws in
            for position in whole.indices {
                for bit in 0..<8 {
                    var damaged = whole
                    damaged[position] ^= 1 << bit
                    #expect(survives(damaged, in: folder), "byte \(position), bit \(bit)")
                }
            }
        }
    }

    @Test func everyByteFlipOfARichModelIsSurvived() throws {
        let whole = try bytes(of: Fixtures.path("onnx/everything.onnx"))
        try withFolder { folder throws in
            for position in whole.indices {
                for value: UInt8 in [0, 0x7f, 0x80, 0xff] {
                    var damaged = whole
                    damaged[position] = value
                    #expect(survives(damaged, in: folder), "byte \(position) as \(value)")
                }
            }
        }
    }

    @Test func deepNestingIsRefusedByName() throws {
        // A graph in an attribute of a node of a graph, three thousand times.
        var graph = Wire.text(2, "innermost")
        for _ in 0..<3000 { graph = Wire.block(1, Wire.block(5, Wire.text(1, "body") + Wire.block(6, graph))) }
        let error = failure { _ = try model(in: Wire.model(graph: graph)) }
        #expect(error?.status == .badInput)
        #expect(error?.message.contains("nesting-depth of 100") == true)
    }

    @Test func deepTypesAreRefusedByName() throws {
        var type: [UInt8] = []
        for _ in 0..<3000 { type = Wire.block(4, Wire.block(1, type)) }
        let error = failure {
            _ = try model(in: Wire.model(graph: Wire.block(11, Wire.text(1, "x") + Wire.block(2, type))))
        }
        #expect(error?.message.contains("nesting-depth") == true)
    }

    @Test func nestingWithinTheLimitOpens() throws {
        var graph = Wire.text(2, "innermost")
        for _ in 0..<20 {
            graph = Wire.block(1, Wire.block(5, Wire.number(20, 5) + Wire.text(1, "body") + Wire.block(6, graph)))
        }
        let bytes = Wire.model(graph: graph)
        #expect(try model(in: bytes).graph.nodeCount == 1)
    }

    @Test func aFloodOfEmptyMessagesStaysWithinItsBudget() throws {
        // Two bytes a message in the file, hundreds in memory.
        let flood = [UInt8](repeating: 0, count: 2_000_000).indices.map { UInt8($0 % 2 == 0 ? 0x0a : 0) }
        let error = failure { _ = try model(in: Wire.model(graph: flood)) }
        #expect(error?.status == .badInput)
        #expect(error?.message.contains("parse-bytes") == true)
        var limits = Limits()
        limits.objectCount = 1000
        let counted = failure { _ = try model(in: Wire.model(graph: flood), limits: limits) }
        #expect(counted?.message.contains("object-count of 1000") == true)
    }

    @Test func lengthsBeyondTheFileAreRefused() throws {
        for length: UInt64 in [100, 1 << 31, 1 << 32, 1 << 62, .max] {
            let bytes = Wire.number(1, 8) + Wire.varint(7 << 3 | 2) + Wire.varint(length) + [1, 2, 3]
            #expect(failure { _ = try model(in: bytes) }?.message.contains("takes \(length) bytes") == true)
        }
    }

    @Test func groupsAreRefusedByName() throws {
        let error = failure {
            _ = try model(in: Wire.number(1, 8) + Wire.varint(50 << 3 | 3) + Wire.varint(50 << 3 | 4))
        }
        #expect(error?.message.contains("group") == true)
    }

    @Test func otherFilesAreNoModels() throws {
        for content in [[], Array("not a model".utf8), [0x89, 0x48, 0x44, 0x46], Wire.number(1, 8)] as [[UInt8]] {
            let error = failure { _ = try model(in: content) }
            #expect(error?.status == .badInput)
            #expect(error?.message.contains("not an ONNX model") == true)
        }
    }

    @Test(arguments: [[UInt64](repeating: 1 << 40, count: 4), [.max], [3], [1 << 62]])
    func shapesThatDoNotFitTheirDataAreRefused(_ dims: [UInt64]) throws {
        let tensor = Wire.tensor("w", dims: dims, raw: [0, 0, 0, 0])
        let error = failure { _ = try model(in: Wire.model(graph: Wire.block(5, tensor))) }
        #expect(error?.status == .badInput)
        #expect(error?.message.contains("tensor \"w\"") == true)
    }

    @Test func textsThatAreNotUTF8AreRefusedByName() throws {
        let error = failure { _ = try model(in: Wire.model(graph: Wire.block(2, [0xff, 0xfe]))) }
        #expect(error?.message.contains("name is not UTF-8") == true)
    }

    @Test func twoMakersOfOneValueAreRefused() throws {
        func node(_ output: String) -> [UInt8] { Wire.block(1, Wire.text(2, output) + Wire.text(4, "Relu")) }
        let tensor = Wire.block(5, Wire.tensor("y", dims: [], raw: [0, 0, 0, 0]))
        for graph in [
            node("y") + node("y"), node("y") + tensor, tensor + tensor, node("y") + Wire.block(11, Wire.text(1, "y")),
        ] {
            let error = failure { _ = try model(in: Wire.model(graph: graph)) }
            #expect(error?.message.contains("\"y\"") == true)
        }
    }

    @Test func numbersThatLookLikeAReferenceAreNumbers() throws {
        // What stands for bytes in the file is told apart by a number that a file cannot know.
        let forged = [UInt8](repeating: 0, count: 24)
        let tensor = Wire.number(1, 6) + Wire.number(2, 1) + Wire.block(4, forged) + Wire.text(8, "w")
        let read = try model(in: Wire.model(graph: Wire.block(5, tensor)))
        let w = try #require(read.graph.value(named: "w"))
        #expect(try read.graph[w].tensor?.elements(as: Float.self) == [0, 0, 0, 0, 0, 0])
    }
}

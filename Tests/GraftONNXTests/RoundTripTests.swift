import Foundation
import GraftCore
import GraftIR
import GraftONNX
import GraftTestSupport
import Testing

/// Reading and writing gives the same bytes.
@Suite struct RoundTripTests {
    static let fixtures = [
        "empty_strings", "everything", "function_overloads", "functions", "if", "loop", "matmul_add_head", "old_style",
        "quantised", "recurrent", "scan", "sparse", "two_candidates", "type_protos", "types_raw", "types_typed",
        "unknown_fields",
    ]

    @Test(arguments: fixtures) func fixtureComesBackByteForByte(_ name: String) throws {
        let path = Fixtures.path("onnx/\(name).onnx")
        let model = try ONNX.read(path: path)
        #expect(model.sourceFormat == "onnx")
        #expect(try written(model) == bytes(of: path))
    }

    @Test(arguments: fixtures.filter { $0 != "everything" && $0 != "unknown_fields" && $0 != "type_protos" })
    func fixtureIsWhole(_ name: String) throws {
        try Verifier.verify(ONNX.read(path: Fixtures.path("onnx/\(name).onnx")))
    }

    /// Models that hold every field of the schema in every combination; see `fixtures/onnx/make_random.py`.
    @Test func randomModelsComeBackByteForByte() throws {
        let all = try bytes(of: Fixtures.path("onnx/random-models.bin"))
        var offset = 0
        var count = 0
        while offset < all.count {
            let length = (0..<4).reduce(0) { $0 | Int(all[offset + $1]) << (8 * $1) }
            let original = Array(all[(offset + 4)..<(offset + 4 + length)])
            #expect(try written(model(in: original)) == original, "model \(count)")
            offset += 4 + length
            count += 1
        }
        #expect(count == 150)
    }

    @Test func writingTwiceGivesTheSame() throws {
        let model = try ONNX.read(path: Fixtures.path("onnx/everything.onnx"))
        let once = try written(model)
        #expect(try written(model) == once)
    }

    @Test func fieldsInAnUnusualOrderAreEqualAsAMessage() throws {
        let path = Fixtures.path("onnx/noncanonical.onnx")
        let original = try ONNX.read(path: path)
        let canonical = try written(original)
        #expect(canonical.count < (try bytes(of: path).count), "the fixture is not canonical")
        #expect(try model(in: canonical) == original)
        #expect(try written(model(in: canonical)) == canonical)
    }

    @Test func repeatedSingleFieldsMeanTheirUnion() throws {
        let graph = Wire.text(2, "old") + Wire.block(11, Wire.text(1, "x")) + Wire.text(2, "new")
        let split =
            Wire.number(1, 3) + Wire.block(7, graph) + Wire.number(1, 8) + Wire.block(7, Wire.text(10, "remark"))
        let read = try model(in: split)
        #expect(read.irVersion == 8)
        #expect(read.graph.name == "new")
        #expect(read.graph.docString == "remark")
        #expect(read.graph.inputs.map { read.graph[$0].name } == ["x"])
    }

    @Test func realModelsComeBackByteForByte() throws {
        guard let folder = Fixtures.shared("models") else {
            Fixtures.sharedIsMissing(for: "realModelsComeBackByteForByte")
            return
        }
        var count = 0
        for part in ["onnx", "derived"] {
            for name in try names(in: "\(folder)/\(part)") where name.hasSuffix(".onnx") {
                let path = "\(folder)/\(part)/\(name)"
                let model = try ONNX.read(path: path)
                try Verifier.verify(model)
                #expect(try written(model) == bytes(of: path), "\(name)")
                count += 1
            }
        }
        #expect(count > 10)
    }

    private func names(in folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }
}

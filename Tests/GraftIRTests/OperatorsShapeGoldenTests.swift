import GraftCore
import GraftIR
import GraftONNX
import GraftTestSupport
import Testing

/// Inference against `onnx.shape_inference` on the fixtures and the shared models; see fixtures/shapes/make.py.
@Suite struct OperatorsShapeGoldenTests {
    static let golden: [String: JSON] = {
        let bytes = try! MappedFile(path: Fixtures.path("shapes/shapes.json")).withBytes { Array($0) }
        var result: [String: JSON] = [:]
        for entry in try! JSON(parsing: bytes).array ?? [] {
            if let file = entry["file"]?.string { result[file] = entry["values"] }
        }
        return result
    }()

    static let files: [String] = golden.keys.sorted()

    @Test(arguments: files) func knowsWhatONNXKnows(file: String) throws {
        let path: String
        if file.hasPrefix("shared/") {
            guard let shared = Fixtures.shared(String(file.dropFirst("shared/".count))) else {
                Fixtures.sharedIsMissing(for: "shapes of \(file)")
                return
            }
            path = shared
        } else {
            path = "\(Fixtures.root)/\(file)"
        }
        let model = try ONNX.read(path: path)
        let types = try Inference.inferTypes(of: model)
        let expected = try #require(Self.golden[file]?.array)
        #expect(!expected.isEmpty)
        var faults: [String] = []
        for entry in expected {
            let list = try #require(entry.array)
            let name = try #require(list[0].string)
            let code = try #require(list[1].int)
            guard let id = model.graph.value(named: name) else {
                faults.append("\(name) is not in the graph")
                continue
            }
            if types.elementType(of: id)?.rawValue != Int32(code) {
                faults.append("\(name): type \(String(describing: types.elementType(of: id))), expected code \(code)")
            }
            guard let extents = list[2].array else { continue }
            guard let shape = types.shape(of: id), shape.rank == extents.count else {
                faults.append("\(name): shape \(types.shape(of: id)?.description ?? "unknown"), expected \(list[2])")
                continue
            }
            for (axis, extent) in extents.enumerated() {
                if let number = extent.int, number >= 0, shape[axis].count != number {
                    faults.append("\(name): shape \(shape), expected \(list[2])")
                    break
                }
            }
        }
        #expect(faults.isEmpty, "\(faults.count) faults: \(faults.prefix(5).joined(separator: "; "))")
    }
}

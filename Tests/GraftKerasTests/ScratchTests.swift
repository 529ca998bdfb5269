import Glibc
import GraftCore
import GraftIR
import GraftKeras
import GraftONNX
import Testing

@Suite struct ScratchTests {
    @Test func dump() throws {
        guard let list = getenv("GRAFT_SCRATCH") else { return }
        let out = String(cString: getenv("GRAFT_OUT"))
        for path in String(cString: list).split(separator: ":").map(String.init) {
            let name = path.split(separator: "/").suffix(2).joined(separator: "_")
            do {
                let model = try KerasH5.read(path: path)
                try ONNX.write(model, to: "\(out)/\(name).onnx")
                print("OK \(name) \(model.graph.nodeCount)")
            } catch {
                print("FAIL \(name): \(error)")
            }
        }
    }
}

import GraftCore
import GraftIR
import GraftONNX
import GraftRuntime
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

/// Models with bodies, functions, sequences and texts give what onnxruntime and NumPy gave for them.
@Suite struct ControlModelTests {
    @Test(arguments: ["nested", "early", "never", "scan", "batch", "function", "sequence", "texts"], [true, false])
    func outputsAgree(_ name: String, optimizes: Bool) throws {
        let model = try ONNX.read(path: Fixtures.path("control/\(name).onnx"))
        let golden = try NPZ.read(path: Fixtures.path("control/\(name).npz"))
        var options = PlanOptions()
        options.optimizes = optimizes
        let session = try Session(Plan(model, options: options))
        // The second run has packed weights and memory to use again.
        for _ in 0..<2 {
            let outputs = try session.run(ModelTests.inputs(of: session.plan, golden))
            #expect(outputs.count == session.plan.outputs.count)
            for (output, tensor) in outputs {
                let expected = try #require(golden[output])
                if expected.elementType == .string {
                    #expect(tensor.shape == expected.shape)
                    #expect(tensor.strings == expected.strings, "\(output)")
                } else {
                    #expect(try relativeDifference(tensor, expected) < 1e-5, "\(output)")
                }
            }
        }
    }

    @Test(arguments: ["float16", "float32", "float64"])
    func numbersAreWrittenAsNumPyWritesThem(_ type: String) throws {
        let golden = try NPZ.read(path: Fixtures.path("control/casts.npz"))
        let numbers = try #require(golden["\(type)_numbers"])
        let texts = try #require(golden["\(type)_texts"])
        #expect(try Self.cast(numbers, to: .string).strings == texts.strings)
        // A NaN comes back as one, if perhaps with other bits.
        let back = try Self.cast(texts, to: numbers.elementType)
        #expect(try Self.cast(back, to: .string).strings == texts.strings)
    }

    static func cast(_ tensor: Tensor, to type: ElementType) throws -> Tensor {
        var model = Model(opset: 19)
        let x = model.graph.addInput("x", type: nil)
        model.graph.addOutput(
            model.graph.add("Cast", [x], attributes: ["to": .int(Int(type.rawValue))], output: "y"))
        return try #require(Session(Plan(model)).run(["x": tensor])["y"])
    }

    @Test(arguments: ["", "1e", "0x10", "1 2", "one", "1\0"])
    func textsThatAreNoNumbersAreRefused(_ text: String) throws {
        let tensor = try Tensor(.string, shape: [1], storage: .strings([Array(text.utf8)]))
        #expect(throws: RuntimeError.self) { try Self.cast(tensor, to: .float32) }
        #expect(throws: RuntimeError.self) { try Self.cast(tensor, to: .int32) }
    }
}

import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Runs one node on tensors, its inputs given from outside so that nothing is folded.
struct NodeRunner {
    let session: Session
    let names: [String?]

    init(_ type: String, _ inputs: [Tensor?], _ attributes: Attributes = Attributes(), opset: Int, outputs: Int = 1)
        throws
    {
        var model = Model(opset: opset)
        var names: [String?] = []
        let operands = inputs.enumerated().map { index, tensor -> ValueID? in
            names.append(tensor.map { _ in "x\(index)" })
            return tensor.map {
                model.graph.addInput("x\(index)", type: .tensor($0.elementType, SymbolicShape($0.shape)))
            }
        }
        let values = (0..<outputs).map { model.graph.addValue("y\($0)") }
        model.graph.addNode(
            OperatorName(type), name: "node", inputs: operands, outputs: values, attributes: attributes)
        var options = PlanOptions()
        options.outputs = values
        session = try Session(Plan(model, options: options))
        self.names = names
    }

    func callAsFunction(_ inputs: [Tensor?]) throws -> [Tensor] {
        var given: [String: Tensor] = [:]
        for (name, tensor) in zip(names, inputs) { if let name { given[name] = tensor } }
        let results = try session.run(given)
        return try (0..<results.count).map { try #require(results["y\($0)"]) }
    }
}

/// The outputs of a node.
func run(
    _ type: String, _ inputs: [Tensor?], _ attributes: Attributes = Attributes(), opset: Int = 21, outputs: Int = 1
) throws -> [Tensor] {
    try NodeRunner(type, inputs, attributes, opset: opset, outputs: outputs)(inputs)
}

/// Numbers that look random and are the same in every run.
func numbers(_ count: Int, seed: UInt64) -> [Float] {
    var generator = CounterRandom(seed: seed)
    return (0..<count).map { _ in generator.uniform() * 4 - 2 }
}

/// Integers below a bound, the same in every run.
func integers(_ count: Int, below bound: Int, seed: UInt64) -> [Int64] {
    var generator = CounterRandom(seed: seed, 1)
    return (0..<count).map { _ in Int64(generator.below(bound)) }
}

/// A node that a file may hold, and that must be refused.
struct HostileNode: Sendable, CustomTestStringConvertible {
    let type: String
    let inputs: [Tensor?]
    var attributes = Attributes()
    var outputs = 1
    /// What the message must name.
    let message: String
    var testDescription: String { "\(type): \(message)" }

    /// Runs the node, which must end with an error that says what is wrong.
    func expectRefusal(opset: Int) throws {
        let error = #expect(throws: (any Error).self) {
            _ = try run(type, inputs, attributes, opset: opset, outputs: outputs)
        }
        let text = "\(try #require(error))"
        #expect(text.contains(message), "\(text)")
    }
}

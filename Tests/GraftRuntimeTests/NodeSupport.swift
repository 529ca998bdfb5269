import GraftCore
import GraftIR
import GraftRuntime
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Runs a graph of one node on tensors, without passes; nil stands for an input that is left out.
func runNode(
    _ type: String, domain: String = "", _ inputs: [(String, Tensor)?], _ attributes: Attributes = Attributes(),
    opset: Int, outputs: Int = 1
) throws -> [Tensor] {
    var model = Model(opset: opset)
    if !domain.isEmpty { model.importOpset(domain, version: 1) }
    var given: [String: Tensor] = [:]
    var ids: [ValueID?] = inputs.map { entry in
        guard let (name, tensor) = entry else { return nil }
        given[name] = tensor
        return model.graph.addInput(name, type: .tensor(tensor.elementType, SymbolicShape(tensor.shape)))
    }
    while let last = ids.last, last == nil { ids.removeLast() }
    let results = (0..<outputs).map { model.graph.addValue("y\($0)") }
    model.graph.addNode(
        OperatorName(type, domain: domain), name: "node", inputs: ids, outputs: results, attributes: attributes)
    var options = PlanOptions()
    options.outputs = results
    let found = try Session(Plan(model, options: options)).run(given)
    return try (0..<outputs).map { try #require(found["y\($0)"]) }
}

/// Numbers between -2 and 2 that look random and are always the same.
func spreadNumbers(_ shape: [Int], _ seed: Int, scale: Float = 1) -> Tensor {
    var state = UInt64(truncatingIfNeeded: seed) &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1
    let values = (0..<shape.reduce(1, *)).map { _ -> Float in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (Float(state >> 40) / Float(1 << 22) - 2) * scale
    }
    return Tensor(values, shape: shape)
}

func exponential(_ x: Double) -> Double { exp(x) }

import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// A graph under construction, with short ways to write what exporters write.
struct GraphWriter {
    var model: Model
    private(set) var given: [String: Tensor] = [:]
    private var count = 0

    let opset: Int

    init(opset: Int = 17) {
        self.opset = opset
        model = Model(opset: opset)
    }

    /// An input; `declared` are its extents where they differ from those of the tensor that a run gets.
    mutating func input(_ name: String, _ shape: [Int], declared: SymbolicShape? = nil) -> ValueID {
        given[name] = spreadNumbers(shape, given.count + 1)
        return model.graph.addInput(name, type: .tensor(.float32, declared ?? SymbolicShape(shape)))
    }

    mutating func constant(_ tensor: Tensor) -> ValueID {
        count += 1
        return model.graph.addInitializer("c\(count)", tensor)
    }

    mutating func number(_ value: Float) -> ValueID { constant(Tensor(scalar: value)) }
    mutating func integers(_ values: [Int64]) -> ValueID { constant(Tensor(values)) }

    mutating func add(_ op: String, _ inputs: ValueID..., attributes: Attributes = Attributes()) -> ValueID {
        model.graph.add(OperatorName(op), inputs, attributes: attributes)
    }

    mutating func transposed(_ value: ValueID, _ perm: [Int64]) -> ValueID {
        add("Transpose", value, attributes: ["perm": .ints(perm)])
    }

    /// The mean over axes, as the opset writes it.
    mutating func mean(_ value: ValueID, _ axes: [Int64] = [-1], keeps: Bool = true) -> ValueID {
        let keepdims = ("keepdims", AttributeValue.int(keeps ? 1 : 0))
        if opset < 18 {
            return add("ReduceMean", value, attributes: ["axes": .ints(axes), keepdims.0: keepdims.1])
        }
        return add("ReduceMean", value, integers(axes), attributes: [keepdims.0: keepdims.1])
    }

    /// Makes a value an output, runs the plan with and without passes, compares, and tells the plan's operators.
    mutating func finish(_ outputs: ValueID...) throws -> [String] {
        for output in outputs { model.graph.addOutput(output) }
        var plain = PlanOptions()
        plain.optimizes = false
        let expected = try Session(Plan(model, options: plain)).run(given)
        let plan = try Plan(model)
        let session = try Session(plan)
        // The second run has cached primitives.
        for _ in 0..<2 {
            let found = try session.run(given)
            #expect(found.count == outputs.count)
            for (name, tensor) in found {
                #expect(try relativeDifference(tensor, #require(expected[name])) < 1e-5, "\(name)")
            }
        }
        return Profile(plan).entries.map(\.op.type)
    }
}

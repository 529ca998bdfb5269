import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Chains of convolutions that flow in blocks of channels give what the same chains give node by node.
@Suite struct ChannelBlockTests {
    /// What a network is made of beside convolutions.
    struct Parts: Sendable, CustomTestStringConvertible {
        var widths: [Int]
        var residual = false
        var gated = false
        var depthwise = false
        var pooled: String?
        var activation = "Relu"
        var tail: String?
        var testDescription: String {
            "\(widths) \(residual ? "residual " : "")\(gated ? "gated " : "")\(depthwise ? "depthwise " : "")"
                + "\(pooled ?? "") \(activation) \(tail ?? "")"
        }
    }

    static let networks = [
        Parts(widths: [64, 64, 64, 64], residual: true), Parts(widths: [40, 40, 40, 40], residual: true),
        Parts(widths: [32, 96, 24, 144, 40], gated: true, depthwise: true, activation: "Swish"),
        Parts(widths: [16, 32, 48, 64], pooled: "MaxPool", activation: "Sigmoid"),
        Parts(widths: [20, 33, 50, 64], pooled: "AveragePool", activation: "HardSwish"),
        Parts(widths: [32, 32, 32, 32, 32, 32], activation: "Exp", tail: "Transpose"),
        Parts(widths: [34, 34, 34, 34, 34, 34], residual: true, activation: "Tanh", tail: "Concat"),
    ]

    static func model(_ parts: Parts) -> Model {
        var model = Model(opset: 24)
        var graph = Graph(name: "chain")
        var seed: UInt64 = 1
        func weights(_ shape: [Int]) -> ValueID {
            seed += 1
            let fan = Float(shape.dropFirst().reduce(1, *))
            let scale = 0.8 / fan.squareRoot()
            return graph.addInitializer(
                "w\(seed)", Tensor(numbers(shape.reduce(1, *), seed: seed).map { $0 * scale }, shape: shape))
        }
        func conv(_ x: ValueID, from: Int, to: Int, kernel: Int = 3, group: Int = 1) -> ValueID {
            let pad = kernel / 2
            return graph.add(
                "Conv", [x, weights([to, from / group, kernel, kernel]), weights([to])],
                attributes: ["pads": .ints([pad, pad, pad, pad]), "group": .int(group)])
        }
        var x = graph.addInput("x", type: .tensor(.float32, ["N", 3, "H", "W"]))
        var width = 3
        for (index, next) in parts.widths.enumerated() {
            let entry = x
            x = conv(x, from: width, to: next)
            if parts.residual, index > 0, width == next { x = graph.add("Add", [x, entry]) }
            x = graph.add(OperatorName(parts.activation), [x])
            if parts.depthwise { x = conv(x, from: next, to: next, group: next) }
            if parts.gated {
                var gate = graph.add("GlobalAveragePool", [x])
                gate = conv(gate, from: next, to: 4, kernel: 1)
                gate = graph.add("Relu", [gate])
                gate = conv(gate, from: 4, to: next, kernel: 1)
                gate = graph.add("Sigmoid", [gate])
                x = graph.add("Mul", [gate, x])
            }
            width = next
        }
        if let pooled = parts.pooled {
            x = graph.add(
                OperatorName(pooled), [x],
                attributes: ["kernel_shape": .ints([3, 3]), "strides": .ints([2, 2]), "pads": .ints([1, 1, 1, 1])])
            x = conv(x, from: width, to: 32)
        }
        switch parts.tail {
        case "Transpose": x = graph.add("Transpose", [x], attributes: ["perm": .ints([0, 2, 3, 1])])
        case "Concat": x = graph.add("Concat", [x, graph.add("Neg", [x])], attributes: ["axis": .int(1)])
        default: x = graph.add("GlobalAveragePool", [x])
        }
        graph.addOutput(x)
        model.graph = graph
        return model
    }

    /// The sizes differ in what convolution kernel suits them, and come back after others.
    @Test(arguments: networks)
    func agreesWithNodeByNode(_ parts: Parts) throws {
        let model = Self.model(parts)
        var plain = PlanOptions()
        plain.optimizes = false
        let (fast, slow) = (try Session(Plan(model)), try Session(Plan(model, options: plain)))
        let name = try #require(fast.plan.outputs.first?.name)
        for shape in [[2, 3, 14, 14], [1, 3, 14, 14], [16, 3, 8, 8], [2, 3, 14, 14], [1, 3, 2, 3], [3, 3, 17, 9]] {
            let x = Tensor(numbers(shape.reduce(1, *), seed: 99), shape: shape)
            let found = try #require(try fast.run(["x": x])[name]).floats()
            let wanted = try #require(try slow.run(["x": x])[name]).floats()
            #expect(found.count == wanted.count)
            let scale = wanted.reduce(0) { max($0, abs($1)) }
            let difference = zip(found, wanted).reduce(0) { max($0, abs($1.0 - $1.1)) }
            #expect(difference <= 1e-5 * scale, "\(shape): \(difference) of \(scale)")
        }
    }

    /// Exponentials of exponentials make anything of a rounding.
    @Test(arguments: networks.filter { $0.activation != "Exp" })
    func bfloat16IsCloseAndSizesMayChange(_ parts: Parts) throws {
        var options = PlanOptions()
        options.allowsBF16 = true
        let model = Self.model(parts)
        let (narrow, wide) = (try Session(Plan(model, options: options)), try Session(Plan(model)))
        let name = try #require(wide.plan.outputs.first?.name)
        for shape in [[2, 3, 14, 14], [1, 3, 14, 14], [3, 3, 17, 9], [2, 3, 14, 14]] {
            let x = Tensor(numbers(shape.reduce(1, *), seed: 5), shape: shape)
            let found = try #require(try narrow.run(["x": x])[name]).floats()
            let wanted = try #require(try wide.run(["x": x])[name]).floats()
            let scale = wanted.reduce(0) { max($0, abs($1)) }
            #expect(zip(found, wanted).allSatisfy { abs($0 - $1) <= 0.03 * scale })
        }
    }
}

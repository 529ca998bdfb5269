import CNumerics
import GraftCore
import GraftIR
import GraftRuntime
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// The algorithms beside oneDNN's convolutions give what the same network gives node by node.
@Suite struct ConvolutionAlgorithmTests {
    /// A network between an image and a result, with the convolutions that a test is about in the middle.
    private struct Network {
        var model = Model(opset: 24)
        var value: ValueID
        private var width = 3
        private var seed: UInt64 = 1

        init() { value = model.graph.addInput("x", type: .tensor(.float32, ["N", 3, "H", "W"])) }

        private mutating func weights(_ shape: [Int]) -> ValueID {
            seed += 1
            let scale = 1 / Float(shape.dropFirst().reduce(1, *)).squareRoot()
            let values = numbers(shape.reduce(1, *), seed: seed).map { $0 * scale }
            return model.graph.addInitializer("w\(seed)", Tensor(values, shape: shape))
        }

        mutating func convolve(
            _ channels: Int, kernel: Int = 3, stride: Int = 1, pads: [Int]? = nil, depthwise: Bool = false,
            hasBias: Bool = true
        ) {
            let filters = weights([channels, depthwise ? 1 : width, kernel, kernel])
            let bias = weights([channels])
            let pad = kernel / 2
            value = model.graph.add(
                "Conv", [value, filters] + (hasBias ? [bias] : []),
                attributes: [
                    "pads": .ints(pads ?? [pad, pad, pad, pad]), "strides": .ints([stride, stride]),
                    "group": .int(depthwise ? channels : 1),
                ])
            width = channels
        }

        mutating func apply(_ activation: String?) {
            guard let activation else { return }
            if activation == "Clip" {
                let (low, high) = (
                    model.graph.addInitializer("low\(seed)", Tensor(scalar: Float(0))),
                    model.graph.addInitializer("high\(seed)", Tensor(scalar: Float(0.4)))
                )
                value = model.graph.add("Clip", [value, low, high])
            } else {
                value = model.graph.add(OperatorName(activation), [value])
            }
        }

        mutating func add(_ other: ValueID) { value = model.graph.add("Add", [value, other]) }

        /// Compares the optimised plan with the plain one, and tells the operators of the first.
        mutating func expectAgreement(_ sizes: [[Int]]) throws -> Set<String> {
            // Every pixel counts: a mean would hide those that change places.
            model.graph.addOutput(value)
            var options = PlanOptions()
            options.optimizes = false
            let (fast, slow) = (try Session(Plan(model)), try Session(Plan(model, options: options)))
            options.optimizes = true
            options.allowsBF16 = true
            let narrow = try Session(Plan(model, options: options))
            let name = try #require(fast.plan.outputs.first?.name)
            for size in sizes {
                let shape = [size[0], 3, size[1], size[2]]
                let x = Tensor(numbers(shape.reduce(1, *), seed: 99), shape: shape)
                let found = try #require(try fast.run(["x": x])[name]).floats()
                let wanted = try #require(try slow.run(["x": x])[name]).floats()
                let scale = wanted.reduce(0) { max($0, abs($1)) }
                let difference = zip(found, wanted).reduce(0) { max($0, abs($1.0 - $1.1)) }
                #expect(found.count == wanted.count && scale > 0)
                #expect(difference <= 1e-5 * scale, "\(shape): \(difference) of \(scale)")
                // A few roundings to 8 bits.
                let rough = try #require(try narrow.run(["x": x])[name]).floats()
                let distance = zip(rough, wanted).reduce(0) { max($0, abs($1.0 - $1.1)) }
                #expect(rough.count == wanted.count)
                #expect(distance <= 1.5e-2 * scale, "\(shape) in bfloat16: \(distance) of \(scale)")
            }
            return Set(Profile(fast.plan).entries.map(\.op.type))
        }
    }

    struct Window: Sendable, CustomTestStringConvertible {
        var channels: [Int]
        var pads = [1, 1, 1, 1]
        var residual = false
        var activation: String?
        var hasBias = true
        var testDescription: String {
            "\(channels) pads \(pads)\(residual ? " residual" : "") \(activation ?? "")\(hasBias ? "" : " no bias")"
        }
    }

    /// Few and many channels go different ways; few tiles, tiles over the edge, and both kinds of residual.
    @Test(arguments: [
        Window(channels: [32, 32]), Window(channels: [64, 64], residual: true, activation: "Relu"),
        Window(channels: [48, 80], activation: "Clip", hasBias: false),
        Window(channels: [32, 272], activation: "Swish"),
        Window(channels: [272, 272], residual: true, activation: "Relu"),
        Window(channels: [64, 96], pads: [0, 0, 0, 0]),
        Window(channels: [64, 64], pads: [2, 0, 1, 2], activation: "Tanh"), Window(channels: [40, 64]),
        Window(channels: [144, 48], residual: false, activation: "LeakyRelu"),
    ])
    func windowsOfThreeByThree(_ window: Window) throws {
        var network = Network()
        network.convolve(window.channels[0])
        network.apply("Relu")
        let entry = network.value
        network.convolve(window.channels[1], pads: window.pads, hasBias: window.hasBias)
        if window.residual { network.add(entry) }
        network.apply(window.activation)
        network.convolve(32, kernel: 1)
        network.convolve(32)
        _ = try network.expectAgreement([[1, 14, 14], [2, 9, 23], [16, 8, 8], [1, 50, 47], [1, 14, 14]])
    }

    struct Expansion: Sendable, CustomTestStringConvertible {
        var channels: [Int]
        var kernel = 3
        var stride = 1
        var pads: [Int]?
        var inner: String?
        var outer: String?
        var hasBias = true
        var testDescription: String {
            "\(channels) \(kernel)x\(kernel)/\(stride) \(pads ?? []) \(inner ?? "") \(outer ?? "")"
        }
    }

    @Test(arguments: [
        Expansion(channels: [16, 96], inner: "Clip", outer: "Clip"),
        Expansion(channels: [24, 72], stride: 2, inner: "Relu"),
        Expansion(channels: [40, 240], kernel: 5, inner: "Swish", outer: "Swish"),
        Expansion(channels: [33, 40], kernel: 5, stride: 2, inner: "HardSwish", outer: "HardSwish", hasBias: false),
        Expansion(channels: [20, 16], kernel: 7, inner: "Relu", outer: "Tanh"),
        Expansion(channels: [32, 48], pads: [0, 1, 2, 0], inner: "Swish"), Expansion(channels: [64, 208], stride: 2),
        Expansion(channels: [16, 96], stride: 2, pads: [0, 0, 1, 1], inner: "Relu", outer: "Relu"),
    ])
    func expansionsJoinTheDepthwiseConvolution(_ expansion: Expansion) throws {
        var network = Network()
        network.convolve(expansion.channels[0])
        network.apply("Relu")
        network.convolve(expansion.channels[1], kernel: 1, hasBias: expansion.hasBias)
        network.apply(expansion.inner)
        network.convolve(
            expansion.channels[1], kernel: expansion.kernel, stride: expansion.stride, pads: expansion.pads,
            depthwise: true, hasBias: expansion.hasBias)
        network.apply(expansion.outer)
        network.convolve(24, kernel: 1)
        let operators = try network.expectAgreement([[1, 14, 14], [2, 9, 23], [1, 61, 40], [5, 7, 7], [1, 8, 9]])
        if cdepthwise_is_available() != 0 {
            #expect(operators.contains("ExpandedDepthwise") != (expansion.outer == "Tanh"))
        }
    }

    @Test(arguments: [(3, 1, "Relu"), (5, 2, "Swish"), (7, 1, "HardSwish"), (3, 2, "Sigmoid"), (7, 2, "Tanh")])
    func depthwiseConvolutions(kernel: Int, stride: Int, activation: String) throws {
        var network = Network()
        network.convolve(48)
        network.convolve(48, kernel: kernel, stride: stride, depthwise: true)
        network.apply(activation)
        network.convolve(24, kernel: 1)
        network.convolve(24)
        _ = try network.expectAgreement([[1, 14, 14], [2, 9, 23], [1, 61, 40], [5, 7, 7], [1, 3, 4]])
    }

    /// The functions behind a window that changes nothing, beside 64-bit arithmetic.
    @Test(.enabled(if: cdepthwise_is_available() != 0), arguments: [CDEPTHWISE_SWISH, CDEPTHWISE_HARDSWISH])
    func functionsAreAsExactAsTheirNumbers(_ function: cdepthwise_function) {
        let (width, lanes) = (1000, 16)
        var geometry = cdepthwise_geometry(
            height: 1, width: width, output_height: 1, output_width: width, size: 3, stride: 1, top: 1, left: 1)
        let numbers = (0..<width * lanes).map { Float($0 - 8000) / 80 + 0.0131 }
        var weights = [Float](repeating: 0, count: 9 * lanes)
        for lane in 0..<lanes { weights[4 * lanes + lane] = 1 }
        var scratch = [Float](repeating: 0, count: cdepthwise_scratch(&geometry, 1, 1))
        var results = [Float](repeating: 0, count: width * lanes)
        cdepthwise_run(
            &geometry, numbers, nil, weights, [Float](repeating: 0, count: lanes),
            cdepthwise_activation(function: function, low: 0, high: 0), 1, 0, 1, 1, &scratch, &results)
        for (x, y) in zip(numbers.map(Double.init), results.map(Double.init)) {
            let wanted = function == CDEPTHWISE_SWISH ? x / (1 + exp(-x)) : x * min(1, max(0, x / 6 + 0.5))
            // x / 6 + 1 / 2 loses digits near -3 in 32 bits.
            let limit = function == CDEPTHWISE_SWISH ? 3e-7 * (1 + abs(x)) * abs(wanted) + 1e-34 : 3e-7 * abs(x)
            #expect(abs(y - wanted) <= limit, "of \(x)")
        }
    }
}

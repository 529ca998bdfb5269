import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Operators between DequantizeLinear and QuantizeLinear work on bytes, and give what the same plan gives node by node.
@Suite(.enabled(if: ByteNumbers.areExact)) struct QuantizedFusionTests {
    /// A graph of quantised values.
    struct Writer {
        var graph = GraphWriter(opset: 17)
        /// The type of activations, and of weights.
        var isSigned = false

        mutating func scale(_ value: Float) -> ValueID { graph.number(value) }

        mutating func zero(_ value: Int) -> ValueID {
            isSigned
                ? graph.constant(Tensor(scalar: Int8(clamping: value - 128)))
                : graph.constant(Tensor(scalar: UInt8(clamping: value)))
        }

        mutating func quantized(_ x: ValueID, _ step: Float, _ point: Int) -> ValueID {
            graph.add("QuantizeLinear", x, scale(step), zero(point))
        }

        mutating func dequantized(_ x: ValueID, _ step: Float, _ point: Int) -> ValueID {
            graph.add("DequantizeLinear", x, scale(step), zero(point))
        }

        /// Quantised and dequantised again, as quantisers write it.
        mutating func through(_ x: ValueID, _ step: Float, _ point: Int) -> ValueID {
            dequantized(quantized(x, step, point), step, point)
        }

        /// The scales of weights times a factor.
        static func units(_ factor: Float, _ count: Int) -> [Float] {
            (0..<count).map { factor * (0.004 + 0.0003 * Float($0 % 7)) }
        }

        /// Constant weights with a scale for each entry of an axis, or one for all.
        mutating func weights(_ shape: [Int], axis: Int?, seed: Int) throws -> ValueID {
            let numbers = try spreadNumbers(shape, seed).elements(as: Float.self)
            let codes = (0..<shape.reduce(1, *)).map { Int8(clamping: Int(numbers[$0] * 63)) }
            let count = axis.map { shape[$0] } ?? 1
            let steps = Self.units(1, count)
            let stepValue = axis == nil ? graph.number(steps[0]) : graph.constant(Tensor(steps))
            let point =
                axis == nil
                ? graph.constant(Tensor(scalar: Int8(0)))
                : graph.constant(Tensor([Int8](repeating: 0, count: count)))
            return graph.add(
                "DequantizeLinear", graph.constant(Tensor(codes, shape: shape)), stepValue, point,
                attributes: axis.map { ["axis": .int($0)] } ?? Attributes())
        }

        /// A bias of integers whose unit is that of the sums.
        mutating func bias(_ count: Int, unit: [Float]) -> ValueID {
            let numbers = (0..<count).map { Int32($0 * 331 % 1000 - 500) }
            return graph.add(
                "DequantizeLinear", graph.constant(Tensor(numbers)),
                unit.count == 1 ? graph.number(unit[0]) : graph.constant(Tensor(unit)),
                unit.count == 1
                    ? graph.constant(Tensor(scalar: Int32(0)))
                    : graph.constant(Tensor([Int32](repeating: 0, count: count))),
                attributes: ["axis": .int(0)])
        }

        /// Compares a result that is quantised with `step`, and tells the plan's operators.
        mutating func finish(_ y: ValueID, step: Float, share: Double = 0.02) throws -> [String] {
            graph.model.graph.addOutput(y)
            let name = graph.model.graph[y].name
            var plain = PlanOptions()
            plain.optimizes = false
            let expected = try #require(Session(Plan(graph.model, options: plain)).run(graph.given)[name]).elements(
                as: Float.self)
            let plan = try Plan(graph.model)
            let session = try Session(plan)
            for _ in 0..<2 {
                let found = try #require(session.run(graph.given)[name]).elements(as: Float.self)
                try #require(found.count == expected.count)
                let gaps = zip(found, expected).map { abs($0 - $1) / step }
                #expect((gaps.max() ?? 0) < 1.01, "a step of the result at most")
                #expect(Double(gaps.count { $0 > 0.01 }) <= share * Double(gaps.count), "few elements differ")
                #expect(Set(found).count > 3, "the results are not all alike")
            }
            return Profile(plan).entries.map(\.op.type)
        }
    }

    struct Convolution: Sendable, CustomTestStringConvertible {
        var channels = 16
        var outputs = 24
        var group = 1
        var kernel = 3
        var axis: Int? = 0
        var activation: String?
        var isSigned = false
        var points = (x: 128, y: 128)
        var testDescription: String {
            "\(channels) to \(outputs) in \(group), \(kernel), \(axis.map { "axis \($0)" } ?? "tensor") "
                + "\(activation ?? "") \(isSigned ? "signed" : "unsigned") \(points)"
        }
    }

    @Test(arguments: [
        Convolution(), Convolution(axis: nil, points: (0, 3)), Convolution(channels: 3, outputs: 20, points: (114, 0)),
        Convolution(channels: 24, outputs: 24, group: 24), Convolution(channels: 24, group: 4, points: (17, 99)),
        Convolution(kernel: 1, activation: "Relu"), Convolution(activation: "Relu", points: (128, 0)),
        Convolution(activation: "Clip", points: (99, 100)), Convolution(isSigned: true),
        Convolution(channels: 32, outputs: 32, group: 32, activation: "Clip", isSigned: true, points: (128, 128)),
    ])
    func aConvolutionBetweenCastsIsOneKernel(_ form: Convolution) throws {
        var writer = Writer(isSigned: form.isSigned)
        let x = writer.graph.input("x", [2, form.channels, 9, 8])
        let read = writer.through(x, 0.0171, form.points.x)
        let w = try writer.weights(
            [form.outputs, form.channels / form.group, form.kernel, form.kernel], axis: form.axis, seed: 5)
        let units = Writer.units(0.0171, form.axis == nil ? 1 : form.outputs)
        let b = writer.bias(form.outputs, unit: units)
        let pad = form.kernel / 2
        var y = writer.graph.add(
            "Conv", read, w, b,
            attributes: ["pads": .ints([pad, pad, pad, pad]), "group": .int(form.group)])
        if form.activation == "Relu" { y = writer.graph.add("Relu", y) }
        if form.activation == "Clip" {
            y = writer.graph.add("Clip", y, writer.graph.number(-0.31), writer.graph.number(0.47))
        }
        y = writer.through(y, 0.0213, form.points.y)
        let found = try writer.finish(y, step: 0.0213)
        #expect(found == ["QuantizeLinear", "QLinearConv", "DequantizeLinear"])
    }

    @Test func aConvolutionThatNothingQuantisesGivesNumbers() throws {
        var writer = Writer()
        let x = writer.graph.input("x", [1, 8, 6, 6])
        let read = writer.through(x, 0.0171, 120)
        let w = try writer.weights([12, 8, 3, 3], axis: 0, seed: 5)
        let b = writer.graph.constant(spreadNumbers([12], 9))
        let y = writer.graph.add("Conv", read, w, b)
        // Numbers agree far better than a step.
        #expect(try writer.finish(y, step: 1e-5, share: 1) == ["QuantizeLinear", "QLinearConv"])
    }

    @Test(arguments: [
        ("MatMul", nil as Int?), ("MatMul", 1), ("Gemm", 0), ("Gemm", nil), ("Numbers", 1), ("Bias", 1), ("Bias", nil),
        ("Computed", nil),
    ])
    func aProductBetweenCastsIsOneKernel(kind: String, axis: Int?) throws {
        var writer = Writer()
        let isGemm = kind == "Gemm"
        let a = writer.through(writer.graph.input("a", isGemm ? [7, 24] : [2, 7, 24]), 0.0157, 117)
        let y: ValueID
        switch kind {
        case "Gemm":
            let b = writer.bias(33, unit: Writer.units(0.0157, axis == nil ? 1 : 33))
            y = writer.graph.add(
                "Gemm", a, try writer.weights([33, 24], axis: axis, seed: 3), b, attributes: ["transB": .int(1)])
        case "Computed":
            y = writer.graph.add("MatMul", a, writer.through(writer.graph.input("b", [2, 24, 15]), 0.0161, 131))
        default: y = writer.graph.add("MatMul", a, try writer.weights([24, 33], axis: axis, seed: 3))
        }
        if kind == "Bias" {
            let sum = writer.graph.add("Add", y, writer.graph.constant(spreadNumbers([33], 6)))
            let active = writer.graph.add("Relu", sum)
            #expect(
                try writer.finish(writer.through(active, 0.03, 6), step: 0.03)
                    == ["QuantizeLinear", "QGemm", "DequantizeLinear"])
            return
        }
        if kind == "Numbers" {
            #expect(try writer.finish(y, step: 1e-5, share: 1) == ["QuantizeLinear", "QGemm"])
            return
        }
        let found = try writer.finish(writer.through(y, 0.03, 126), step: 0.03)
        #expect(found.count { $0 == "QGemm" } == 1 && !found.contains(kind), "\(found)")
    }

    @Test func elementwiseOperatorsWorkOnBytes() throws {
        var writer = Writer()
        let a = writer.through(writer.graph.input("a", [2, 5, 4, 6]), 0.0157, 117)
        let b = writer.through(writer.graph.input("b", [2, 5, 4, 6]), 0.0149, 133)
        var y = writer.through(writer.graph.add("Add", a, b), 0.031, 128)
        y = writer.through(writer.graph.add("Sigmoid", y), 1.0 / 256, 0)
        y = writer.through(writer.graph.add("Mul", y, a), 0.0158, 121)
        y = writer.through(writer.graph.add("Div", y, writer.graph.number(1.7)), 0.011, 122)
        y = writer.through(writer.graph.transposed(y, [0, 2, 3, 1]), 0.011, 122)
        let found = try writer.finish(y, step: 0.011, share: 0.1)
        #expect(
            found == [
                "QuantizeLinear", "QuantizeLinear", "QLinearAdd", "ByteTable", "QLinearMul", "ByteTable", "Transpose",
                "DequantizeLinear",
            ])
    }

    @Test func poolingAndShapesWorkOnBytes() throws {
        var writer = Writer()
        let x = writer.through(writer.graph.input("x", [2, 5, 9, 7]), 0.0157, 117)
        var y = writer.graph.add(
            "MaxPool", x, attributes: ["kernel_shape": .ints([3, 2]), "pads": .ints([1, 0, 1, 1])])
        y = writer.through(y, 0.0157, 117)
        let mean = writer.through(writer.graph.add("GlobalAveragePool", y), 0.012, 110)
        let flat = writer.through(writer.graph.add("Flatten", mean), 0.012, 110)
        // A change of scale after a movement is a table.
        let moved = writer.through(writer.graph.transposed(flat, [1, 0]), 0.013, 99)
        let found = try writer.finish(moved, step: 0.013)
        #expect(
            found == [
                "QuantizeLinear", "MaxPool", "QLinearGlobalAveragePool", "Flatten", "Transpose", "ByteTable",
                "DequantizeLinear",
            ])
    }

    @Test func softmaxAndConcatenationWorkOnBytes() throws {
        var writer = Writer()
        let a = writer.through(writer.graph.input("a", [3, 40]), 0.0157, 117)
        let b = writer.through(writer.graph.input("b", [3, 9]), 0.0149, 133)
        let joined = writer.through(writer.graph.add("Concat", a, b, attributes: ["axis": .int(1)]), 0.016, 120)
        let y = writer.through(writer.graph.add("Softmax", joined, attributes: ["axis": .int(-1)]), 1.0 / 1024, 0)
        let found = try writer.finish(y, step: 1.0 / 1024)
        #expect(
            found == ["QuantizeLinear", "QuantizeLinear", "QLinearConcat", "QLinearSoftmax", "DequantizeLinear"])
    }

    @Test(arguments: [false, true]) func aProductOfWhatIsQuantisedAsItComesIsOneKernel(hasBias: Bool) throws {
        var graph = GraphWriter(opset: 17)
        let x = graph.input("x", [2, 7, 24])
        let parts = (0..<3).map { graph.model.graph.addValue("q\($0)") }
        graph.model.graph.addNode(
            OperatorName("DynamicQuantizeLinear"), name: "quantize", inputs: [x], outputs: parts,
            attributes: Attributes())
        let numbers = try spreadNumbers([24 * 15], 4).elements(as: Float.self)
        let codes = graph.constant(
            Tensor((0..<(24 * 15)).map { Int8(clamping: Int(numbers[$0] * 63)) }, shape: [24, 15]))
        let sums = graph.add("MatMulInteger", parts[0], codes, parts[2], graph.constant(Tensor(scalar: Int8(0))))
        let cast = graph.add("Cast", sums, attributes: ["to": .int(Int(ElementType.float32.rawValue))])
        var y = graph.add("Mul", cast, graph.add("Mul", parts[1], graph.number(0.0123)))
        if hasBias { y = graph.add("Add", graph.constant(spreadNumbers([15], 8)), y) }
        #expect(try graph.finish(y) == ["DynamicQuantizeLinear", "MatMulIntegerToFloat"])
    }

    /// What does not fit stays as it is.
    @Test func aScaleAlongTheWrongAxisIsLeftAlone() throws {
        var writer = Writer()
        let read = writer.through(writer.graph.input("x", [1, 8, 6, 6]), 0.0171, 120)
        let y = writer.graph.add("Conv", read, try writer.weights([8, 8, 3, 3], axis: 1, seed: 5))
        let found = try writer.finish(writer.through(y, 0.02, 128), step: 0.02)
        #expect(found.contains("Conv") && !found.contains("QLinearConv"))
    }
}

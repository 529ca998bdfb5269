import GraftAutodiff
import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// The gradients of operators agree with differences of their results, settings included that the goldens lack.
@Suite struct FiniteDifferenceTests {
    /// An operator with operands: those with a range are differentiated, the others are constants.
    struct Case: Sendable, CustomTestStringConvertible {
        enum Operand: Sendable {
            /// Distinct numbers between two bounds, in mixed order.
            case between(Float, Float, [Int])
            case constant(Tensor)
            case absent
        }

        let name: String
        let op: OperatorName
        let attributes: Attributes
        let operands: [Operand]
        var opset = 18
        /// How many of the outputs the loss reads.
        var outputs = 1
        /// The outputs that are made but not read.
        var extra = 0
        var testDescription: String { "\(op.type) \(name)" }

        init(
            _ type: String, _ name: String, domain: String = "", _ operands: [Operand],
            _ attributes: Attributes = Attributes(), opset: Int = 18, outputs: Int = 1, extra: Int = 0
        ) {
            (self.name, op, self.attributes) = (name, OperatorName(type, domain: domain), attributes)
            (self.operands, self.opset, self.outputs, self.extra) = (operands, opset, outputs, extra)
        }

        init(
            _ type: String, domain: String = "", _ operands: [Operand], _ attributes: Attributes = Attributes(),
            opset: Int = 18, outputs: Int = 1, extra: Int = 0
        ) {
            self.init(
                type, "plain", domain: domain, operands, attributes, opset: opset, outputs: outputs, extra: extra)
        }
    }

    private static func normal(_ shape: Int...) -> Case.Operand { .between(-1.5, 1.5, shape) }
    private static func integers(_ values: Int64...) -> Case.Operand { .constant(Tensor(values)) }
    private static func floats(_ values: Float...) -> Case.Operand { .constant(Tensor(values)) }

    static let convolutions: [Case] = [
        Case(
            "Conv", "groups of many channels", [normal(2, 8, 5, 4), normal(8, 4, 3, 3)],
            ["group": .int(2), "pads": .ints([1, 1, 1, 1])]),
        Case(
            "Conv", "volumes", [normal(1, 2, 3, 3, 3), normal(2, 2, 2, 2, 2), normal(2)], ["strides": .ints([1, 1, 2])]),
        Case(
            "ConvTranspose", "same_lower", [normal(1, 2, 3, 3), normal(2, 3, 3, 3)],
            ["strides": .ints([2, 2]), "auto_pad": .string("SAME_LOWER")]),
        Case(
            "ConvTranspose", "dilations", [normal(1, 2, 3, 3), normal(2, 2, 2, 2), normal(2)],
            ["dilations": .ints([2, 1])]),
        Case(
            "MaxPool", "ceil_mode", [normal(1, 3, 5, 5)],
            ["kernel_shape": .ints([2, 2]), "strides": .ints([2, 2]), "ceil_mode": .int(1)]),
        Case(
            "MaxPool", "dilations", [normal(1, 2, 6, 5)],
            ["kernel_shape": .ints([2, 3]), "dilations": .ints([2, 1]), "pads": .ints([1, 1, 0, 1])]),
        Case("MaxPool", "one axis", [normal(2, 2, 7)], ["kernel_shape": .ints([3])]),
        Case(
            "AveragePool", "ceil_mode", [normal(1, 2, 5, 5)],
            ["kernel_shape": .ints([2, 2]), "strides": .ints([2, 2]), "ceil_mode": .int(1)]),
        Case(
            "AveragePool", "volumes", [normal(1, 2, 3, 3, 3)],
            ["kernel_shape": .ints([2, 2, 2]), "pads": .ints([1, 0, 0, 1, 0, 0])]),
        Case("GlobalAveragePool", [normal(2, 3, 3, 2)]), Case("GlobalMaxPool", [normal(2, 3, 3, 2)]),
        Case(
            "Resize", "antialias", [normal(1, 2, 6, 5), .absent, .absent, integers(1, 2, 3, 3)],
            ["mode": .string("linear"), "antialias": .int(1)]),
        Case(
            "Resize", "cubic without outside", [normal(1, 1, 4, 4), .absent, floats(1, 1, 1.5, 2)],
            ["mode": .string("cubic"), "exclude_outside": .int(1)]),
        Case("Upsample", "opset 9", [normal(1, 2, 2, 3), floats(1, 1, 2, 2)], ["mode": .string("nearest")], opset: 9),
    ]

    static let normalizations: [Case] = [
        Case("GroupNormalization", "per group", [normal(2, 4, 3, 2), normal(2), normal(2)], ["num_groups": .int(2)]),
        Case(
            "GroupNormalization", "per channel", [normal(2, 4, 3, 2), normal(4), normal(4)], ["num_groups": .int(2)],
            opset: 21),
        Case("InstanceNormalization", [normal(2, 3, 4), normal(3), normal(3)], ["epsilon": .float(1e-2)]),
        Case("LayerNormalization", "two axes", [normal(2, 3, 4), normal(3, 4), normal(3, 4)], ["axis": .int(1)]),
        Case("LayerNormalization", "broadcast scale", [normal(2, 3, 4), normal(4), .absent], ["axis": .int(1)]),
        Case(
            "LRN", [normal(2, 6, 2, 2)],
            ["size": .int(3), "alpha": .float(0.5), "beta": .float(0.75), "bias": .float(1.5)]),
        Case("LRN", "even", [normal(1, 5, 2, 2)], ["size": .int(4), "alpha": .float(0.7)]),
        Case(
            "BatchNormalization", "training", [normal(3, 2, 2, 3), normal(2), normal(2), floats(0, 0), floats(1, 1)],
            ["training_mode": .int(1)], extra: 2),
        Case(
            "BatchNormalization", "inference",
            [normal(3, 2, 2, 3), normal(2), normal(2), floats(0.3, -0.2), floats(1.5, 0.5)]),
        Case("Softmax", "pixels", [normal(2, 4, 3, 2)], ["axis": .int(1)]),
        Case("LogSoftmax", "middle", [normal(2, 4, 3)], ["axis": .int(1)]),
        Case(
            "SoftmaxCrossEntropy", "probabilities", domain: graftDomain,
            [normal(2, 3), .constant(Tensor([Float]([0.2, 0.5, 0.3, 1, 0, 0]), shape: [2, 3]))], extra: 1),
        Case(
            "SoftmaxCrossEntropy", "smoothed pixels", domain: graftDomain,
            [normal(2, 3, 2), .constant(Tensor([Int64]([0, 2, 1, 1]), shape: [2, 2]))],
            ["label_smoothing": .float(0.1)], extra: 1),
        Case(
            "SigmoidCrossEntropy", domain: graftDomain,
            [normal(2, 3), .constant(Tensor([Float]([0, 1, 1, 0, 0.5, 1]), shape: [2, 3]))], extra: 1),
        Case(
            "DropoutTraining", domain: graftDomain,
            [
                normal(4, 5), .constant(Tensor(scalar: Float(0.4))), .constant(Tensor(scalar: Int64(7))),
                .constant(Tensor(scalar: Int64(3))),
            ], extra: 1),
    ]

    static let attentions: [Case] = [
        Case("Attention", "heads", [normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 3)], opset: 23),
        Case(
            "Attention", "shared keys and causal", [normal(1, 4, 3, 2), normal(1, 2, 3, 2), normal(1, 2, 3, 3)],
            ["is_causal": .int(1), "scale": .float(0.4)], opset: 24),
        Case(
            "Attention", "rows with a mask",
            [
                normal(2, 3, 4), normal(2, 3, 4), normal(2, 3, 4),
                .constant(Tensor([true, false, true, true, true, false, false, true, true], shape: [3, 3])),
            ], ["q_num_heads": .int(2), "kv_num_heads": .int(2)], opset: 23),
        Case(
            "Attention", "rows that share keys", [normal(2, 3, 8), normal(2, 4, 4), normal(2, 4, 4)],
            ["q_num_heads": .int(4), "kv_num_heads": .int(2)], opset: 25),
        Case(
            "RotaryEmbedding", "halves",
            [
                normal(1, 2, 3, 4), .constant(Tensor([Float]([1, 0.5, 0.2, 0.9, -0.3, 0.7]), shape: [3, 2])),
                .constant(Tensor([Float]([0, 0.8, 0.9, 0.4, 0.9, -0.7]), shape: [3, 2])),
                .constant(Tensor([Int64]([2, 0, 1]), shape: [1, 3])),
            ], opset: 23),
        Case(
            "RotaryEmbedding", "neighbours, in part",
            [
                normal(1, 3, 12), .constant(Tensor([Float]([1, 0.5, 0.2, 0.9, -0.3, 0.7]), shape: [1, 3, 2])),
                .constant(Tensor([Float]([0, 0.8, 0.9, 0.4, 0.9, -0.7]), shape: [1, 3, 2])),
            ], ["num_heads": .int(2), "interleaved": .int(1), "rotary_embedding_dim": .int(4)], opset: 23),
        Case("RMSNormalization", "two axes", [normal(2, 3, 4), normal(3, 4)], ["axis": .int(1)], opset: 23),
        Case("RMSNormalization", [normal(3, 5), normal(5)], ["epsilon": .float(1e-2)], opset: 23),
        Case("SwiGLU", [normal(3, 5), normal(3, 5)], ["alpha": .float(1.3)], opset: 28),
    ]

    /// The places keep away from the elements, where the slope by the place jumps.
    static let samplings: [Case] = {
        var cases: [Case] = [
            Case(
                "GridSample", "aligned", [normal(1, 2, 4, 4), .between(0.4, 0.5, [1, 2, 2, 2])],
                ["align_corners": .int(1), "mode": .string("bilinear")], opset: 16),
            Case("GridSample", "volumes", [normal(1, 2, 4, 4, 4), .between(0.3, 0.42, [1, 2, 2, 2, 3])], opset: 22),
        ]
        for padding in ["zeros", "border", "reflection"] {
            let outside: (Float, Float) = padding == "reflection" ? (1.4, 1.5) : (1.1, 1.2)
            for mode in ["linear", "cubic"] {
                for (low, high) in [(0.3, 0.42), outside] {
                    cases.append(
                        Case(
                            "GridSample", "\(mode), \(padding), from \(low)",
                            [normal(2, 3, 4, 4), .between(low, high, [2, 3, 2, 2])],
                            ["mode": .string(mode), "padding_mode": .string(padding)], opset: 20))
                }
            }
            let places = Tensor([Float]([0.31, -0.2, 1.9, -0.7]), shape: [1, 1, 2, 2])
            cases.append(
                Case(
                    "GridSample", "nearest, \(padding)", [normal(1, 2, 4, 5), .constant(places)],
                    ["mode": .string("nearest"), "padding_mode": .string(padding)], opset: 20))
        }
        return cases
    }()

    static let elements: [Case] = [
        Case("HardSwish", [.between(-4, 4, [13])]), Case("LeakyRelu", [normal(12)], ["alpha": .float(0.2)]),
        Case("Softsign", [normal(12)]), Case("Swish", [normal(12)], ["alpha": .float(1.5)], opset: 24),
        Case("Gelu", "tanh", [normal(12)], ["approximate": .string("tanh")], opset: 20),
        Case("Gelu", "erf", [normal(2, 2, 3, 1)], opset: 20), Case("Mish", [.between(-6, 6, [12])]),
        Case("Softplus", [.between(-6, 6, [12])]), Case("Elu", [normal(12)], ["alpha": .float(0.7)]),
        Case("Celu", [normal(12)], ["alpha": .float(0.7)]), Case("Selu", [normal(12)]),
        Case("HardSigmoid", [normal(12)], ["alpha": .float(0.5), "beta": .float(0.4)]),
        Case("PRelu", [normal(2, 3, 2), normal(3, 1)]), Case("PRelu", "scalar", [normal(2, 6), normal(1)]),
        Case("ThresholdedRelu", [.between(-1.2, 1.2, [12])], ["alpha": .float(0.6)]),
        Case("Shrink", [.between(-1.2, 1.2, [12])], ["lambd": .float(0.6), "bias": .float(0.2)]),
        Case("Clip", [normal(12), .constant(Tensor(scalar: Float(-0.5))), .constant(Tensor(scalar: Float(0.5)))]),
        Case("Sin", [normal(8)]), Case("Cos", [normal(8)]), Case("Tan", [.between(-1, 1, [8])]),
        Case("Sinh", [normal(8)]), Case("Cosh", [normal(8)]), Case("Asin", [.between(-0.7, 0.7, [8])]),
        Case("Acos", [.between(-0.7, 0.7, [8])]), Case("Atan", [normal(8)]), Case("Asinh", [normal(8)]),
        Case("Acosh", [.between(1.5, 3, [8])]), Case("Atanh", [.between(-0.7, 0.7, [8])]),
        Case("Mean", [normal(2, 3), normal(3)]), Case("Pow", "both", [.between(0.5, 2, [2, 3]), normal(3)]),
        Case("Where", [.constant(Tensor([true, false, true])), normal(2, 3), normal(1, 3)]),
    ]

    static let shapes: [Case] = [
        Case("ReduceProd", [.between(0.5, 2, [2, 3, 2]), integers(1)]),
        Case("ReduceSumSquare", [normal(2, 3), integers(0)]),
        Case("ReduceLogSumExp", [normal(2, 3), integers(1)], ["keepdims": .int(0)]),
        Case("ReduceLogSum", [.between(0.5, 2, [2, 3]), integers(0, 1)]),
        Case("ReduceL1", [normal(2, 3), integers(1)]),
        Case("ReduceMin", [normal(2, 3), integers(1)]),
        Case("Split", [normal(4, 6)], ["axis": .int(1), "num_outputs": .int(3)], outputs: 3),
        Case(
            "Split", "one part unread", [normal(4, 6)], ["axis": .int(1), "num_outputs": .int(3)], outputs: 1, extra: 2),
        Case("Tile", [normal(2, 3), integers(2, 2)]),
        Case("DepthToSpace", [normal(1, 8, 2, 2)], ["blocksize": .int(2)]),
        Case("DepthToSpace", "CRD", [normal(1, 8, 2, 2)], ["blocksize": .int(2), "mode": .string("CRD")]),
        Case("SpaceToDepth", [normal(1, 2, 4, 4)], ["blocksize": .int(2)]),
        Case("Pad", "wrap", [normal(2, 3), integers(1, 2, 0, 1)], ["mode": .string("wrap")], opset: 19),
        Case("Pad", "axes", [normal(2, 3, 2), integers(1, -1), .absent, integers(-2)]),
        Case("Pad", "reflect and crop", [normal(4, 5), integers(2, -1, 1, 3)], ["mode": .string("reflect")]),
        Case(
            "Slice", "channels of a picture",
            [normal(2, 4, 2, 2), integers(1, -1), integers(3, -10), integers(1, 3), integers(1, -1)]),
        Case(
            "Slice", "opset 1", [normal(3, 4)], ["starts": .ints([1]), "ends": .ints([3]), "axes": .ints([1])], opset: 9
        ),
        Case(
            "Gather", "negative, along columns",
            [normal(2, 4), .constant(Tensor([Int64]([0, -1, 2, 0]), shape: [2, 2]))], ["axis": .int(1)]),
        Case(
            "Gemm", "bias a row", [normal(2, 3), normal(4, 3), normal(4)], ["transB": .int(1), "alpha": .float(0.5)]),
        Case("MatMul", "batch and vector", [normal(2, 3, 4), normal(4)]),
    ]

    private static func indices(_ shape: [Int], _ values: Int64...) -> Case.Operand {
        .constant(Tensor(values, shape: shape))
    }

    static let indexed: [Case] = [
        Case(
            "GatherElements", "twice the same", [normal(3, 2), indices([2, 2], 0, 2, 0, -1)], ["axis": .int(0)]),
        Case("GatherElements", "a part", [normal(2, 3, 2), indices([1, 2, 2], 2, 0, 2, 1)], ["axis": .int(1)]),
        Case("GatherND", "rows", [normal(3, 4), indices([2, 1], 2, -1)]),
        Case("GatherND", "batches", [normal(2, 3, 2), indices([2, 1], 1, 0)], ["batch_dims": .int(1)]),
        Case(
            "ScatterElements", "none", [normal(3, 3), indices([2, 3], 1, 0, 2, 0, 2, 1), normal(2, 3)],
            ["axis": .int(0)]),
        Case(
            "ScatterElements", "add", [normal(3, 3), indices([2, 3], 1, 0, 2, 1, 0, 2), normal(2, 3)],
            ["axis": .int(0), "reduction": .string("add")]),
        Case("ScatterND", "none", [normal(4, 2), indices([2, 1], 3, 1), normal(2, 2)]),
        Case(
            "ScatterND", "add", [normal(4, 2), indices([2, 1], 1, 1), normal(2, 2)], ["reduction": .string("add")]),
        Case(
            "CumSum", "exclusive from the end", [normal(2, 4), indices([], 1)],
            ["exclusive": .int(1), "reverse": .int(1)]),
        Case("CumSum", [normal(2, 4), indices([], 0)]), Case("Trilu", "upper", [normal(2, 3, 4), indices([], 1)]),
        Case("Trilu", "lower", [normal(4, 3), .absent], ["upper": .int(0)]),
        Case("TopK", [normal(2, 5), indices([1], 2)], extra: 1),
        Case("Einsum", "product", [normal(2, 3), normal(4, 3)], ["equation": .string("ij,kj->ki")]),
        Case(
            "Einsum", "chain", [normal(2, 3), normal(3, 2), normal(2, 2)], ["equation": .string("ij,jk,kl->il")]),
        Case("Einsum", "axis of its own", [normal(2, 3), normal(2)], ["equation": .string("ij,i->i")]),
        Case(
            "Einsum", "ellipsis", [normal(1, 2, 3), normal(2, 3, 2)], ["equation": .string("...ij,...jk->...ik")]),
    ]

    @Test(arguments: convolutions + normalizations + attentions + samplings + elements + shapes + indexed)
    func gradientIsTheSlope(_ test: Case) throws {
        var model = Model(opset: test.opset)
        model.importOpset(graftDomain, version: 1)
        var inputs: [String: Tensor] = [:]
        var wanted: [ValueID] = []
        let operands = test.operands.enumerated().map { index, operand -> ValueID? in
            switch operand {
            case .absent: return nil
            case .constant(let tensor): return model.graph.addInitializer("c\(index)", tensor)
            case .between(let low, let high, let shape):
                let tensor = Self.spread(low, high, shape, offset: index)
                let value = model.graph.addInput("x\(index)", type: .tensor(.float32, SymbolicShape(shape)))
                inputs["x\(index)"] = tensor
                wanted.append(value)
                return value
            }
        }
        let outputs = (0..<(test.outputs + test.extra)).map { model.graph.addValue("y\($0)") }
        model.graph.addNode(test.op, name: "node", inputs: operands, outputs: outputs, attributes: test.attributes)
        if test.attributes.int("training_mode") == 1 {
            model = try TrainingForm(model, options: .init { _ in .train }).model
        }
        let read = Array(outputs.prefix(test.outputs))
        var options = PlanOptions()
        options.outputs = read
        let forward = try Session(Plan(model, options: options))
        // The loss is the sum of the results times fixed numbers.
        var upstream: [String: Tensor] = [:]
        var sums: [ValueID] = []
        for (index, value) in read.enumerated() {
            let result = try #require(try forward.run(inputs)["y\(index)"])
            let weights = Self.spread(-1, 1, result.shape, offset: 5 + index)
            upstream["w\(index)"] = weights
            let weight = model.graph.addInput("w\(index)", type: .tensor(.float32, SymbolicShape(result.shape)))
            sums.append(
                model.graph.add(
                    "ReduceSum", [model.graph.add("Mul", [value, weight])], attributes: ["keepdims": .int(0)]))
        }
        let loss = sums.count == 1 ? sums[0] : model.graph.add("Sum", sums)
        let gradients = try Differentiation.gradients(of: loss, withRespectTo: wanted, in: &model)
        options.outputs = try wanted.map { try #require(gradients[$0]) }
        let backward = try Session(Plan(model, options: options))
        let found = try backward.run(inputs.merging(upstream) { first, _ in first })

        func evaluate(_ inputs: [String: Tensor]) throws -> Double {
            let results = try forward.run(inputs)
            var sum = 0.0
            for index in read.indices {
                let y = try #require(results["y\(index)"])
                let w = try #require(upstream["w\(index)"])
                for (a, b) in zip(try y.floats(), try w.floats()) { sum += Double(a) * Double(b) }
            }
            return sum
        }
        for value in wanted {
            let name = model.graph[value].name
            let gradient = try #require(gradients[value])
            let analytic = try #require(found[model.graph[gradient].name])
            let start = try #require(inputs[name])
            let numbers = try start.floats()
            var slopes: [Float] = []
            for index in numbers.indices {
                func at(_ step: Float) throws -> Double {
                    var moved = numbers
                    moved[index] += step
                    var other = inputs
                    other[name] = Tensor(moved, shape: start.shape)
                    return try evaluate(other)
                }
                // The difference of fourth order.
                let h: Float = 0.015625
                let near = try at(h) - at(-h)
                let far = try at(2 * h) - at(-2 * h)
                slopes.append(Float((8 * near - far) / (12 * Double(h))))
            }
            let difference = try relativeDifference(analytic, Tensor(slopes, shape: start.shape))
            #expect(difference < 3e-4, "\(test.testDescription): \(name)")
        }
    }

    /// Numbers evenly spread between bounds, in mixed order.
    private static func spread(_ low: Float, _ high: Float, _ shape: [Int], offset: Int) -> Tensor {
        let count = shape.reduce(1, *)
        var order = Array(0..<count)
        var state = UInt64(offset + 1) &* 0x9E37_79B9_7F4A_7C15
        for index in order.indices.reversed() where index > 0 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            order.swapAt(index, Int(state >> 33) % (index + 1))
        }
        return Tensor(order.map { low + (high - low) * (Float($0) + 0.5) / Float(count) }, shape: shape)
    }
}

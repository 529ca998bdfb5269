import GraftCore
import GraftIR
import GraftSurgery
import GraftTestSupport
import Testing

/// Conversions between versions of ONNX's operators: the same answers, and nothing that the version does not have.
@Suite struct OpsetConversionTests {
    /// One node in a version, and what it becomes in another.
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let from: Int
        let to: Int
        /// The operators of the result, in order.
        let operators: [String]
        let build: @Sendable (inout Graph, ValueID) -> ValueID

        init(
            _ name: String, _ from: Int, _ to: Int, _ operators: [String],
            _ build: @escaping @Sendable (inout Graph, ValueID) -> ValueID
        ) {
            (self.name, self.from, self.to, self.operators, self.build) = (name, from, to, operators, build)
        }

        var testDescription: String { "\(name) \(from) to \(to)" }

        func model() -> Model {
            var model = Model(opset: from)
            let x = model.graph.addInput("x", type: .tensor(.float32, [2, 4, 3, 5]))
            let y = build(&model.graph, x)
            model.graph.rename(y, to: "y")
            model.graph[y].type = .tensor(.float32)
            model.graph.addOutput(y)
            return model
        }
    }

    private static func stored(_ graph: inout Graph, _ values: [Int]) -> ValueID {
        graph.addInitializer(graph.uniqueValueName("stored"), Tensor(values.map { Int64($0) }))
    }
    private static func stored(_ graph: inout Graph, _ values: [Float], _ shape: [Int]) -> ValueID {
        graph.addInitializer(graph.uniqueValueName("stored"), Tensor(values, shape: shape))
    }

    static let cases: [Case] = [
        Case("Unsqueeze", 11, 13, ["Unsqueeze"]) { $0.add("Unsqueeze", [$1], attributes: ["axes": .ints([0, 2])]) },
        Case("Unsqueeze", 13, 7, ["Unsqueeze"]) { $0.add("Unsqueeze", [$1, stored(&$0, [0, -1])]) },
        Case("Squeeze", 13, 10, ["Unsqueeze", "Squeeze"]) {
            let wide = $0.add("Unsqueeze", [$1, stored(&$0, [1])])
            return $0.add("Squeeze", [wide, stored(&$0, [-4])])
        },
        Case("ReduceSum", 11, 28, ["ReduceSum"]) { $0.add("ReduceSum", [$1], attributes: ["axes": .ints([1])]) },
        Case("ReduceMean", 13, 18, ["ReduceMean"]) { $0.add("ReduceMean", [$1], attributes: ["axes": .ints([-1])]) },
        Case("ReduceMean", 18, 8, ["ReduceMean"]) {
            $0.add("ReduceMean", [$1, stored(&$0, [-1])], attributes: ["keepdims": .int(0)])
        },
        Case("ReduceSum of nothing", 13, 12, ["Identity"]) {
            $0.add("ReduceSum", [$1], attributes: ["noop_with_empty_axes": .int(1)])
        },
        Case("Clip", 6 + 1, 13, ["Clip"]) {
            $0.add("Clip", [$1], attributes: ["min": .float(-0.25), "max": .float(0.5)])
        },
        Case("Clip of defaults", 7, 13, ["Clip"]) {
            $0.add("Clip", [$1], attributes: ["max": .float(0.5), "min": .float(-.greatestFiniteMagnitude)])
        },
        Case("Clip", 13, 10, ["Clip"]) { $0.add("Clip", [$1, nil, stored(&$0, [Float(0.5)], [])]) },
        Case("Clip with a computed bound", 13, 10, ["ReduceMax", "Min"]) {
            let high = $0.add("ReduceMax", [$1], attributes: ["keepdims": .int(0)])
            return $0.add("Clip", [$1, nil, high])
        },
        Case("Pad", 10, 21, ["Pad"]) {
            $0.add("Pad", [$1], attributes: ["pads": .ints([0, 0, 1, 0, 0, 0, 0, 2]), "value": .float(3)])
        },
        Case("Pad", 18, 10, ["Pad"]) { graph, x in
            graph.add("Pad", [x, stored(&graph, [1, 2]), stored(&graph, [Float(2)], []), stored(&graph, [-2])])
        },
        Case("Slice", 9, 13, ["Slice"]) {
            $0.add("Slice", [$1], attributes: ["starts": .ints([1]), "ends": .ints([-1]), "axes": .ints([3])])
        },
        Case("Slice", 13, 9, ["Slice"]) { graph, x in
            graph.add("Slice", [x, stored(&graph, [1]), stored(&graph, [1000]), stored(&graph, [-1])])
        },
        Case("Dropout", 11, 13, ["Dropout"]) { $0.add("Dropout", [$1], attributes: ["ratio": .float(0.25)]) },
        Case("Dropout", 13, 7, ["Dropout"]) { $0.add("Dropout", [$1, stored(&$0, [Float(0.25)], [])]) },
        Case("Upsample", 8, 13, ["Resize"]) {
            $0.add("Upsample", [$1], attributes: ["scales": .floats([1, 1, 2, 3])])
        },
        Case("Upsample of lines", 9, 18, ["Resize"]) {
            $0.add("Upsample", [$1, stored(&$0, [1, 1, 2, 2], [4])], attributes: ["mode": .string("linear")])
        },
        Case("Resize", 10, 11, ["Resize"]) { $0.add("Resize", [$1, stored(&$0, [1, 1, 2, 1.5], [4])]) },
        Case("Resize by whole numbers", 13, 8, ["Upsample"]) {
            $0.add("Resize", [$1, nil, stored(&$0, [1, 1, 2, 2], [4])])
        },
        Case("Resize to sizes", 13, 10, ["Resize"]) {
            $0.add(
                "Resize", [$1, nil, nil, stored(&$0, [2, 4, 6, 10])],
                attributes: ["mode": .string("linear"), "coordinate_transformation_mode": .string("asymmetric")])
        },
        Case("Resize of some axes", 18, 13, ["Resize"]) {
            $0.add("Resize", [$1, nil, stored(&$0, [2, 3], [2])], attributes: ["axes": .ints([2, 3])])
        },
        Case("Resize of TensorFlow", 11, 13, ["Resize"]) { graph, x in
            graph.add(
                "Resize", [x, stored(&graph, [], [0]), stored(&graph, [1, 1, 1.7, 0.6], [4])],
                attributes: [
                    "coordinate_transformation_mode": .string("tf_half_pixel_for_nn"), "nearest_mode": .string("floor"),
                ])
        },
        Case("Softmax over several axes", 11, 13, ["Shape", "Flatten", "Softmax", "Reshape"]) {
            $0.add("Softmax", [$1], attributes: ["axis": .int(2)])
        },
        Case("Softmax of the default axis", 11, 13, ["Shape", "Flatten", "LogSoftmax", "Reshape"]) {
            $0.add("LogSoftmax", [$1])
        },
        Case("Softmax over the last axis", 9, 13, ["Softmax"]) {
            $0.add("Softmax", [$1], attributes: ["axis": .int(3)])
        },
        Case("Softmax over an inner axis", 13, 9, ["Transpose", "Softmax", "Transpose"]) {
            $0.add("Softmax", [$1], attributes: ["axis": .int(1)])
        },
        Case("Softmax over the default axis", 13, 9, ["Softmax"]) { $0.add("Softmax", [$1]) },
        Case("Split", 11, 18, ["Split", "Concat"]) { split(&$0, $1, ["split": .ints([1, 3]), "axis": .int(1)]) },
        Case("Split in halves", 13, 18, ["Split", "Concat"]) { split(&$0, $1, ["axis": .int(1)]) },
        Case("Split of unequal parts", 18, 13, ["Split", "Concat"]) {
            split(&$0, $1, ["axis": .int(3), "num_outputs": .int(2)])
        },
        Case("Reshape", 14, 9, ["Reshape"]) {
            $0.add("Reshape", [$1, stored(&$0, [2, -1])], attributes: ["allowzero": .int(1)])
        },
        Case("Shape", 15, 13, ["Shape", "Slice", "Concat", "Reshape"]) { graph, x in
            let shape = graph.add("Shape", [x], attributes: ["start": .int(1)])
            // The extents of the last three axes become the target, with the batch among the first.
            let flat = graph.add("Concat", [stored(&graph, [-1]), shape], attributes: ["axis": .int(0)])
            return graph.add("Reshape", [x, flat])
        },
        Case("Constant", 13, 11, ["Constant", "Mul"]) {
            $0.add("Mul", [$1, $0.add("Constant", [], attributes: ["value_float": .float(2)])])
        },
        Case("Gemm", 13, 9, ["Flatten", "Gemm"]) {
            let flat = $0.add("Flatten", [$1])
            return $0.add("Gemm", [flat, $0.addInitializer("w", SmallNetworks.ramp([60, 3]))])
        },
        Case("Max of several shapes as a sum", 8, 7, ["Add"]) {
            $0.add("Sum", [$1, stored(&$0, [1, 2, 3, 4, 5], [5])])
        },
        Case("Mean of several shapes", 8, 7, ["Add", "Div"]) {
            $0.add("Mean", [$1, stored(&$0, [1, 2, 3, 4, 5], [5])])
        },
        Case("BatchNormalization", 9, 15, ["BatchNormalization"]) { norm(&$0, $1, [:]) },
        Case("BatchNormalization", 15, 8, ["BatchNormalization"]) { norm(&$0, $1, ["training_mode": .int(0)]) },
        Case("GroupNormalization", 18, 21, ["GroupNormalization"]) { group(&$0, $1, 2) },
        Case(
            "GroupNormalization", 21, 18,
            ["Reshape", "InstanceNormalization", "Shape", "Reshape", "Unsqueeze", "Mul", "Unsqueeze", "Add"]
        ) { group(&$0, $1, 4) },
        Case(
            "GroupNormalization", 18, 17, ["Shape", "Reshape", "InstanceNormalization", "Reshape"]
        ) { group(&$0, $1, 2) },
        Case(
            "LayerNormalization", 17, 16,
            ["ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add"]
        ) { graph, x in
            graph.add(
                "LayerNormalization",
                [x, stored(&graph, [1, 2, 3, 4, 5], [5]), stored(&graph, [0, 1, 0, 1, 0], [5])])
        },
        Case("Gelu", 20, 13, ["Div", "Erf", "Add", "Mul", "Mul"]) { $0.add("Gelu", [$1]) },
        Case("HardSwish", 14, 13, ["HardSigmoid", "Mul"]) { $0.add("HardSwish", [$1]) },
        Case("Mish", 18, 17, ["Softplus", "Tanh", "Mul"]) { $0.add("Mish", [$1]) },
        Case("Celu", 12, 11, ["Div", "Elu", "Mul"]) { $0.add("Celu", [$1], attributes: ["alpha": .float(0.5)]) },
        Case("ArgMax", 13, 9, ["ArgMax", "Cast"]) {
            let place = $0.add("ArgMax", [$1], attributes: ["axis": .int(-1), "select_last_index": .int(0)])
            return $0.add("Cast", [place], attributes: ["to": .int(1), "saturate": .int(1)])
        },
        Case("Concat", 13, 8, ["Concat"]) { $0.add("Concat", [$1, $1], attributes: ["axis": .int(-2)]) },
        Case("Gather", 13, 9, ["Gather"]) {
            $0.add("Gather", [$1, stored(&$0, [-1, 0])], attributes: ["axis": .int(-1)])
        },
        Case("ConstantOfShape", 9, 8, ["Constant", "Add"]) {
            $0.add("Add", [$1, $0.add("ConstantOfShape", [stored(&$0, [5])])])
        },
    ]

    private static func split(_ graph: inout Graph, _ x: ValueID, _ attributes: Attributes) -> ValueID {
        let parts = [graph.addValue("a"), graph.addValue("b")]
        graph.addNode("Split", inputs: [x], outputs: parts, attributes: attributes)
        return graph.add(
            "Concat", [parts[1], parts[0]], attributes: ["axis": .int(attributes.int("axis") ?? 0)])
    }
    private static func norm(_ graph: inout Graph, _ x: ValueID, _ attributes: Attributes) -> ValueID {
        let parts: [ValueID] = [[1, 2, 3, 4], [0, 1, 0, 1], [0.5, 0, 0, 1], [1, 2, 1, 2]].map {
            stored(&graph, $0, [4])
        }
        return graph.add("BatchNormalization", [x] + parts, attributes: attributes)
    }
    private static func group(_ graph: inout Graph, _ x: ValueID, _ count: Int) -> ValueID {
        let scale = stored(&graph, (0..<count).map { Float($0 + 1) }, [count])
        let bias = stored(&graph, (0..<count).map { Float($0) / 2 }, [count])
        return graph.add("GroupNormalization", [x, scale, bias], attributes: ["num_groups": .int(2)])
    }

    @Test(arguments: cases) func theAnswersStay(_ example: Case) throws {
        let model = example.model()
        let edited = try checked(OpsetConversion.self, model, .init(target: example.to))
        #expect(edited.opset() == example.to)
        #expect(edited.graph.order.map { edited.graph[$0].op.type } == example.operators)
        #expect(try difference(model, edited) <= 1e-5)
        // Every operator is there in the version, and every stored tensor is read.
        for id in edited.graph.order {
            let schema = try #require(OperatorRegistry.schema(for: edited.graph[id].op))
            #expect(schema.version(at: example.to) != nil)
        }
        for id in edited.graph.initializers { #expect(!edited.graph[id].uses.isEmpty, "\(edited.graph[id].name)") }
    }

    /// What a version cannot express, and the words that say so.
    static let refused: [(Case, String)] = [
        (Case("spatial", 7, 9, []) { norm(&$0, $1, ["spatial": .int(0)]) }, "spatial"),
        (
            Case("Resize", 11, 10, []) { graph, x in
                graph.add(
                    "Resize", [x, stored(&graph, [], [0]), stored(&graph, [1, 1, 2, 2], [4])],
                    attributes: ["mode": .string("linear")])
            }, "half_pixel"
        ),
        (
            Case("Slice", 13, 9, []) { graph, x in
                graph.add(
                    "Slice", [x, stored(&graph, [0]), stored(&graph, [4]), stored(&graph, [3]), stored(&graph, [2])])
            }, "steps"
        ),
        (
            Case("Einsum", 12, 11, []) {
                $0.add("Einsum", [$1], attributes: ["equation": .string("abcd->abdc")])
            }, "opset 12"
        ),
        (Case("Max", 8, 7, []) { $0.add("Max", [$1, stored(&$0, [1], [1])]) }, "several shapes"),
        (
            Case("Clip of integers", 12, 11, []) {
                let whole = $0.add("Cast", [$1], attributes: ["to": .int(7)])
                return $0.add("Clip", [whole])
            }, "int64"
        ),
    ]

    @Test(arguments: refused.indices) func whatCannotBeSaidIsRefusedByName(index: Int) throws {
        let (example, words) = Self.refused[index]
        var model = example.model()
        let node = try #require(model.graph.order.last)
        model.graph[node].name = "the node"
        let error = #expect(throws: OpsetError.self) {
            try OpsetConversion.patch(for: model, .init(target: example.to))
        }
        let text = try #require(error?.description)
        #expect(text.contains("the node") && text.contains(words), "\(text)")
    }

    /// Which representation a file is in after a conversion, from which it was in.
    @Test(arguments: [(8, 17, 11, 6), (8, 11, 12, 8), (3, 8, 21, 10), (13, 25, 7, 4)])
    func theRepresentationFollows(with: Int, from: Int, to: Int, expected: Int) throws {
        var model = SmallNetworks.residual()
        model.opsets = [OpsetImport(version: from)]
        model.irVersion = with
        if with == 3 { for id in model.graph.initializers { model.graph.makeInput(id) } }
        let edited = try checked(OpsetConversion.self, model, .init(target: to))
        #expect(edited.irVersion == expected)
        #expect(edited.graph.inputs.count == 1)
    }

    @Test func versionsOutsideTheRangeAreRefused() {
        for version in [6, 29] {
            #expect(throws: OpsetError.outside(version: version)) {
                try OpsetConversion.patch(for: SmallNetworks.residual(), .init(target: version))
            }
        }
        #expect(throws: OpsetError.outside(version: 6)) {
            try OpsetConversion.patch(for: Model(opset: 6), .init(target: 13))
        }
    }

    @Test func bodiesAndFunctionsAreConverted() throws {
        var model = Model(opset: 11)
        model.metadata["author"] = "someone"
        let x = model.graph.addInput("x", type: .tensor(.float32, [2, 3]))
        let condition = model.graph.addInput("condition", type: .tensor(.bool, []))
        var body = Graph(name: "branch")
        let inner = body.addValue("x")
        body.makeCapture(inner, of: x)
        body.addOutput(body.add("Unsqueeze", [inner], attributes: ["axes": .ints([0])], name: "wide"))
        let chosen = model.graph.add(
            "If", [condition], attributes: ["then_branch": .graph(body), "else_branch": .graph(body)], name: "if")
        var function = Graph(name: "")
        let argument = function.addInput("a", type: nil)
        function.addOutput(
            function.add(
                "Squeeze", [argument], attributes: ["axes": .reference("where", kind: 7)], name: "narrow"))
        model.functions = [
            Function(
                OperatorName("Narrow", domain: "local"), body: function, attributes: ["where"],
                opsets: [OpsetImport(version: 11)])
        ]
        model.importOpset("local", version: 1)
        model.graph.addOutput(
            model.graph.add(
                OperatorName("Narrow", domain: "local"), [chosen], attributes: ["where": .ints([0])], name: "call"))
        let edited = try checked(OpsetConversion.self, model, .init(target: 18))
        let node = try #require(edited.graph.node(named: "if"))
        for branch in edited.graph.bodies(of: node) {
            let wide = try #require(branch.graph.node(named: "wide"))
            #expect(branch.graph[wide].inputs.count == 2 && branch.graph[wide].attributes.all.isEmpty)
        }
        let narrow = edited.functions[0].body
        #expect(narrow.order.map { narrow[$0].op.type } == ["Constant", "Squeeze"])
        #expect(narrow[narrow.order[0]].attributes["value_ints"] == .reference("where", kind: 7))
        #expect(edited.functions[0].opsets.map(\.version) == [18])
        #expect(edited.metadata["author"] == "someone")
        // Back again all axes are attributes; the function's are those that its only caller gives.
        let back = try checked(OpsetConversion.self, edited, .init(target: 11))
        let body11 = back.functions[0].body
        #expect(body11.order.map { body11[$0].op.type } == ["Squeeze"])
        #expect(body11[body11.order[0]].attributes.ints("axes") == [0])
        // Two callers that differ cannot both be meant.
        var twice = edited
        let second = twice.graph.add(
            OperatorName("Narrow", domain: "local"), [chosen], attributes: ["where": .ints([-3])], name: "other call")
        twice.graph.addOutput(second)
        let error = #expect(throws: OpsetError.self) { try OpsetConversion.patch(for: twice, .init(target: 11)) }
        #expect(error?.description.contains("narrow") == true)
    }

    @Test(arguments: [true, false]) func theNumberOfTopKMovesBetweenAttributeAndInput(isUp: Bool) throws {
        var model = Model(opset: isUp ? 9 : 11)
        let x = model.graph.addInput("x", type: .tensor(.float32, [2, 5]))
        let outputs = [model.graph.addValue("values"), model.graph.addValue("indices")]
        let number = isUp ? nil : model.graph.addInitializer("k", Tensor([Int64(2)]))
        model.graph.addNode(
            "TopK", inputs: [x] + [number].compactMap { $0 }, outputs: outputs,
            attributes: isUp ? ["k": .int(2)] : ["largest": .int(1)])
        for output in outputs { model.graph.addOutput(output) }
        let edited = try checked(OpsetConversion.self, model, .init(target: isUp ? 11 : 9))
        let node = edited.graph[edited.graph.order[0]]
        #expect(node.inputs.count == (isUp ? 2 : 1) && node.attributes.int("k") == (isUp ? nil : 2))
        #expect(node.attributes["largest"] == nil)
        let back = try checked(OpsetConversion.self, edited, .init(target: isUp ? 9 : 11))
        #expect(back.graph[back.graph.order[0]].inputs.count == (isUp ? 1 : 2))
    }

    @Test func theSameVersionChangesNothing() throws {
        #expect(try OpsetConversion.patch(for: SmallNetworks.residual(), .init(target: 17)).isEmpty)
    }

    @Test(arguments: [7, 9, 11, 13, 15, 18, 21, 28]) func networksAnswerTheSameInEveryVersion(version: Int) throws {
        for model in [
            SmallNetworks.residual(activation: "Softmax"), SmallNetworks.keras(), SmallNetworks.constants(),
            SmallNetworks.convolutionBeforePooling(), SmallNetworks.reshapedMatrix(), SmallNetworks.twoHeads(),
        ] {
            let edited = try checked(OpsetConversion.self, model, .init(target: version))
            #expect(try difference(model, edited) <= 1e-5)
        }
    }
}

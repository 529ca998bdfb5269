import GraftCore
import GraftIR
import Testing

/// A model of one node whose inputs have the given types; tensors become weights.
func oneNode(
    _ op: OperatorName, _ inputs: [(String, ValueType?, Tensor?)], attributes: Attributes = [:], outputs: Int = 1,
    opset: Int = 17
) -> (Model, [ValueID]) {
    var model = Model(opset: opset)
    let values: [ValueID?] = inputs.map { name, type, tensor in
        if let tensor { return model.graph.addInitializer(name, tensor) }
        return type.map { model.graph.addInput(name, type: $0) }
    }
    let made = (0..<outputs).map { model.graph.addValue("y\($0)") }
    model.graph.addNode(op, name: "node", inputs: values, outputs: made, attributes: attributes)
    for value in made { model.graph.addOutput(value) }
    return (model, made)
}

@Suite struct OperatorsInferenceTests {
    private func shape(_ model: Model, _ value: ValueID) throws -> String? {
        try Inference.inferTypes(of: model).shape(of: value)?.description
    }

    private func weight(_ shape: [Int]) -> Tensor { .zeros(.float32, shape: shape) }

    @Test(
        arguments: [
            (["strides": .ints([2, 2]), "pads": .ints([1, 1, 1, 1])] as Attributes, "[N, 8, (H+1)//2, 112]"),
            (["auto_pad": .string("SAME_UPPER"), "strides": .ints([2, 2])], "[N, 8, (H+1)//2, 112]"),
            (["auto_pad": .string("VALID")], "[N, 8, H-2, 222]"),
            (["dilations": .ints([2, 2])], "[N, 8, H-4, 220]"),
        ] as [(Attributes, String)])
    func convolutionsOfNamedExtents(attributes: Attributes, expected: String) throws {
        let (model, y) = oneNode(
            "Conv", [("x", .tensor(.float32, ["N", 3, "H", 224]), nil), ("w", nil, weight([8, 3, 3, 3]))],
            attributes: attributes)
        #expect(try shape(model, y[0]) == expected)
    }

    @Test func aMismatchNamesTheNodeAndBothShapes() throws {
        let (model, _) = oneNode(
            "Conv", [("x", .tensor(.float32, ["N", 4, 8, 8]), nil), ("w", nil, weight([8, 3, 3, 3]))])
        let error = #expect(throws: InferenceError.self) { try Inference.inferTypes(of: model) }
        let text = try #require(error).description
        #expect(text.contains("node") && text.contains("[N, 4, 8, 8]") && text.contains("[8, 3, 3, 3]"))
    }

    @Test func transposedConvolutionsDoubleNamedExtents() throws {
        let (model, y) = oneNode(
            "ConvTranspose", [("x", .tensor(.float32, ["N", 8, "H", 7]), nil), ("w", nil, weight([8, 4, 4, 4]))],
            attributes: ["strides": .ints([2, 2]), "pads": .ints([1, 1, 1, 1])])
        #expect(try shape(model, y[0]) == "[N, 4, 2*H, 14]")
    }

    @Test(
        arguments: [
            ([0, -1], "[N, 50]"), ([-1, 50], "[N, 50]"), ([0, 2, -1], "[N, 2, 25]"),
        ] as [([Int], String)])
    func reshapesCancelNames(target: [Int], expected: String) throws {
        let (model, y) = oneNode(
            "Reshape",
            [("x", .tensor(.float32, ["N", 2, 5, 5]), nil), ("t", nil, Tensor(target.map { Int64($0) }))])
        #expect(try shape(model, y[0]) == expected)
    }

    @Test func reshapesThatCannotBeAreRefused() throws {
        let (model, _) = oneNode(
            "Reshape", [("x", .tensor(.float32, [2, 3]), nil), ("t", nil, Tensor([Int64(4), 2]))])
        #expect(throws: InferenceError.self) { try Inference.inferTypes(of: model) }
        let (other, _) = oneNode(
            "Reshape", [("x", .tensor(.float32, [2, 3]), nil), ("t", nil, Tensor([Int64(4), -1]))])
        #expect(throws: InferenceError.self) { try Inference.inferTypes(of: other) }
    }

    /// Shape -> Gather -> Unsqueeze -> Concat -> Reshape, as PyTorch writes `x.view(x.size(0), -1)`.
    @Test func shapesFlowAsData() throws {
        var model = Model(opset: 11)
        let x = model.graph.addInput("x", type: .tensor(.float32, ["batch", 16, "h", "w"]))
        let shape = model.graph.add("Shape", [x])
        let zero = model.graph.addInitializer("zero", Tensor(scalar: Int64(0)))
        let first = model.graph.add("Gather", [shape, zero], attributes: ["axis": .int(0)])
        let row = model.graph.add("Unsqueeze", [first], attributes: ["axes": .ints([0])])
        let rest = model.graph.addInitializer("rest", Tensor([Int64(-1)]))
        let target = model.graph.add("Concat", [row, rest], attributes: ["axis": .int(0)])
        let y = model.graph.add("Reshape", [x, target])
        let types = try Inference.inferTypes(of: model)
        #expect(types.shape(of: y)?.description == "[batch, 16*h*w]")
        #expect(types.content(of: target)?.extents == [.symbol("batch"), .fixed(-1)])
        let bound = try Inference.inferTypes(of: model, inputs: ["x": [8, 16, 4, 5]])
        #expect(bound.shape(of: y)?.counts == [8, 320])
    }

    @Test func namesThatAreBoundAreBoundEverywhere() throws {
        var model = Model()
        let a = model.graph.addInput("a", type: .tensor(.float32, ["N", 4]))
        let b = model.graph.addInput("b", type: .tensor(.float32, ["N", 4]))
        let y = model.graph.add("Add", [a, b])
        #expect(try Inference.inferTypes(of: model, inputs: ["a": [8, 4]]).shape(of: y)?.counts == [8, 4])
        #expect(throws: InferenceError.self) { try Inference.inferTypes(of: model, inputs: ["c": [1]]) }
    }

    @Test func extentsWithoutANameGetOne() throws {
        var model = Model()
        let x = model.graph.addInput("in:put", type: .tensor(.float32, [Dimension(.unknown), 4]))
        let y = model.graph.add("Relu", [x])
        #expect(try Inference.inferTypes(of: model).shape(of: y)?.description == "[in_put_dim0, 4]")
    }

    @Test func unknownOperatorsGiveDeclaredTypes() throws {
        var model = Model()
        let x = model.graph.addInput("x", type: .tensor(.float32, ["N", 4]))
        let y = model.graph.add(OperatorName("Mystery", domain: "example"), [x], type: .tensor(.float32, ["N", 9]))
        let z = model.graph.add("Relu", [y])
        let w = model.graph.add(OperatorName("Mystery", domain: "example"), [z])
        let types = try Inference.inferTypes(of: model)
        #expect(types.shape(of: z)?.description == "[N, 9]")
        #expect(types.type(of: w) == nil)
    }

    @Test func declarationsThatContradictAreReported() throws {
        var model = Model()
        let x = model.graph.addInput("x", type: .tensor(.float32, [2, 4]))
        let y = model.graph.add("Relu", [x], type: .tensor(.float32, [2, 5]))
        let types = try Inference.inferTypes(of: model)
        #expect(types.shape(of: y)?.counts == [2, 4])
        #expect(types.conflicts.count == 1)
    }

    @Test func wrongKindsOfAttributesAreNamed() throws {
        let (model, _) = oneNode(
            "Conv", [("x", .tensor(.float32, [1, 3, 8, 8]), nil), ("w", nil, weight([8, 3, 3, 3]))],
            attributes: ["strides": .int(2)])
        let error = #expect(throws: AttributeError.self) { try Inference.inferTypes(of: model) }
        #expect(error?.attribute == "strides")
    }

    @Test(arguments: [Int.max, Int.min, -1, 0, 1 << 40])
    func absurdWindowsAreRefusedNotComputed(number: Int) throws {
        for name in ["strides", "dilations", "kernel_shape"] {
            for op in ["Conv", "ConvTranspose", "MaxPool", "AveragePool"] {
                let inputs: [(String, ValueType?, Tensor?)] = [("x", .tensor(.float32, [1, 3, 8, 8]), nil)]
                let weights: [(String, ValueType?, Tensor?)] =
                    op.hasPrefix("Conv") ? [("w", nil, weight([3, 3, 3, 3]))] : []
                var attributes: Attributes = op.hasPrefix("Conv") ? [:] : ["kernel_shape": .ints([2, 2])]
                attributes[name] = .ints([number, number])
                let (model, _) = oneNode(OperatorName(op), inputs + weights, attributes: attributes)
                #expect(throws: AttributeError.self) { try Inference.inferTypes(of: model) }
            }
        }
    }

    @Test func slicesWithEnormousBoundsAreWhole() throws {
        let bounds = [Int64.max, Int64(Int32.max)].map { Tensor([$0]) }
        for end in bounds {
            let (model, y) = oneNode(
                "Slice",
                [
                    ("x", .tensor(.float32, ["N", 10]), nil), ("starts", nil, Tensor([Int64(0)])), ("ends", nil, end),
                    ("axes", nil, Tensor([Int64(0)])),
                ])
            #expect(try shape(model, y[0]) == "[N, 10]")
        }
    }

    @Test(arguments: [
        (10, 2, 8, 3, 2, 2), (10, -1, Int.min, -1, 9, 10), (10, Int.max, Int.min, -3, 9, 4), (10, -3, Int.max, 1, 7, 3),
        (0, 0, 5, 1, 0, 0), (5, 4, 4, 1, 4, 0), (5, 3, 1, -1, 3, 2), (5, 0, -1, 1, 0, 4), (5, -1, -6, -1, 4, 5),
    ])
    func slicesFollowPython(extent: Int, start: Int, end: Int, step: Int, first: Int, count: Int) {
        let slice = SliceAttributes.resolve(extent: extent, start: start, end: end, step: step)
        #expect(slice.count == count)
        if count > 0 { #expect(slice.first == first) }
    }
}

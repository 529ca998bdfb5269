import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Gradient nodes of ONNX's domain for training give the derivatives that they name.
@Suite struct GradientNodeTests {
    private static let domain = "ai.onnx.preview.training"
    private static let gradient = OperatorName("Gradient", domain: domain)

    private static func model(opset: Int = 17) -> Model {
        var model = Model(opset: opset)
        model.importOpset(domain, version: 1)
        return model
    }

    private static func names(_ xs: [String], _ zs: [String] = [], y: String) -> Attributes {
        func list(_ names: [String]) -> AttributeValue { .strings(names.map { Array($0.utf8) }) }
        var result: Attributes = ["xs": list(xs), "y": .string(y)]
        if !zs.isEmpty { result["zs"] = list(zs) }
        return result
    }

    private func run(_ model: Model, _ inputs: [String: [Float]]) throws -> [String: [Float]] {
        let session = try Session(Plan(model))
        let found = try session.run(inputs.mapValues { Tensor($0) })
        return try Dictionary(uniqueKeysWithValues: found.map { ($0, try $1.floats()) })
    }

    /// `y = exp(w * x) + z`, with a Gradient of the given names and inputs.
    private static func network(
        _ attributes: Attributes, inputs: [String], outputs: [String?], opset: Int = 17, extent: Extent = .fixed(2)
    ) -> Model {
        var model = Self.model(opset: opset)
        let shape = SymbolicShape(extents: [extent])
        let ids = ["w", "x", "z", "other"].map { model.graph.addInput($0, type: .tensor(.float32, shape)) }
        let h = model.graph.add("Mul", [ids[0], ids[1]], output: "h")
        let e = model.graph.add("Exp", [h], output: "e")
        let y = model.graph.add("Add", [e, ids[2]], output: "y")
        let results = outputs.map { $0.map { model.graph.addValue($0) } }
        model.graph.addNode(
            gradient, name: "gradient", inputs: inputs.map { model.graph.value(named: $0) }, outputs: results,
            attributes: attributes)
        for case let result? in results { model.graph.addOutput(result) }
        model.graph.addOutput(y)
        return model
    }

    private static let values: [String: [Float]] = [
        "w": [0.5, -1], "x": [2, 0.25], "z": [3, 4], "other": [1, 0.5],
    ]

    private func expect(_ found: [Float]?, _ wanted: [Double]) throws {
        let found = try #require(found)
        #expect(found.count == wanted.count)
        for (a, b) in zip(found, wanted) {
            #expect(abs(Double(a) - b) <= 1e-5 * max(1, abs(b)), "\(found), not \(wanted)")
        }
    }

    @Test(arguments: [7, 13, 21], [Extent.fixed(2), .symbol("n")])
    func theNamedValuesDerivativesAreGiven(_ opset: Int, _ extent: Extent) throws {
        let model = Self.network(
            Self.names(["w", "z"], ["x"], y: "y"), inputs: ["w", "z", "x"], outputs: ["dw", "dz"], opset: opset,
            extent: extent)
        let found = try run(model, Self.values)
        try expect(found["dw"], [2 * exponential(1), 0.25 * exponential(-0.25)])
        try expect(found["dz"], [1, 1])
        try expect(found["y"], [exponential(1) + 3, exponential(-0.25) + 4])
    }

    @Test func aValueInTheMiddleIsIndependentToo() throws {
        let model = Self.network(Self.names(["h", "z"], y: "y"), inputs: ["h", "z"], outputs: ["dh", nil])
        try expect(try run(model, Self.values)["dh"], [exponential(1), exponential(-0.25)])
    }

    @Test func otherValuesThanTheNamedOnesMayBeGiven() throws {
        // At w = other, while the forward pass keeps w.
        let model = Self.network(
            Self.names(["w", "x"], ["z"], y: "y"), inputs: ["other", "x", "z"], outputs: ["dw", "dx"])
        let found = try run(model, Self.values)
        try expect(found["dw"], [2 * exponential(2), 0.25 * exponential(0.125)])
        try expect(found["dx"], [exponential(2), 0.5 * exponential(0.125)])
        try expect(found["y"], [exponential(1) + 3, exponential(-0.25) + 4])
    }

    @Test func oneValueInTwoPlacesStaysTwoVariables() throws {
        let model = Self.network(
            Self.names(["w", "x"], ["z"], y: "y"), inputs: ["x", "x", "z"], outputs: ["dw", "dx"])
        let found = try run(model, Self.values)
        let wanted = [2 * exponential(4), 0.25 * exponential(0.0625)]
        try expect(found["dw"], wanted)
        try expect(found["dx"], wanted)
    }

    @Test func aValueThatFollowsFromAnotherIsTakenAsIndependent() throws {
        let model = Self.network(Self.names(["w", "h"], y: "y"), inputs: ["w", "h"], outputs: ["dw", "dh"])
        let found = try run(model, Self.values)
        try expect(found["dw"], [0, 0])
        try expect(found["dh"], [exponential(1), exponential(-0.25)])
    }

    @Test func secondDerivativesAreDerivativesOfFirst() throws {
        var model = Self.model()
        let x = model.graph.addInput("x", type: .tensor(.float32, [2]))
        let square = model.graph.add("Mul", [x, x])
        model.graph.addOutput(model.graph.add("Mul", [square, x], output: "cube"))
        // The second node comes first: only names tell their order.
        for (of, result) in [("first", "second"), ("cube", "first")] {
            let output = model.graph.addValue(result)
            model.graph.addNode(
                Self.gradient, inputs: [x], outputs: [output], attributes: Self.names(["x"], y: of))
            model.graph.addOutput(output)
        }
        let found = try run(model, ["x": [2, -3]])
        try expect(found["first"], [12, 27])
        try expect(found["second"], [12, -18])
    }

    @Test func secondDerivativesFollowBroadcasting() throws {
        // y = x^3 b, with one b for all x: the derivatives by x add up to 3 b sum(x^2).
        var model = Self.model()
        let x = model.graph.addInput("x", type: .tensor(.float32, [2]))
        let b = model.graph.addInput("b", type: .tensor(.float32, [1]))
        let cube = model.graph.add("Mul", [model.graph.add("Mul", [x, x]), x])
        model.graph.add("Mul", [cube, b], output: "y")
        for (of, by, result) in [("y", x, "first"), ("first", x, "second"), ("first", b, "mixed")] {
            let output = model.graph.addValue(result)
            let names = Self.names([model.graph[by].name], y: of)
            model.graph.addNode(Self.gradient, inputs: [by], outputs: [output], attributes: names)
            model.graph.addOutput(output)
        }
        let found = try run(model, ["x": [2, -3], "b": [0.5]])
        try expect(found["first"], [6, 13.5])
        try expect(found["second"], [6, -9])
        try expect(found["mixed"], [39])
    }

    @Test func functionsOnTheWayAreFollowed() throws {
        var model = Self.model()
        model.importOpset("own", version: 1)
        var body = Graph()
        let v = body.addInput("v", type: nil)
        body.addOutput(body.add("Mul", [v, v]))
        model.functions.append(
            Function(OperatorName("Square", domain: "own"), body: body, opsets: [OpsetImport(version: 17)]))
        let x = model.graph.addInput("x", type: .tensor(.float32, [2]))
        let squared = model.graph.add(OperatorName("Square", domain: "own"), [x], output: "squared")
        model.graph.addOutput(model.graph.add("Mul", [squared, x], output: "y"))
        let dx = model.graph.addValue("dx")
        model.graph.addNode(Self.gradient, inputs: [x], outputs: [dx], attributes: Self.names(["x"], y: "y"))
        model.graph.addOutput(dx)
        try expect(try run(model, ["x": [2, -3]])["dx"], [12, 27])
    }

    @Test func aFunctionMayAskForGradients() throws {
        var model = Self.model()
        model.importOpset("own", version: 1)
        var body = Graph()
        let v = body.addInput("v", type: nil)
        body.add("Exp", [v], output: "e")
        let slope = body.addValue("slope")
        body.addNode(Self.gradient, inputs: [v], outputs: [slope], attributes: Self.names(["v"], y: "e"))
        body.addOutput(slope)
        model.functions.append(
            Function(
                OperatorName("Slope", domain: "own"), body: body,
                opsets: [OpsetImport(version: 17), OpsetImport(domain: Self.domain, version: 1)]))
        let x = model.graph.addInput("x", type: .tensor(.float32, [2]))
        model.graph.addOutput(model.graph.add(OperatorName("Slope", domain: "own"), [x], output: "y"))
        try expect(try run(model, ["x": [1, -0.5]])["y"], [exponential(1), exponential(-0.5)])
    }

    @Test(arguments: [true, false]) func branchesThatAreKnownAreFollowed(_ isTaken: Bool) throws {
        var model = Self.model()
        let x = model.graph.addInput("x", type: .tensor(.float32, [2]))
        func branch(_ op: OperatorName) -> Graph {
            var body = Graph()
            let inner = body.addValue("x")
            body.makeCapture(inner, of: x)
            body.addOutput(body.add(op, [inner], output: "\(op.type)_result"))
            return body
        }
        let condition = model.graph.addInitializer("condition", Tensor([isTaken], shape: []))
        model.graph.add(
            "If", [condition],
            attributes: ["then_branch": .graph(branch("Exp")), "else_branch": .graph(branch("Neg"))],
            output: "y")
        let dx = model.graph.addValue("dx")
        model.graph.addNode(Self.gradient, inputs: [x], outputs: [dx], attributes: Self.names(["x"], y: "y"))
        model.graph.addOutput(dx)
        let wanted = isTaken ? [exponential(1), exponential(-2)] : [-1, -1]
        try expect(try run(model, ["x": [1, -2]])["dx"], wanted)
    }

    @Test func aTrainingStepLearns() throws {
        // One step of gradient descent for the loss (w * x - t)^2, from a Gradient node.
        var model = Self.model()
        let ids = ["w", "x", "t"].map { model.graph.addInput($0, type: .tensor(.float32, [2])) }
        let miss = model.graph.add("Sub", [model.graph.add("Mul", [ids[0], ids[1]]), ids[2]])
        let loss = model.graph.add(
            "ReduceSum", [model.graph.add("Mul", [miss, miss])], attributes: ["keepdims": .int(0)], output: "loss")
        let dw = model.graph.addValue("dw")
        model.graph.addNode(
            Self.gradient, inputs: ids, outputs: [dw], attributes: Self.names(["w"], ["x", "t"], y: "loss"))
        let rate = model.graph.addInitializer("rate", Tensor([Float(0.1)]))
        model.graph.addOutput(model.graph.add("Sub", [ids[0], model.graph.add("Mul", [rate, dw])], output: "new"))
        model.graph.addOutput(loss)
        let found = try run(model, ["w": [1, 2], "x": [1, 0.5], "t": [3, 0]])
        try expect(found["loss"], [5])
        try expect(found["new"], [1 + 0.1 * 4, 2 - 0.1 * 1])
    }

    @Test func whatHasNoGradientIsRefusedByName() {
        var model = Self.model()
        let x = model.graph.addInput("x", type: .tensor(.float32, [2, 2]))
        let y = model.graph.addValue("y")
        model.graph.addNode("Det", name: "volume", inputs: [x], outputs: [y])
        let dx = model.graph.addValue("dx")
        model.graph.addNode(Self.gradient, inputs: [x], outputs: [dx], attributes: Self.names(["x"], y: "y"))
        model.graph.addOutput(dx)
        let error = #expect(throws: RuntimeError.self) { try Plan(model) }
        #expect(error?.description.contains("\"volume\" (Det)") == true, "\(error?.description ?? "")")
    }

    @Test(arguments: [
        (names(["w", "nowhere"], y: "y"), ["w", "x"], "\"nowhere\""),
        (names(["w"], y: "nothing"), ["w"], "\"nothing\""),
        (names(["w"], ["z"], y: "y"), ["w"], "names 2 values"), (names([], y: "y"), ["w"], "\"xs\""),
        (names(["w"], y: "dw"), ["w"], "its own result"),
    ])
    func whatCannotBeMeantIsRefused(_ attributes: Attributes, _ inputs: [String], _ reason: String) {
        let model = Self.network(attributes, inputs: inputs, outputs: ["dw"])
        let error = #expect(throws: RuntimeError.self) { try Plan(model) }
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
    }
}

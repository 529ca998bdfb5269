import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Loops of any length stay within memory, end when they are told to, and branches that cannot be taken do not count.
@Suite struct ControlFlowTests {
    /// A loop without a last round of its own that carries `x`: `step` adds the nodes of a round and says what it gives
    /// besides the state.
    static func loop(
        rounds: Int?, x: SymbolicShape, isEndless: Bool = true,
        step: (inout Graph, ValueID) -> (state: ValueID, scanned: [ValueID])
    ) -> Model {
        var body = Graph(name: "round")
        body.addInput("number", type: .tensor(.int64, []))
        let goes = body.addInput("goes", type: .tensor(.bool, []))
        let state = body.addInput("state", type: .tensor(.float32, x))
        let (next, scanned) = step(&body, state)
        // A condition that is computed from the state may end the loop in any round, as far as anyone can know.
        var condition = body.add("Identity", [goes])
        if !isEndless {
            let sum = body.add("ReduceSum", [next], attributes: ["keepdims": .int(0)])
            condition = body.add("Equal", [sum, sum])
        }
        for output in [condition, next] + scanned { body.addOutput(output) }

        var model = Model(opset: 17)
        let input = model.graph.addInput("x", type: .tensor(.float32, x))
        let count = rounds.map { model.graph.addInitializer("rounds", Tensor(scalar: Int64($0))) }
        let outputs = ["y"] + scanned.indices.map { "scanned\($0)" }
        let values = outputs.map { model.graph.addValue($0) }
        model.graph.addNode("Loop", inputs: [count, nil, input], outputs: values, attributes: ["body": .graph(body)])
        for value in values { model.graph.addOutput(value) }
        return model
    }

    static func adding(_ body: inout Graph, _ state: ValueID) -> ValueID {
        let one = body.addInitializer("one", Tensor(scalar: Float(1)))
        return body.add("Add", [state, one])
    }

    @Test func memoryIsGivenBackBetweenRounds() throws {
        let model = Self.loop(rounds: 100, x: [65536]) { body, state in
            // Three tensors of 256 kB in every round.
            let sum = Self.adding(&body, state)
            return (body.add("Sub", [body.add("Add", [sum, sum]), state]), [])
        }
        let session = try Session(Plan(model))
        let outputs = try session.run(["x": Tensor.zeros(.float32, shape: [1 << 16])])
        #expect(outputs["y"]?.count == 1 << 16)
        #expect(session.peakBytes < 2 << 20)
    }

    @Test func whatConvolutionsOfABodyGiveIsScannedInItsOrder() throws {
        let model = Self.loop(rounds: 3, x: [1, 32, 9, 9]) { body, state in
            let scale: Float = 1 / 17
            let filters = body.addInitializer(
                "filters", Tensor(numbers(32 * 32 * 9, seed: 3).map { $0 * scale }, shape: [32, 32, 3, 3]))
            var value = state
            for _ in 0..<8 { value = body.add("Conv", [value, filters], attributes: ["pads": .ints([1, 1, 1, 1])]) }
            return (body.add("Tanh", [state]), [value])
        }
        let given = ["x": Tensor(numbers(32 * 81, seed: 4), shape: [1, 32, 9, 9])]
        var plain = PlanOptions()
        plain.optimizes = false
        let expected = try Session(Plan(model, options: plain)).run(given)
        let found = try Session(Plan(model)).run(given)
        #expect(try relativeDifference(#require(found["scanned0"]), #require(expected["scanned0"])) < 1e-5)
    }

    @Test(arguments: [true, false])
    func roundsWithoutNumberEndWithAnError(isEndless: Bool) throws {
        let model = Self.loop(rounds: 1 << 62, x: [4], isEndless: isEndless) { body, state in
            let next = Self.adding(&body, state)
            return (next, [body.add("Identity", [next])])
        }
        let session = try Session(Plan(model), store: ParameterStore(), arena: Arena(limit: 1 << 16))
        #expect {
            try session.run(["x": Tensor([Float](repeating: 0, count: 4))])
        } throws: { error in
            if case RuntimeError.outOfMemory = error { true } else { false }
        }
    }

    @Test func aLoopWithoutEndStopsWhenItsTaskIsCancelled() async throws {
        let model = Self.loop(rounds: nil, x: [4]) { body, state in (Self.adding(&body, state), []) }
        let task = Task.detached { () -> String in
            do {
                _ = try Session(Plan(model)).run(["x": Tensor([Float](repeating: 0, count: 4))])
                return "ended"
            } catch RuntimeError.cancelled {
                return "cancelled"
            }
        }
        try await Task.sleep(for: .milliseconds(20))
        task.cancel()
        #expect(try await task.value == "cancelled")
    }

    /// `If(condition) { x + 1 } else { a node that nothing runs }`.
    private static func branches(condition: Bool?) -> Model {
        var model = Model(opset: 17)
        let x = model.graph.addInput("x", type: .tensor(.float32, [2]))
        let truth =
            condition.map { model.graph.addInitializer("condition", Tensor(scalar: $0)) }
            ?? model.graph.addInput("condition", type: .tensor(.bool, []))
        func body(_ add: (inout Graph, ValueID) -> ValueID) -> Graph {
            var body = Graph()
            let captured = body.addValue("x")
            body.makeCapture(captured, of: x)
            body.addOutput(add(&body, captured))
            return body
        }
        let y = model.graph.add(
            "If", [truth],
            attributes: [
                "then_branch": .graph(body { adding(&$0, $1) }),
                "else_branch": .graph(body { $0.add(OperatorName("Unheard", domain: ""), [$1]) }),
            ], output: "y")
        model.graph.addOutput(y)
        return model
    }

    @Test func aBranchThatIsKnownTakesThePlaceOfTheNode() throws {
        let plan = try Plan(Self.branches(condition: true))
        #expect(plan.stepCount == 1)
        let y = try #require(Session(plan).run(["x": Tensor([Float(1), 2])])["y"])
        #expect(try y.elements(as: Float.self) == [2, 3])
    }

    @Test func aNodeInABranchThatNothingRunsIsNamed() {
        #expect {
            try Plan(Self.branches(condition: nil))
        } throws: { error in
            guard case RuntimeError.unsupported(let nodes) = error else { return false }
            return nodes.map(\.op.type) == ["Unheard"]
        }
    }
}

import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Numbers of 16 bits between kernels that compute in 32 are not rounded, also where kernels between them move elements.
@Suite struct CarriedPrecisionTests {
    /// A node that moves elements: its operator, settings, and inputs beside the one that is moved.
    struct Move: Sendable, CustomStringConvertible {
        let op: OperatorName
        var attributes = Attributes()
        var others: [Tensor] = []
        var isFirst = true

        var description: String { op.type }
    }

    private static let moves = [
        Move(op: "Identity"), Move(op: "Transpose"), Move(op: "Flatten"),
        Move(op: "Reshape", others: [Tensor([Int64(4), 1])]), Move(op: "Unsqueeze", others: [Tensor([Int64(0)])]),
        Move(op: "Expand", others: [Tensor([Int64(3), 2, 2])]), Move(op: "Tile", others: [Tensor([Int64(1), 2])]),
        Move(op: "Slice", others: [Tensor([Int64(1)]), Tensor([Int64(2)])]),
        Move(op: "Gather", others: [Tensor([Int64(1), 0, 1])]), Move(op: "Split", attributes: ["num_outputs": .int(1)]),
        Move(op: "ScatterND", others: [Tensor([Int64(0)], shape: [1, 1]), number(Self.square, [1, 2])]),
        Move(op: "Concat", attributes: ["axis": .int(0)], others: [number(Self.square, [1, 2])]),
        Move(op: "Where", others: [number(Self.square, [2, 2])], isFirst: false),
    ]

    private static let x: Float = 1 + 3.0 / 1024
    /// What the square of `x` is, and what it is in float16 less what is wrong with that.
    private static let square: Float = 1 + 6.0 / 1024

    private static func number(_ value: Float, _ shape: [Int]) -> Tensor {
        Tensor([Float](repeating: value, count: shape.reduce(1, *)), shape: shape)
    }

    /// `move(x * x) - 1` in float16; with the moved values where they are an output too.
    private func run(_ move: Move, givesMoved: Bool = false) throws -> (result: [Float], moved: [Float]?) {
        var model = Model(opset: 18)
        func half(_ value: ValueID) -> ValueID {
            model.graph.add("Cast", [value], attributes: ["to": .int(Int(ElementType.float16.rawValue))])
        }
        let x = half(model.graph.addInput("x", type: .tensor(.float32, [2, 2])))
        let squared = model.graph.add("Mul", [x, x])
        var inputs: [ValueID?] = move.others.enumerated().map { index, tensor in
            let value = model.graph.addInitializer("other\(index)", tensor)
            return tensor.elementType == .float32 ? half(value) : value
        }
        if !move.isFirst { inputs.insert(model.graph.addInput("condition", type: .tensor(.bool, [2, 2])), at: 0) }
        inputs.insert(squared, at: move.isFirst ? 0 : 1)
        let moved = model.graph.add(move.op, inputs, attributes: move.attributes, output: "moved")
        let one = half(model.graph.addInitializer("one", Tensor([Float(1)])))
        model.graph.addOutput(model.graph.add("Sub", [moved, one], output: "y"))
        if givesMoved { model.graph.addOutput(moved) }
        var options = PlanOptions()
        options.optimizes = false
        var given = ["x": Self.number(Self.x, [2, 2])]
        if !move.isFirst { given["condition"] = Tensor([true, true, true, true], shape: [2, 2]) }
        let found = try Session(Plan(model, options: options)).run(given)
        return (try #require(found["y"]).floats(), try found["moved"]?.floats())
    }

    @Test(arguments: moves) func elementsThatMoveAreNotRounded(_ move: Move) throws {
        let result = try run(move).result
        // 6/1024 + 9/1024^2 to the 11 binary places of float16; elements that are given as constants have no second part.
        let exact: Float = 6.0 / 1024 + 8.0 / (1024 * 1024)
        #expect(result.contains(exact))
        #expect(result.allSatisfy { $0 == exact || !move.others.isEmpty && $0 == 6.0 / 1024 }, "\(result)")
    }

    @Test(arguments: moves) func whatIsGivenOutIsRoundedForAllReaders(_ move: Move) throws {
        let (result, moved) = try run(move, givesMoved: true)
        #expect(result.allSatisfy { $0 == 6.0 / 1024 })
        #expect(try #require(moved).allSatisfy { $0 == Self.square })
    }

    @Test func operandsOfDifferentTypesAreRefused() throws {
        var model = Model(opset: 18)
        let x = model.graph.addInput("x", type: .tensor(.float32, [2]))
        let half = model.graph.add("Cast", [x], attributes: ["to": .int(Int(ElementType.float16.rawValue))])
        let both = model.graph.add("Concat", [model.graph.add("Abs", [half]), x], attributes: ["axis": .int(0)])
        model.graph.addOutput(model.graph.add("Abs", [both], output: "y"))
        #expect(throws: RuntimeError.self) { try Session(Plan(model)).run(["x": Tensor([Float(1), 2])]) }
    }
}

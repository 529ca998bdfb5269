import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Sizes that follow from the declared inputs are not computed in a run.
@Suite struct ShapeFoldingTests {
    private static func size(_ w: inout GraphWriter, _ value: ValueID, _ axis: Int64) -> ValueID {
        w.add("Unsqueeze", w.add("Gather", w.add("Shape", value), w.constant(Tensor(scalar: axis))), w.integers([0]))
    }

    @Test(arguments: [["N", 6, 8], ["N", "L", 8], [2, 6, 8]] as [SymbolicShape])
    func aReshapeToHeadsKnowsItsShape(_ declared: SymbolicShape) throws {
        var w = GraphWriter()
        let x = w.add("Neg", w.input("x", [2, 6, 8], declared: declared))
        let parts = (Self.size(&w, x, 0), Self.size(&w, x, 1), w.integers([4]), w.integers([2]))
        let shape = w.model.graph.add(
            "Concat", [parts.0, parts.1, parts.2, parts.3], attributes: ["axis": .int(0)])
        #expect(try w.finish(w.add("Reshape", x, shape)) == ["Neg", "Reshape"])
    }

    @Test func aMergedBatchFollowsFromTheRest() throws {
        var w = GraphWriter()
        let x = w.input("x", [2, 6, 8], declared: ["N", 6, 8])
        let rows = w.add("Mul", Self.size(&w, x, 0), w.integers([6]))
        let shape = w.model.graph.add("Concat", [rows, w.integers([8])], attributes: ["axis": .int(0)])
        #expect(try w.finish(w.add("Reshape", x, shape)) == ["Reshape"])
    }

    @Test func anEmptyBatchKeepsItsShape() throws {
        var w = GraphWriter()
        let x = w.input("x", [0, 6, 8], declared: ["N", "L", 8])
        let shape = w.model.graph.add(
            "Concat", [Self.size(&w, x, 0), Self.size(&w, x, 1), w.integers([4]), w.integers([2])],
            attributes: ["axis": .int(0)])
        #expect(try w.finish(w.add("Reshape", x, shape)) == ["Reshape"])
    }

    @Test func aSizeThatOnlyARunTellsIsComputed() throws {
        var w = GraphWriter()
        let x = w.input("x", [2, 8], declared: ["N", 8])
        let y = w.add("Expand", w.number(3), w.add("Shape", x))
        #expect(try w.finish(y) == ["Shape", "Expand"])
    }

    @Test func anExtentThatOnlyARunTellsIsKeptInSight() throws {
        var w = GraphWriter()
        let x = w.add("Add", w.input("x", [2, 8], declared: ["N", 8]), w.input("y", [2, 8], declared: ["M", 8]))
        let shape = w.model.graph.add(
            "Concat", [Self.size(&w, x, 0), w.integers([4]), w.integers([2])], attributes: ["axis": .int(0)])
        #expect(try w.finish(w.add("Reshape", x, shape)) == ["Add", "Reshape"])
    }

    @Test func extentsOfOneNameMayDiffer() throws {
        var w = GraphWriter()
        let x = w.input("x", [4, 6], declared: ["N", "N"])
        let y = w.add("Reshape", w.transposed(x, [1, 0]), w.add("Shape", x))
        #expect(try w.finish(y) == ["Transpose", "Shape", "Reshape"])
    }

    @Test func whatAFileSaysAboutValuesInBetweenIsNotReliedOn() throws {
        var w = GraphWriter()
        let x = w.model.graph.addInput("x", type: nil)
        let inner = w.add("Neg", x)
        w.model.graph[inner].type = .tensor(.float32, [5, 8])
        w.model.graph.addOutput(w.add("Shape", inner))
        let outputs = try Session(Plan(w.model)).run(["x": spreadNumbers([2, 8], 1)])
        #expect(try outputs.values.first?.elements(as: Int64.self) == [2, 8])
    }

    @Test func aConstantSizeMayBeAnOutput() throws {
        var w = GraphWriter()
        let x = w.input("x", [2, 8], declared: ["N", 8])
        #expect(try w.finish(Self.size(&w, x, 1)).isEmpty)
    }
}

import GraftCore
import GraftIR
import GraftONNX
import GraftTestSupport
import Testing

/// What the IR holds of a file, and what a change of it writes.
@Suite struct GraphReadingTests {
    private func declaration(_ name: String, extent: UInt64) -> [UInt8] {
        let shape = Wire.block(2, Wire.block(1, Wire.number(1, extent)))
        return Wire.text(1, name) + Wire.block(2, Wire.block(1, Wire.number(1, 1) + shape))
    }

    private func node(_ type: String, _ inputs: [String], _ outputs: [String], attributes: [UInt8] = []) -> [UInt8] {
        Wire.block(
            1,
            inputs.flatMap { Wire.text(1, $0) } + outputs.flatMap { Wire.text(2, $0) } + Wire.text(4, type) + attributes
        )
    }

    @Test func bodiesCaptureThroughEveryLevel() throws {
        func body(_ content: [UInt8]) -> [UInt8] {
            Wire.block(5, Wire.text(1, "body") + Wire.block(6, Wire.text(2, "b") + content) + Wire.number(20, 5))
        }
        let inner = body(node("Relu", ["x"], ["inner"]) + Wire.block(12, Wire.text(1, "inner")))
        let outer = body(node("Loop", [], ["middle"], attributes: inner) + Wire.block(12, Wire.text(1, "middle")))
        let graph =
            node("Loop", [], ["y"], attributes: outer) + Wire.text(2, "g") + Wire.block(11, Wire.text(1, "x"))
            + Wire.block(12, Wire.text(1, "y"))
        var read = try model(in: Wire.model(graph: graph))
        try Verifier.verify(read)
        let x = try #require(read.graph.value(named: "x"))
        #expect(read.graph[x].uses.count == 1)

        read.graph.rename(x, to: "renamed")
        try Verifier.verify(read)
        let bytes = try written(read)
        let again = try model(in: bytes)
        let loop = try #require(again.graph.order.first)
        let middle = try #require(again.graph.bodies(of: loop).first?.graph)
        let innermost = try #require(middle.bodies(of: middle.order[0]).first?.graph)
        let relu = try #require(innermost.order.first)
        let captured = try #require(innermost[relu].inputs[0])
        #expect(innermost[captured].name == "renamed")
    }

    @Test func aBodyThatDefinesANameHidesTheOuterOne() throws {
        let body = Wire.block(
            5,
            Wire.text(1, "body") + Wire.block(6, node("Relu", ["x"], ["z"]) + Wire.block(11, Wire.text(1, "x")))
                + Wire.number(20, 5))
        let read = try model(
            in: Wire.model(graph: node("Loop", [], ["y"], attributes: body) + Wire.block(11, Wire.text(1, "x"))))
        let x = try #require(read.graph.value(named: "x"))
        #expect(read.graph[x].uses.isEmpty)
    }

    @Test func aSecondDeclarationCountsUntilTheTypeChanges() throws {
        let graph =
            node("Relu", ["x"], ["y"]) + Wire.text(2, "g") + Wire.block(11, declaration("x", extent: 1))
            + Wire.block(12, declaration("y", extent: 2)) + Wire.block(13, declaration("y", extent: 3))
            + Wire.block(13, declaration("y", extent: 2)) + Wire.block(13, declaration("nobody", extent: 4))
        var read = try model(in: Wire.model(graph: graph))
        #expect(try written(read) == Wire.model(graph: graph))
        let y = try #require(read.graph.value(named: "y"))
        #expect(read.graph[y].shape?.counts == [2])
        read.graph[y].type = .tensor(.float32, [9])
        let changed = try model(in: written(read)).graph
        let again = try #require(changed.value(named: "y"))
        #expect(changed[again].shape?.counts == [9])
        #expect(changed[again].variants.isEmpty, "every declaration follows")
    }

    @Test func namesOfTwoEmptyParametersAreNotTheSameExtent() throws {
        let shape = Wire.block(2, Wire.block(1, Wire.text(2, "")) + Wire.block(1, Wire.text(2, "")))
        let type = Wire.block(2, Wire.block(1, Wire.number(1, 1) + shape))
        let bytes = Wire.model(graph: Wire.block(11, Wire.text(1, "x") + type))
        let read = try model(in: bytes)
        let x = try #require(read.graph.value(named: "x"))
        #expect(read.graph[x].shape?.extents == [.unknown, .unknown])
        #expect(try written(read) == bytes)
    }

    @Test func attributesWithoutAKindTakeItFromTheirValue() throws {
        let attribute = Wire.block(5, Wire.text(1, "axis") + Wire.number(3, 2))
        let bytes = Wire.model(graph: node("Softmax", ["x"], ["y"], attributes: attribute))
        let read = try model(in: bytes)
        #expect(read.graph[read.graph.order[0]].attributes.int("axis") == 2)
        #expect(try written(read) == bytes)
    }

    @Test func aKindWithoutAValueHasTheDefault() throws {
        let attribute = Wire.block(5, Wire.text(1, "axis") + Wire.number(20, 2))
        let bytes = Wire.model(graph: node("Softmax", ["x"], ["y"], attributes: attribute))
        var read = try model(in: bytes)
        let softmax = read.graph.order[0]
        #expect(read.graph[softmax].attributes.int("axis") == 0)
        #expect(try written(read) == bytes)
        read.graph.setAttribute("axis", of: softmax, to: .int(3))
        let again = try model(in: written(read)).graph
        #expect(again[again.order[0]].attributes.int("axis") == 3)
    }

    @Test func trainingStepsArePartOfTheModel() throws {
        let read = try ONNX.read(path: Fixtures.path("onnx/everything.onnx"))
        #expect(read.training.count == 1)
        #expect(read.training[0].algorithm != nil || read.training[0].initialization != nil)
    }

    @Test func aModelMadeInMemoryIsAValidFile() throws {
        var model = Model(opset: 17, irVersion: 8)
        let x = model.graph.addInput("x", type: .tensor(.float32, ["N", 4]))
        let y = model.graph.add("Relu", [x], output: "y", type: .tensor(.float32, ["N", 4]))
        model.graph.addOutput(y)
        let read = try GraftONNXTests.model(in: written(model))
        #expect(read.graph.name == "main_graph", "the standard wants a graph to have a name")
        #expect(read.opset() == 17)
        #expect(read.irVersion == 8)
        let value = try #require(read.graph.value(named: "y"))
        #expect(read.graph[value].type == .tensor(.float32, ["N", 4]))
        try Verifier.verify(read)
    }
}

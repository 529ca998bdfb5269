import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Functions that a model brings with it are called in place, and never without end.
@Suite struct FunctionTests {
    /// A model that calls `own.f0`; each function's body is a chain of calls and operators.
    private static func model(_ bodies: [[OperatorName]]) -> Model {
        var model = Model(opset: 17)
        model.importOpset("own", version: 1)
        let x = model.graph.addInput("x", type: .tensor(.float32, [2]))
        model.graph.addOutput(model.graph.add(own(0), [x], output: "y"))
        for (index, ops) in bodies.enumerated() {
            var body = Graph()
            var value = body.addInput("v", type: nil)
            for op in ops { value = body.add(op, [value]) }
            body.addOutput(value)
            model.functions.append(
                Function(
                    own(index), body: body, opsets: [OpsetImport(version: 17), OpsetImport(domain: "own", version: 1)]))
        }
        return model
    }

    private static func own(_ index: Int) -> OperatorName { OperatorName("f\(index)", domain: "own") }

    @Test func nestedCallsRun() throws {
        let model = Self.model([["Neg", Self.own(1), Self.own(2)], ["Exp", Self.own(2)], ["Abs"]])
        let y = try #require(Session(Plan(model)).run(["x": Tensor([Float(0), -1])])["y"])
        #expect(try relativeDifference(y, Tensor([Float(1), 2.718_281_8])) < 1e-6)
    }

    @Test func aFunctionThatGivesOutItsInputRuns() throws {
        let y = try #require(Session(Plan(Self.model([[]]))).run(["x": Tensor([Float(3), 4])])["y"])
        #expect(try y.elements(as: Float.self) == [3, 4])
    }

    @Test(arguments: [[["Neg", own(0)]], [[own(1)], [own(2)], ["Neg", own(0)]]])
    func aFunctionThatCallsItselfIsRefused(_ bodies: [[OperatorName]]) {
        #expect {
            try Plan(Self.model(bodies))
        } throws: { error in
            "\(error)".contains("calls itself")
        }
    }

    @Test func functionsThatCallEachOtherTooDeepAreRefused() {
        let bodies = (1...200).map { [Self.own($0)] } + [["Neg"]]
        #expect {
            try Plan(Self.model(bodies))
        } throws: { error in
            "\(error)".contains("deep")
        }
    }

    @Test func aMissingNodeInAFunctionIsNamed() {
        #expect {
            try Plan(Self.model([["Neg", "Unheard"]]))
        } throws: { error in
            guard case RuntimeError.unsupported(let nodes) = error else { return false }
            return nodes.map(\.op.type) == ["Unheard"]
        }
    }
}

import GraftAutodiff
import GraftCore
import GraftIR
import Testing

@Suite struct TrainingFormTests {
    @Test func batchStatisticsMoveAndFrozenOnesStay() throws {
        let net = SmallClassifier()
        let trained = try TrainingForm(net.model, options: .init { _ in .train })
        try Verifier.verify(trained.model)
        let types = Set(trained.model.graph.order.map { trained.model.graph[$0].op.type })
        #expect(types.contains("BatchNormTraining") && types.contains("DropoutTraining"))
        #expect(!types.contains("BatchNormalization") && !types.contains("Dropout"))
        let statistics = try #require(trained.statistics.first)
        #expect(trained.model.graph[statistics.mean].name == "bn.mean")
        let seed = try #require(trained.seed)
        #expect(trained.model.graph[seed].origin == .input)
        var model = trained.model
        let gradients = try Differentiation.gradients(of: net.loss, withRespectTo: [net.w1, net.scale], in: &model)
        #expect(gradients.count == 2)
        try Verifier.verify(model)

        let frozen = try TrainingForm(net.model, options: .init(drops: false) { _ in .frozen })
        try Verifier.verify(frozen.model)
        #expect(frozen.statistics.isEmpty && frozen.seed == nil)
        let kept = frozen.model.graph.order.map { frozen.model.graph[$0].op.type }
        #expect(kept.contains("BatchNormalization") && !kept.contains("Dropout"))
    }

    @Test func batchStatisticsWithoutUpdateAreNotGivenOut() throws {
        let net = SmallClassifier()
        let mode = BatchNormMode(trainsAffine: true, statistics: .batch, updatesStatistics: false)
        let form = try TrainingForm(net.model, options: .init { _ in mode })
        #expect(form.statistics.isEmpty)
        let id = try #require(form.model.graph.node(named: "bn"))
        #expect(form.model.graph[id].outputs[1] == nil && form.model.graph[id].outputs[3] != nil)
    }

    @Test func functionsAndKnownBranchesAreReplacedByWhatTheyRun() throws {
        var body = Graph(name: "twice")
        let a = body.addInput("a", type: nil)
        body.addOutput(body.add("Add", [a, a]))
        var model = Model()
        model.functions = [
            Function(
                OperatorName("Twice", domain: "example"), body: body, opsets: [OpsetImport(version: 17)])
        ]
        model.importOpset("example", version: 1)
        let w = model.graph.addInitializer("w", Tensor([Float](repeating: 1, count: 4)))
        let doubled = model.graph.add(OperatorName("Twice", domain: "example"), [w], name: "call")
        var branch = Graph(name: "then")
        let inner = branch.addValue(model.graph[doubled].name)
        branch.makeCapture(inner, of: doubled)
        branch.addOutput(branch.add("Neg", [inner], name: "negate"))
        var other = Graph(name: "else")
        let otherInner = other.addValue(model.graph[doubled].name)
        other.makeCapture(otherInner, of: doubled)
        other.addOutput(other.add("Exp", [otherInner]))
        let condition = model.graph.addInitializer("condition", Tensor(scalar: true))
        let chosen = model.graph.add(
            "If", [condition], attributes: ["then_branch": .graph(branch), "else_branch": .graph(other)],
            name: "choice")
        let loss = model.graph.add("ReduceSum", [chosen], attributes: ["keepdims": .int(0)])
        model.graph.addOutput(loss)
        var form = try TrainingForm(model, options: .init { _ in .frozen }).model
        try Verifier.verify(form)
        #expect(form.graph.order.map { form.graph[$0].op.type } == ["Add", "Neg", "ReduceSum"])
        #expect(try Differentiation.gradients(of: loss, withRespectTo: [w], in: &form).count == 1)
        try Verifier.verify(form)
    }
}

import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// A profile looks into bodies: their nodes count as nodes of their own, and no time counts twice.
@Suite struct ProfileTests {
    /// A loop of three rounds that adds, and within each round a branch that cannot be known before.
    private static func model() -> Model {
        ControlFlowTests.loop(rounds: 3, x: [512]) { body, state in
            var taken = Graph(name: "taken")
            let outer = taken.addValue("state")
            taken.makeCapture(outer, of: state)
            taken.addOutput(taken.add("Sqrt", [outer]))
            var other = Graph(name: "other")
            let same = other.addValue("state")
            other.makeCapture(same, of: state)
            other.addOutput(other.add("Exp", [same]))
            let sum = body.add("ReduceSum", [state], attributes: ["keepdims": .int(0)])
            let condition = body.add("GreaterOrEqual", [sum, body.addInitializer("zero", Tensor(scalar: Float(0)))])
            let root = body.add(
                "If", [condition], attributes: ["then_branch": .graph(taken), "else_branch": .graph(other)])
            return (ControlFlowTests.adding(&body, root), [])
        }
    }

    private static func profile(runs: Int) throws -> Profile {
        let plan = try Plan(model())
        let session = try Session(plan)
        let profile = Profile(plan)
        session.profile = profile
        for _ in 0..<runs { _ = try session.run(["x": Tensor([Float](repeating: 1, count: 512))]) }
        return profile
    }

    @Test func nodesOfBodiesCountWithTheirPath() throws {
        let profile = try Self.profile(runs: 2)
        func entry(_ op: String) throws -> Profile.Entry { try #require(profile.entries.first { $0.op.type == op }) }
        let (loop, branch, root, sum) = (try entry("Loop"), try entry("If"), try entry("Sqrt"), try entry("Add"))
        #expect([loop.calls, branch.calls, root.calls, sum.calls] == [2, 6, 6, 6])
        #expect(branch.node.hasPrefix("\(loop.node)/"))
        #expect(root.node.hasPrefix("\(branch.node)/"))
        #expect(branch.parent.map { profile.entries[$0].node } == loop.node)
        // A branch that is never taken is no part of the profile.
        #expect(!profile.entries.contains { $0.op.type == "Exp" })
        #expect(profile.byOperator.first { $0.op.type == "Sqrt" }?.calls == 6)
    }

    @Test func noTimeCountsTwice() throws {
        let profile = try Self.profile(runs: 2)
        let outermost = profile.events.filter { profile.entries[$0.entry].parent == nil }
        let total = outermost.reduce(0) { $0 + $1.nanoseconds }
        #expect(profile.entries.reduce(0) { $0 + $1.nanoseconds } == total)
        #expect(profile.byOperator.reduce(0) { $0 + $1.nanoseconds } == total)
    }

    @Test func runsOfBodiesLieWithinTheRunAroundThem() throws {
        let profile = try Self.profile(runs: 1)
        var nested = 0
        for event in profile.events {
            guard let parent = profile.entries[event.entry].parent else { continue }
            nested += 1
            #expect(
                profile.events.contains {
                    $0.entry == parent && $0.start <= event.start
                        && event.start + event.nanoseconds <= $0.start + $0.nanoseconds
                })
        }
        // In each round five nodes of the body and one of the branch.
        #expect(nested == 3 * (5 + 1))
    }

    @Test func aSecondProfileStartsAtNothing() throws {
        let plan = try Plan(Self.model())
        let session = try Session(plan)
        let given = ["x": Tensor([Float](repeating: 1, count: 512))]
        session.profile = Profile(plan)
        _ = try session.run(given)
        let second = Profile(plan)
        session.profile = second
        _ = try session.run(given)
        #expect(second.entries.first { $0.op.type == "Sqrt" }?.calls == 3)
        session.profile = nil
        _ = try session.run(given)
        #expect(second.entries.first { $0.op.type == "Sqrt" }?.calls == 3)
    }
}

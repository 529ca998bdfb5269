import GraftAutodiff
import GraftIR

/// What holds for the nodes of a graph wherever they are put: operator versions, and the functions that they may call.
final class PlanScope {
    /// The version of each domain's operators, by the domain's canonical name.
    let opsets: [String: Int]
    /// The functions of the model by their canonical names.
    let functions: [OperatorName: Function]
    /// The functions whose bodies the graph lies in, the outermost first.
    let calls: [OperatorName]

    /// How much calls have added to the plan and to the plans of its bodies.
    private let growth: Growth

    /// The deepest nesting of calls.
    private static let depthLimit = 100
    /// The most nodes that calls may add.
    private static let nodeLimit = 1_000_000

    private final class Growth { var nodes = 0 }

    init(opsets: [OpsetImport], functions: [Function]) {
        self.opsets = Self.versions(opsets, over: [graftDomain: 1])
        self.functions = Dictionary(functions.map { ($0.name.canonical, $0) }) { first, _ in first }
        calls = []
        growth = Growth()
    }

    private init(around other: PlanScope, opsets: [String: Int], call: OperatorName? = nil) {
        self.opsets = opsets
        functions = other.functions
        calls = other.calls + (call.map { [$0] } ?? [])
        growth = other.growth
    }

    /// Notes that a call adds a node, or what costs as much as several.
    ///
    /// - Throws: ``RuntimeError/invalidGraph(_:)`` where calls add too many: functions that call each other twice grow
    ///   without bound.
    func grow(by count: Int = 1) throws {
        guard !calls.isEmpty else { return }
        growth.nodes += count
        guard growth.nodes <= Self.nodeLimit else {
            throw RuntimeError.invalidGraph("the model's functions expand to more than \(Self.nodeLimit) nodes")
        }
    }

    /// What holds in the body of a function that is called here.
    ///
    /// - Throws: ``RuntimeError/invalidGraph(_:)`` for a function that calls itself.
    func calling(_ function: Function) throws -> PlanScope {
        let name = function.name.canonical
        guard !calls.contains(name) else { throw RuntimeError.invalidGraph("the function \(name) calls itself") }
        guard calls.count < Self.depthLimit else {
            throw RuntimeError.invalidGraph("functions call each other more than \(Self.depthLimit) deep")
        }
        return PlanScope(around: self, opsets: Self.versions(function.opsets, over: opsets), call: name)
    }

    /// A graph with the nodes that compute gradients in the place of those that ask for them, and what holds for it.
    ///
    /// - Throws: ``RuntimeError/unsupported(_:)`` with every node that has no right gradient.
    func differentiated(_ graph: Graph) throws -> (Graph, PlanScope) {
        guard GradientExpansion.isNeeded(in: graph) else { return (graph, self) }
        var model = Model(graph: graph)
        model.opsets = imports
        model.functions = Array(functions.values)
        do {
            try GradientExpansion.run(on: &model)
        } catch let error as DifferentiationError {
            throw RuntimeError.unsupported(
                error.obstacles.map { UnsupportedNode(node: $0.node, op: $0.op, reason: $0.reason) })
        }
        try grow(by: model.graph.nodeCount - graph.nodeCount)
        return (model.graph, PlanScope(around: self, opsets: Self.versions(model.opsets, over: opsets)))
    }

    /// The imports as a model lists them.
    var imports: [OpsetImport] { opsets.map { OpsetImport(domain: $0.key, version: $0.value) } }

    private static func versions(_ imports: [OpsetImport], over others: [String: Int]) -> [String: Int] {
        var result = others
        for entry in imports { result[entry.domain == "ai.onnx" ? "" : entry.domain] = entry.version }
        return result
    }
}

/// What is known of a value that a body captures.
struct PlanCapture {
    /// The value itself, where it is a constant.
    let constant: RuntimeValue?
    /// The type of the value.
    let type: ValueType?
}

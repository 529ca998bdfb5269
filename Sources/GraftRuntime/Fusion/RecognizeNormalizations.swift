import GraftCore
import GraftIR

/// Layer and RMS normalization that exporters write as several nodes become one.
///
/// Given, over the last axes: `d = x - mean(x); d / sqrt(mean(d^2) + eps) * scale + bias`, or the same with x in the place of d
/// and without a bias. Squares are Pow or Mul, the division is one or a product with the reciprocal. Result:
/// LayerNormalization, RMSNormalization.
enum RecognizeNormalizations: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        for index in graph.nodes.indices {
            guard let match = division(index, graph) else { continue }
            try replace(match, &graph)
            graph.refresh()
        }
    }

    /// What a normalization consists of.
    private struct Match {
        var source: Int
        var last: Int
        var axes: Int
        var epsilon: Float
        var nodes: Set<Int>
        var hasMean = false
    }

    /// `d / sqrt(mean(d^2) + eps)` that ends at a node.
    private static func division(_ index: Int, _ graph: PlanGraph) -> Match? {
        guard let node = graph.nodes[index] else { return nil }
        if node.op.isONNX("Div") {
            guard let (d, root) = graph.operandPairs(node).first, let sqrt = graph.maker(root, "Sqrt"),
                let spread = spread(sqrt.node.inputs[0], graph)
            else { return nil }
            return match(d, spread, [index, sqrt.index], last: index, graph)
        }
        guard node.op.isONNX("Mul") else { return nil }
        for (d, inverse) in graph.operandPairs(node) {
            if let spread = inverseSpread(inverse, graph), let found = match(d, spread, [index], last: index, graph) {
                return found
            }
        }
        return nil
    }

    /// `mean(base^2) + epsilon` over the last axes.
    struct Spread {
        let base: Int
        let axes: Int
        let epsilon: Float
        var nodes: Set<Int>
    }

    /// The spread whose inverse root a value is.
    static func inverseSpread(_ slot: Int, _ graph: PlanGraph) -> Spread? {
        guard let (index, inverse) = graph.maker(slot, "Reciprocal", "Div", "Pow") else { return nil }
        var result: Spread?
        if inverse.op.isONNX("Pow") {
            guard inverse.inputs.count == 2, graph.factor(inverse.inputs[1], rank: 1) == -0.5 else { return nil }
            result = spread(inverse.inputs[0], graph)
        } else {
            if inverse.op.isONNX("Div"), graph.factor(inverse.inputs[0], rank: 1) != 1 { return nil }
            guard let sqrt = graph.maker(inverse.inputs.last ?? nil, "Sqrt") else { return nil }
            result = spread(sqrt.node.inputs[0], graph)
            result?.nodes.insert(sqrt.index)
        }
        result?.nodes.insert(index)
        return result
    }

    private static func spread(_ slot: Int?, _ graph: PlanGraph) -> Spread? {
        guard let add = graph.maker(slot, "Add") else { return nil }
        for (variance, constant) in graph.operandPairs(add.node) {
            guard let epsilon = graph.factor(constant, rank: 1), epsilon >= 0, epsilon.isFinite,
                let mean = graph.maker(variance, "ReduceMean"), let axes = lastAxes(of: mean.node, graph),
                let square = graph.maker(mean.node.inputs[0], "Pow", "Mul"), let base = squared(square.node, graph),
                graph.types[base]?.elementType == .float32
            else { continue }
            return Spread(base: base, axes: axes, epsilon: epsilon, nodes: [add.index, mean.index, square.index])
        }
        return nil
    }

    private static func match(
        _ d: Int, _ spread: Spread, _ nodes: Set<Int>, last: Int, _ graph: PlanGraph
    ) -> Match? {
        let result = Match(
            source: d, last: last, axes: spread.axes, epsilon: spread.epsilon, nodes: nodes.union(spread.nodes))
        if let centred = centre(d, spread.base, axes: spread.axes, graph) {
            var whole = result
            whole.nodes.formUnion(centred.nodes)
            if graph.isClosed(whole.nodes, last: last) {
                whole.source = centred.source
                whole.hasMean = true
                return whole
            }
        }
        guard spread.base == d, graph.isClosed(result.nodes, last: last) else { return nil }
        return result
    }

    /// The value whose square a node makes.
    private static func squared(_ node: PlanNode, _ graph: PlanGraph) -> Int? {
        guard node.inputs.count == 2 else { return nil }
        if node.op.isONNX("Mul") { return node.inputs[0] == node.inputs[1] ? node.inputs[0] : nil }
        return graph.factor(node.inputs[1], rank: 1) == 2 ? node.inputs[0] : nil
    }

    /// What two values are the distances of from its mean; exporters write the difference once or twice.
    static func centre(
        _ a: Int, _ b: Int, axes: Int, _ graph: PlanGraph
    ) -> (source: Int, nodes: Set<Int>)? {
        var nodes: Set<Int> = []
        var source: Int?
        for slot in Set([a, b]) {
            guard let difference = graph.maker(slot, "Sub"), difference.node.inputs.count == 2,
                let x = difference.node.inputs[0], source == nil || source == x,
                let mean = graph.maker(difference.node.inputs[1], "ReduceMean"), mean.node.inputs.first == x,
                lastAxes(of: mean.node, graph) == axes
            else { return nil }
            source = x
            nodes.formUnion([difference.index, mean.index])
        }
        return source.map { ($0, nodes) }
    }

    /// How many of the last axes a mean goes over, where it keeps them as extents of 1.
    static func lastAxes(of node: PlanNode, _ graph: PlanGraph) -> Int? {
        guard node.attributes.int("keepdims") ?? 1 == 1, let input = node.inputs.first ?? nil,
            let rank = graph.types[input]?.shape?.rank
        else { return nil }
        let given =
            node.opset < 18
            ? node.attributes.ints("axes") : graph.integers(node.inputs.count > 1 ? node.inputs[1] : nil)
        guard let given, !given.isEmpty, given.allSatisfy({ $0 >= -rank && $0 < rank }) else { return nil }
        let axes = Set(given.map { $0 < 0 ? $0 + rank : $0 })
        return axes == Set((rank - axes.count)..<rank) ? axes.count : nil
    }

    private static func replace(_ match: Match, _ graph: inout PlanGraph) throws {
        guard let inner = graph.lastExtents(match.source, match.axes), let length = Checked.product(inner),
            var output = graph.nodes[match.last]?.outputs.first ?? nil
        else { return }
        var last = match.last
        func operand(of type: String) -> Int? {
            guard let reader = graph.onlyReader(of: output), let node = graph.nodes[reader.node],
                node.op.isONNX(type), node.opset >= 7, node.inputs.count == 2,
                let other = node.inputs[1 - reader.input],
                fits(other, inner, graph), let result = node.outputs.first ?? nil
            else { return nil }
            (last, output) = (reader.node, result)
            return other
        }
        let scale = operand(of: "Mul")
        let bias = match.hasMean ? operand(of: "Add") : nil
        guard let name = graph.nodes[last]?.name else { return }
        let ones =
            try scale ?? graph.addConstant("\(name)/scale", [Float](repeating: 1, count: length), shape: inner)
        graph.nodes[last] = PlanNode(
            name: name, op: match.hasMean ? "LayerNormalization" : "RMSNormalization",
            opset: match.hasMean ? 17 : 23,
            attributes: ["axis": .int(-match.axes), "epsilon": .float(match.epsilon)],
            inputs: [match.source, ones] + (bias.map { [$0] } ?? []), outputs: [output])
    }

    /// Whether a value is a scale or bias for inner extents.
    static func fits(_ slot: Int, _ inner: [Int], _ graph: PlanGraph) -> Bool {
        guard let shape = graph.shape(slot), graph.types[slot]?.elementType ?? .float32 == .float32 else {
            return false
        }
        return shape == inner || (graph.constants[slot] != nil && shape.allSatisfy { $0 == 1 } && shape.count <= 1)
    }
}

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
            guard let (d, root) = graph.operandPairs(node).first, let sqrt = graph.maker(root, "Sqrt") else {
                return nil
            }
            return match(d, root: sqrt, [index], last: index, graph)
        }
        guard node.op.isONNX("Mul") else { return nil }
        for (d, inverse) in graph.operandPairs(node) {
            var root: Int?
            guard let (position, reciprocal) = graph.maker(inverse, "Reciprocal", "Div", "Pow") else { continue }
            switch reciprocal.op.type {
            case "Reciprocal": root = reciprocal.inputs[0]
            case "Div" where graph.factor(reciprocal.inputs[0], rank: 1) == 1: root = reciprocal.inputs[1]
            case "Pow" where graph.factor(reciprocal.inputs[1], rank: 1) == -0.5:
                if let found = match(d, sum: reciprocal.inputs[0], [index, position], last: index, graph) {
                    return found
                }
            default: break
            }
            if let sqrt = graph.maker(root, "Sqrt"),
                let found = match(d, root: sqrt, [index, position], last: index, graph)
            {
                return found
            }
        }
        return nil
    }

    private static func match(
        _ d: Int, root: (index: Int, node: PlanNode), _ nodes: Set<Int>, last: Int, _ graph: PlanGraph
    ) -> Match? {
        match(d, sum: root.node.inputs[0], nodes.union([root.index]), last: last, graph)
    }

    private static func match(_ d: Int, sum: Int?, _ nodes: Set<Int>, last: Int, _ graph: PlanGraph) -> Match? {
        guard let add = graph.maker(sum, "Add") else { return nil }
        for (variance, constant) in graph.operandPairs(add.node) {
            guard let epsilon = graph.factor(constant, rank: 1), epsilon >= 0, epsilon.isFinite,
                let mean = graph.maker(variance, "ReduceMean"), let axes = lastAxes(of: mean.node, graph),
                let square = graph.maker(mean.node.inputs[0], "Pow", "Mul"), let base = squared(square.node, graph),
                graph.types[d]?.elementType == .float32
            else { continue }
            var result = Match(
                source: d, last: last, axes: axes, epsilon: epsilon,
                nodes: nodes.union([add.index, mean.index, square.index]))
            if let centred = centre(d, base, axes: axes, graph) {
                var whole = result
                whole.nodes.formUnion(centred.nodes)
                if graph.isClosed(whole.nodes, last: last) {
                    whole.source = centred.source
                    whole.hasMean = true
                    return whole
                }
            }
            guard base == d, graph.isClosed(result.nodes, last: last) else { continue }
            result.source = d
            return result
        }
        return nil
    }

    /// The value whose square a node makes.
    private static func squared(_ node: PlanNode, _ graph: PlanGraph) -> Int? {
        guard node.inputs.count == 2 else { return nil }
        if node.op.isONNX("Mul") { return node.inputs[0] == node.inputs[1] ? node.inputs[0] : nil }
        return graph.factor(node.inputs[1], rank: 1) == 2 ? node.inputs[0] : nil
    }

    /// What two values are the distances of from its mean; exporters write the difference once or twice.
    private static func centre(
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
    private static func lastAxes(of node: PlanNode, _ graph: PlanGraph) -> Int? {
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
        func fits(_ slot: Int) -> Bool {
            guard let shape = graph.shape(slot), graph.types[slot]?.elementType ?? .float32 == .float32 else {
                return false
            }
            return shape == inner || (graph.constants[slot] != nil && shape.allSatisfy { $0 == 1 } && shape.count <= 1)
        }
        func operand(of type: String) -> Int? {
            guard let reader = graph.onlyReader(of: output), let node = graph.nodes[reader.node],
                node.op.isONNX(type), node.opset >= 7, node.inputs.count == 2,
                let other = node.inputs[1 - reader.input],
                fits(other), let result = node.outputs.first ?? nil
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
}

import GraftCore
import GraftIR

/// Layer normalization that is written around its moments, as by TensorFlow and Keras, becomes one node.
///
/// Given: `x r + (bias - mean r)` or `x r + (-mean r + bias)` over the last axes, with `mean = mean(x)` and
/// `r = scale / sqrt(mean((x - mean)^2) + eps)`; scale and bias may be left out. Result: LayerNormalization.
enum RecognizeMomentNormalization: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        for index in graph.nodes.indices {
            guard let node = graph.nodes[index], node.op.isONNX("Add") || node.op.isONNX("Sub"),
                let match = match(index, node, graph),
                let inner = graph.lastExtents(match.source, match.axes), let length = Checked.product(inner),
                [match.scale, match.bias].allSatisfy({
                    $0.map { RecognizeNormalizations.fits($0, inner, graph) } ?? true
                })
            else { continue }
            let scale =
                try match.scale
                ?? graph.addConstant("\(node.name)/scale", [Float](repeating: 1, count: length), shape: inner)
            graph.nodes[index] = PlanNode(
                name: node.name, op: "LayerNormalization", opset: 17,
                attributes: ["axis": .int(-match.axes), "epsilon": .float(match.epsilon)],
                inputs: [match.source, scale] + (match.bias.map { [$0] } ?? []), outputs: node.outputs)
            graph.refresh()
        }
    }

    private struct Match {
        let source: Int
        let axes: Int
        let epsilon: Float
        let scale: Int?
        let bias: Int?
    }

    private static func match(_ index: Int, _ node: PlanNode, _ graph: PlanGraph) -> Match? {
        for (product, rest) in graph.operandPairs(node) {
            guard let scaled = graph.maker(product, "Mul") else { continue }
            for (x, r) in graph.operandPairs(scaled.node) {
                guard let factor = factor(r, graph), let (mean, centred) = mean(of: x, factor.spread, graph),
                    let shift = shift(rest, mean: mean, r: r, isNegated: node.op.isONNX("Sub"), graph)
                else { continue }
                let nodes = factor.nodes.union(centred).union(shift.nodes).union([index, scaled.index])
                guard graph.isClosed(nodes, last: index) else { continue }
                return Match(
                    source: x, axes: factor.spread.axes, epsilon: factor.spread.epsilon, scale: factor.scale,
                    bias: shift.bias)
            }
        }
        return nil
    }

    /// `scale / sqrt(spread)`.
    private static func factor(
        _ r: Int, _ graph: PlanGraph
    ) -> (spread: RecognizeNormalizations.Spread, scale: Int?, nodes: Set<Int>)? {
        if let spread = RecognizeNormalizations.inverseSpread(r, graph) { return (spread, nil, spread.nodes) }
        guard let (index, multiply) = graph.maker(r, "Mul") else { return nil }
        for (scale, inverse) in graph.operandPairs(multiply) {
            if let spread = RecognizeNormalizations.inverseSpread(inverse, graph) {
                return (spread, scale, spread.nodes.union([index]))
            }
        }
        return nil
    }

    /// The mean of a value, where a spread is that of its distances from it.
    private static func mean(
        of x: Int, _ spread: RecognizeNormalizations.Spread, _ graph: PlanGraph
    ) -> (mean: Int, nodes: Set<Int>)? {
        guard let centred = RecognizeNormalizations.centre(spread.base, spread.base, axes: spread.axes, graph),
            centred.source == x, let difference = graph.maker(spread.base, "Sub"), let mean = difference.node.inputs[1]
        else { return nil }
        return (mean, centred.nodes)
    }

    /// The bias in what is added, where the rest is the scaled mean.
    private static func shift(
        _ slot: Int, mean: Int, r: Int, isNegated: Bool, _ graph: PlanGraph
    ) -> (bias: Int?, nodes: Set<Int>)? {
        // x r - mean r, and x r + -mean r.
        if let nodes = scaledMean(slot, mean, r, isNegated: !isNegated, graph) { return (nil, nodes) }
        guard !isNegated, let (index, node) = graph.maker(slot, "Sub", "Add") else { return nil }
        for (bias, product) in graph.operandPairs(node) {
            if let nodes = scaledMean(product, mean, r, isNegated: node.op.isONNX("Add"), graph) {
                return (bias, nodes.union([index]))
            }
        }
        return nil
    }

    /// The nodes that make the product of a mean, negated or not, and a factor.
    private static func scaledMean(
        _ slot: Int, _ mean: Int, _ r: Int, isNegated: Bool, _ graph: PlanGraph
    ) -> Set<Int>? {
        guard let (index, multiply) = graph.maker(slot, "Mul") else { return nil }
        for (first, second) in graph.operandPairs(multiply) where second == r {
            if !isNegated, first == mean { return [index] }
            if isNegated, let negation = graph.maker(first, "Neg"), negation.node.inputs.first == mean {
                return [index, negation.index]
            }
        }
        return nil
    }
}

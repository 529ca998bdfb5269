import COneDNN
import GraftIR

/// Activations that exporters write as several nodes become one.
///
/// Given: `x * Sigmoid(x)`; `x * HardSigmoid(x)` with slope 1/6; `x * Clip(x + 3, 0, 6) / 6`;
/// `0.5 x (1 + Erf(x / sqrt 2))`. Result: Swish, HardSwish, HardSwish, Gelu.
enum RecognizeActivations: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        for index in graph.nodes.indices {
            guard let node = graph.nodes[index] else { continue }
            let replacement =
                swish(node, graph) ?? hardSwish(node, graph) ?? gelu(node, graph)
            guard let (op, source) = replacement else { continue }
            var result = PlanNode(
                name: node.name, op: op, opset: op.domain == graftDomain ? 1 : max(20, node.opset), inputs: [source],
                outputs: node.outputs)
            result.postOperations = node.postOperations
            graph.nodes[index] = result
            graph.refresh()
        }
    }

    /// The two operands of a commutative node, with the one that a node of a type makes second.
    private static func operands(
        _ node: PlanNode, _ type: String, _ graph: PlanGraph
    ) -> [(other: Int, made: PlanNode)] {
        guard node.inputs.count == 2, let a = node.inputs[0], let b = node.inputs[1] else { return [] }
        return [(a, b), (b, a)].compactMap { other, slot in
            graph.soleWriter(slot, type).flatMap { graph.nodes[$0] }.map { (other, $0) }
        }
    }

    /// The operand of a commutative node whose other operand is a given number.
    private static func operand(_ node: PlanNode, beside number: Float, _ graph: PlanGraph) -> Int? {
        guard node.inputs.count == 2 else { return nil }
        for (a, b) in [(0, 1), (1, 0)] {
            if let value = graph.scalar(node.inputs[b]), abs(value - number) <= 1e-5 * abs(number) {
                return node.inputs[a]
            }
        }
        return nil
    }

    private static func swish(_ node: PlanNode, _ graph: PlanGraph) -> (OperatorName, Int)? {
        guard node.op.isONNX("Mul") else { return nil }
        for (other, sigmoid) in operands(node, "Sigmoid", graph) where sigmoid.inputs.first == other {
            return (OperatorName("Swish", domain: graftDomain), other)
        }
        return nil
    }

    private static func hardSwish(_ node: PlanNode, _ graph: PlanGraph) -> (OperatorName, Int)? {
        if node.op.isONNX("Mul") {
            for (other, gate) in operands(node, "HardSigmoid", graph) where gate.inputs.first == other {
                let alpha = gate.attributes.float("alpha") ?? 0.2
                if abs(alpha - 1 / 6) < 1e-6, gate.attributes.float("beta") ?? 0.5 == 0.5 {
                    return ("HardSwish", other)
                }
            }
        }
        // The product, divided by 6.
        let product: Int?
        if node.op.isONNX("Div"), let six = graph.scalar(node.inputs[1]), abs(six - 6) < 1e-5 {
            product = node.inputs[0]
        } else if node.op.isONNX("Mul") {
            product = operand(node, beside: 1 / 6, graph)
        } else {
            product = nil
        }
        guard let index = graph.soleWriter(product, "Mul"), let multiply = graph.nodes[index] else { return nil }
        for (other, clip) in operands(multiply, "Clip", graph) {
            let (low, high): (Float?, Float?) =
                clip.opset < 11
                ? (clip.attributes.float("min"), clip.attributes.float("max"))
                : clip.inputs.count > 2 ? (graph.scalar(clip.inputs[1]), graph.scalar(clip.inputs[2])) : (nil, nil)
            guard low == 0, high == 6, let add = graph.soleWriter(clip.inputs[0], "Add").flatMap({ graph.nodes[$0] }),
                operand(add, beside: 3, graph) == other
            else { continue }
            return ("HardSwish", other)
        }
        return nil
    }

    private static func gelu(_ node: PlanNode, _ graph: PlanGraph) -> (OperatorName, Int)? {
        guard node.op.isONNX("Mul") else { return nil }
        // 0.5 (x (1 + erf)), (0.5 x) (1 + erf), x (0.5 (1 + erf)).
        if let product = operand(node, beside: 0.5, graph),
            let multiply = graph.soleWriter(product, "Mul").flatMap({ graph.nodes[$0] })
        {
            for (other, add) in operands(multiply, "Add", graph) where isErrorFunction(add, of: other, graph) {
                return ("Gelu", other)
            }
        }
        for (other, add) in operands(node, "Add", graph) {
            guard let index = graph.soleWriter(other, "Mul"), let half = graph.nodes[index],
                let source = operand(half, beside: 0.5, graph), isErrorFunction(add, of: source, graph)
            else { continue }
            return ("Gelu", source)
        }
        for (other, half) in operands(node, "Mul", graph) {
            guard let sum = operand(half, beside: 0.5, graph),
                let add = graph.soleWriter(sum, "Add").flatMap({ graph.nodes[$0] }),
                isErrorFunction(add, of: other, graph)
            else { continue }
            return ("Gelu", other)
        }
        return nil
    }

    /// Whether a node is `1 + Erf(x / sqrt 2)`.
    private static func isErrorFunction(_ add: PlanNode, of x: Int, _ graph: PlanGraph) -> Bool {
        guard let value = operand(add, beside: 1, graph),
            let erf = graph.soleWriter(value, "Erf").flatMap({ graph.nodes[$0] }), let argument = erf.inputs.first
        else { return false }
        if let divide = graph.soleWriter(argument, "Div").flatMap({ graph.nodes[$0] }), divide.inputs[0] == x,
            let root = graph.scalar(divide.inputs[1])
        {
            return abs(root - 1.4142135) < 1e-4
        }
        if let multiply = graph.soleWriter(argument, "Mul").flatMap({ graph.nodes[$0] }) {
            return operand(multiply, beside: 0.70710678, graph) == x
        }
        return false
    }
}

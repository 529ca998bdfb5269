import GraftIR

/// The approximation of Gelu by a hyperbolic tangent becomes one node.
///
/// Given: `0.5 x (1 + Tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, its products in any order, powers as Pow or Mul, or
/// `x (1 + 0.044715 x^2)` in the place of the sum. Result: Gelu with the approximation "tanh".
enum RecognizeTanhGelu: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        for index in graph.nodes.indices {
            guard let tanh = graph.nodes[index], tanh.op.isONNX("Tanh"), let (source, last) = match(index, tanh, graph),
                let node = graph.nodes[last]
            else { continue }
            graph.nodes[last] = PlanNode(
                name: node.name, op: "Gelu", opset: max(20, node.opset),
                attributes: ["approximate": .string(Array("tanh".utf8))], inputs: [source], outputs: node.outputs)
            graph.refresh()
        }
    }

    /// A product as its factors and the number in front of them.
    private struct Product {
        var coefficient: Float = 1
        var factors: [Int] = []
        /// The nodes that multiply.
        var nodes: Set<Int> = []
        /// Every value on the way.
        var values: Set<Int> = []

        func isClose(to number: Float, _ wanted: [Int]) -> Bool {
            abs(coefficient - number) <= 1e-4 * abs(number) && factors.sorted() == wanted.sorted()
        }
    }

    private static func product(_ slot: Int, leaves: Set<Int>, _ graph: PlanGraph) -> Product {
        var result = Product()
        var pending = [(slot, 1)]
        while let (slot, power) = pending.popLast(), result.factors.count <= 8 {
            result.values.insert(slot)
            if let number = graph.factor(slot, rank: 1), !leaves.contains(slot) {
                for _ in 0..<power { result.coefficient *= number }
                continue
            }
            guard !leaves.contains(slot), let (index, node) = graph.maker(slot, "Mul", "Pow", "Div"),
                let (first, second) = graph.operandPairs(node).first
            else {
                result.factors += Array(repeating: slot, count: power)
                continue
            }
            switch node.op.type {
            case "Mul": pending += [(first, power), (second, power)]
            case "Pow":
                guard let exponent = graph.factor(second, rank: 1), exponent == 2 || exponent == 3, power == 1 else {
                    result.factors += Array(repeating: slot, count: power)
                    continue
                }
                pending.append((first, Int(exponent)))
            default:
                guard let divisor = graph.factor(second, rank: 1), divisor != 0 else {
                    result.factors += Array(repeating: slot, count: power)
                    continue
                }
                for _ in 0..<power { result.coefficient /= divisor }
                pending.append((first, power))
            }
            result.nodes.insert(index)
        }
        return result
    }

    /// The value that goes into a Gelu whose tangent a node is, and its last node.
    private static func match(_ index: Int, _ tanh: PlanNode, _ graph: PlanGraph) -> (source: Int, last: Int)? {
        guard let argument = tanh.inputs.first ?? nil, let output = tanh.outputs.first ?? nil else { return nil }
        let whole = product(argument, leaves: [], graph)
        for slot in whole.factors {
            guard let (sum, add) = graph.maker(slot, "Add") else { continue }
            for (first, second) in graph.operandPairs(add) {
                let isOne = graph.factor(first, rank: 1) == 1
                let candidates = isOne ? product(second, leaves: [], graph).values : [first]
                for x in candidates where graph.constants[x] == nil {
                    let inner = product(second, leaves: [x], graph)
                    let outer = product(argument, leaves: [x, slot], graph)
                    guard inner.isClose(to: 0.044715, isOne ? [x, x] : [x, x, x]),
                        outer.isClose(to: 0.7978846, isOne ? [x, slot] : [slot])
                    else { continue }
                    let nodes = inner.nodes.union(outer.nodes).union([index, sum])
                    if let last = end(of: output, x, nodes, graph) { return (x, last) }
                }
            }
        }
        return nil
    }

    /// The node that makes `0.5 x (1 + tangent)`.
    private static func end(of tangent: Int, _ x: Int, _ nodes: Set<Int>, _ graph: PlanGraph) -> Int? {
        guard let reader = graph.onlyReader(of: tangent), let add = graph.nodes[reader.node], add.op.isONNX("Add"),
            add.inputs.count == 2, graph.factor(add.inputs[1 - reader.input], rank: 1) == 1,
            let sum = add.outputs.first ?? nil
        else { return nil }
        var value = sum
        for _ in 0..<3 {
            guard let next = graph.onlyReader(of: value), let multiply = graph.nodes[next.node],
                multiply.op.isONNX("Mul"), let output = multiply.outputs.first ?? nil
            else { return nil }
            let whole = product(output, leaves: [x, sum], graph)
            if whole.isClose(to: 0.5, [x, sum]) {
                let all = nodes.union(whole.nodes).union([reader.node])
                return graph.isClosed(all, last: next.node) ? next.node : nil
            }
            value = output
        }
        return nil
    }
}

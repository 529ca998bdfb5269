import GraftCore
import GraftIR

/// A product of a tensor that is quantised as it comes is one kernel.
///
/// Given: `Add(Mul(Cast(MatMulInteger(a, B)), Mul(scale of a, scale of B)), bias)`. Result: MatMulIntegerToFloat.
enum DynamicProducts {
    static func fuse(_ index: Int, _ node: PlanNode, _ graph: inout PlanGraph) throws {
        guard let sums = node.outputs.first ?? nil, node.inputs.count >= 2, let a = node.inputs[0],
            let b = node.inputs[1], let shape = graph.constantShape(b), shape.count == 2,
            let cast = graph.onlyReader(of: sums), let toFloats = graph.nodes[cast.node], toFloats.op.isONNX("Cast"),
            toFloats.attributes.int("to") == Int(ElementType.float32.rawValue), let numbers = toFloats.outputs[0],
            let product = graph.onlyReader(of: numbers), let scaled = graph.nodes[product.node],
            scaled.op.isONNX("Mul"), scaled.inputs.count == 2, let scale = scaled.inputs[1 - product.input],
            let (_, scales) = graph.maker(scale, "Mul")
        else { return }
        let zeroA = node.inputs.count > 2 ? node.inputs[2] : nil
        let zeroB = node.inputs.count > 3 ? node.inputs[3] : nil
        // The scale of the left side comes with its zero point and bytes, and so is there in time.
        guard
            let (left, right) = graph.operandPairs(scales).first(where: { pair in
                graph.writer[pair.first] != nil && graph.writer[pair.first] == graph.writer[a]
                    && graph.constantShape(pair.second).map { $0.isEmpty || $0 == [1] || $0 == [shape[1]] } == true
            }), zeroA == nil || graph.writer[zeroA ?? a] == graph.writer[a],
            graph.maker(left, "DynamicQuantizeLinear") != nil,
            graph.constants[right]?.elementType == .float32,
            zeroB == nil || graph.constants[zeroB ?? b] != nil
        else { return }
        var made = PlanNode(
            name: node.name, op: OperatorName("MatMulIntegerToFloat", domain: "com.microsoft"), opset: 1,
            inputs: [a, b, left, right, zeroA, zeroB], outputs: scaled.outputs)
        var place = product.node
        if let result = scaled.outputs[0], let reader = graph.onlyReader(of: result),
            let sum = graph.nodes[reader.node], sum.op.isONNX("Add"), sum.opset >= 7, sum.inputs.count == 2,
            let bias = sum.inputs[1 - reader.input], graph.constantShape(bias) == [shape[1]],
            graph.constants[bias]?.elementType == .float32
        {
            made.inputs.append(bias)
            made.outputs = sum.outputs
            graph.nodes[product.node] = nil
            place = reader.node
        }
        graph.nodes[index] = nil
        graph.nodes[place] = made
        graph.refresh()
    }
}

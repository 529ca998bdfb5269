import GraftCore
import GraftIR

/// Operators between DequantizeLinear and QuantizeLinear work on the bytes themselves.
///
/// Given: `Quantize(Relu(Conv(Dequantize(x), Dequantize(W), b)))` with constant scales. Result: one QLinearConv. Where
/// nothing quantises the result, it is numbers. What only moves elements moves bytes; a function of single elements
/// becomes a table of 256 bytes, which the nodes that it replaces compute.
///
/// An integer kernel has exact sums and rounds once, half to even; the nodes that it replaces round sums to 24 bits too.
/// So a result differs by at most one step, and only where a number lies almost between two bytes.
///
/// The pass runs before constants are dequantised.
enum RecognizeQuantized: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        // Without such instructions the kernels of floating-point numbers are no slower.
        guard ByteNumbers.areExact else { return }
        for index in graph.nodes.indices {
            guard let node = graph.nodes[index] else { continue }
            if node.op.isONNX("MatMulInteger") {
                try DynamicProducts.fuse(index, node, &graph)
            } else if node.op.type != "DequantizeLinear", node.op.type != "QuantizeLinear" {
                try fuse(index, node, &graph, options)
            }
        }
        for index in graph.nodes.indices { try ByteTables.fuse(index, &graph, options) }
    }

    private static func fuse(
        _ index: Int, _ node: PlanNode, _ graph: inout PlanGraph, _ options: PlanOptions
    ) throws {
        guard node.op.canonicalDomain.isEmpty, let output = node.outputs.first ?? nil,
            node.outputs.dropFirst().allSatisfy({ $0 == nil })
        else { return }
        switch node.op.type {
        case "Conv": try convolution(index, node, output, &graph)
        case "MatMul", "Gemm": try product(index, node, output, &graph)
        case "Add", "Mul": try binary(index, node, output, &graph)
        case "AveragePool", "GlobalAveragePool", "Softmax": try contributed(index, node, output, &graph)
        case "Concat": try concatenation(index, node, output, &graph)
        case "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Expand",
            "Identity", "DepthToSpace", "SpaceToDepth":
            try movement(index, node, output, &graph, options)
        default: break
        }
    }

    // MARK: Operators

    private static func convolution(
        _ index: Int, _ node: PlanNode, _ output: Int, _ graph: inout PlanGraph
    ) throws {
        guard node.postOperations.isEmpty, let x = graph.bytes(node.inputs[0]), x.isPerTensor,
            let w = graph.bytes(node.inputs[1]), graph.constants[w.slot] != nil,
            let shape = graph.constantShape(w.slot), let channels = shape.first,
            graph.sumsFit(shape.dropFirst().reduce(1, *)), w.isPerTensor || w.scales == channels && w.axis == 0,
            node.inputs.count < 3 || graph.isNumbers(node.inputs[2], count: channels)
        else { return }
        let end = graph.quantizer(after: output)
        var made = PlanNode(
            name: node.name, op: OperatorName("QLinearConv", domain: graftDomain), opset: 1,
            attributes: node.attributes, inputs: graph.inputs(x) + graph.inputs(w),
            outputs: [end?.output ?? output])
        made.inputs += [end?.scale, end?.zeroPoint, node.inputs.count > 2 ? node.inputs[2] : nil]
        graph.replace(index, with: made, end)
    }

    private static func product(_ index: Int, _ node: PlanNode, _ output: Int, _ graph: inout PlanGraph) throws {
        let isGemm = node.op.type == "Gemm"
        let transB = isGemm && node.attributes.int("transB") ?? 0 != 0
        guard node.postOperations.isEmpty, let a = graph.bytes(node.inputs[0]), a.isPerTensor,
            let b = graph.bytes(node.inputs[1]),
            graph.sumsFit(node.inputs[0].flatMap { graph.types[$0]?.shape?.dimensions.last?.count }),
            !isGemm
                || node.attributes.float("alpha") ?? 1 == 1 && node.attributes.float("beta") ?? 1 == 1
                    && node.attributes.int("transA") ?? 0 == 0
        else { return }
        var made = PlanNode(
            name: node.name, op: OperatorName("QGemm", domain: graftDomain), opset: 1,
            inputs: graph.inputs(a) + graph.inputs(b) + [nil], outputs: [output])
        if let shape = graph.constantShape(b.slot) {
            guard shape.count == 2 || !isGemm && b.isPerTensor, graph.sumsFit(shape.dropLast(transB ? 0 : 1).last),
                b.isPerTensor || b.axis == (transB ? 0 : 1) && b.scales == shape[b.axis]
            else { return }
            if transB { made.attributes["transB"] = .int(1) }
            if isGemm, node.inputs.count > 2, let bias = node.inputs[2] {
                let columns = shape[transB ? 0 : 1]
                guard graph.isNumbers(bias, count: columns) else { return }
                made.inputs[6] = bias
            }
        } else {
            guard !isGemm, b.isPerTensor else { return }
        }
        var place = index
        if !isGemm, let columns = graph.constantShape(b.slot)?.last, let sum = addition(of: output, columns, graph) {
            made.inputs[6] = sum.bias
            made.outputs = [sum.result]
            graph.nodes[index] = nil
            place = sum.node
        }
        let end = graph.quantizer(after: made.outputs[0] ?? output)
        if let end { made.outputs = [end.output] }
        made.inputs += [end?.scale, end?.zeroPoint]
        graph.replace(place, with: made, end)
    }

    /// The node that adds a constant to each column of a product, and does nothing else with it.
    private static func addition(
        of output: Int, _ columns: Int, _ graph: PlanGraph
    ) -> (node: Int, bias: Int, result: Int)? {
        guard let reader = graph.onlyReader(of: output), let sum = graph.nodes[reader.node], sum.op.isONNX("Add"),
            sum.opset >= 7, sum.inputs.count == 2, let bias = sum.inputs[1 - reader.input],
            graph.isNumbers(bias, count: columns), let result = sum.outputs.first ?? nil
        else { return nil }
        return (reader.node, bias, result)
    }

    private static func binary(_ index: Int, _ node: PlanNode, _ output: Int, _ graph: inout PlanGraph) throws {
        guard node.opset >= 7, node.inputs.count == 2, let a = graph.bytes(node.inputs[0]), a.isPerTensor,
            let b = graph.bytes(node.inputs[1]), b.isPerTensor, a.type == b.type,
            let end = graph.quantizer(after: output, activations: false), end.type == a.type
        else { return }
        let made = PlanNode(
            name: node.name, op: OperatorName("QLinear\(node.op.type)", domain: "com.microsoft"), opset: 1,
            inputs: graph.inputs(a) + graph.inputs(b) + [end.scale, end.zeroPoint], outputs: [end.output])
        graph.replace(index, with: made, end)
    }

    /// Poolings and softmax, which have forms on bytes in com.microsoft.
    private static func contributed(
        _ index: Int, _ node: PlanNode, _ output: Int, _ graph: inout PlanGraph
    ) throws {
        guard let x = graph.bytes(node.inputs[0]), x.isPerTensor,
            let end = graph.quantizer(after: output, activations: false), end.type == x.type
        else { return }
        var made = PlanNode(
            name: node.name, op: OperatorName("QLinear\(node.op.type)", domain: "com.microsoft"), opset: 1,
            attributes: node.attributes, inputs: graph.inputs(x) + [end.scale, end.zeroPoint],
            outputs: [end.output])
        if node.op.type == "Softmax" { made.attributes["opset"] = .int(node.opset) }
        graph.replace(index, with: made, end)
    }

    private static func concatenation(
        _ index: Int, _ node: PlanNode, _ output: Int, _ graph: inout PlanGraph
    ) throws {
        let parts = node.inputs.compactMap { graph.bytes($0) }
        guard parts.count == node.inputs.count, !parts.isEmpty,
            let end = graph.quantizer(after: output, activations: false),
            parts.allSatisfy({ $0.isPerTensor && $0.type == end.type })
        else { return }
        var made = PlanNode(
            name: node.name, op: OperatorName("QLinearConcat", domain: "com.microsoft"), opset: 1,
            attributes: node.attributes, inputs: [end.scale, end.zeroPoint], outputs: [end.output])
        for part in parts { made.inputs += graph.inputs(part) }
        graph.replace(index, with: made, end)
    }

    /// What moves elements, or takes the greatest, moves bytes; a change of scale is left to a table.
    private static func movement(
        _ index: Int, _ node: PlanNode, _ output: Int, _ graph: inout PlanGraph, _ options: PlanOptions
    ) throws {
        guard let x = graph.bytes(node.inputs[0]), x.isPerTensor,
            let end = graph.quantizer(after: output, activations: false)
        else { return }
        var made = node
        if graph.isSame(x, end) {
            made.inputs[0] = x.slot
            made.outputs[0] = end.output
            graph.replace(index, with: made, end)
            return
        }
        let moved = graph.addSlot("\(graph.names[output])/bytes")
        guard let writer = graph.writer[node.inputs[0] ?? moved],
            let table = try ByteTables.table(
                x.type, [writer, end.node], graph, options), let old = graph.nodes[end.node]
        else { return }
        made.inputs[0] = x.slot
        made.outputs[0] = moved
        graph.nodes[index] = made
        graph.nodes[end.node] = try ByteTables.node(old, source: moved, table, &graph)
        graph.refresh()
    }
}

import COneDNN
import GraftCore
import GraftIR

/// What follows a convolution or matrix product element by element is done by its kernel.
///
/// Given: `Activation(Add(Conv(x, W, b), y))`. Result: one node that computes, adds and activates in one pass over
/// memory. The node takes the place of the last one, where everything that it reads is there.
enum FuseEpilogues: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        for index in graph.nodes.indices {
            var position = index
            while let next = fuseNext(position, &graph) { position = next }
        }
    }

    /// Fuses the next node into the one at an index; the index of the fused node, or nil.
    private static func fuseNext(_ index: Int, _ graph: inout PlanGraph) -> Int? {
        guard var node = graph.nodes[index],
            KernelRegistry.definition(node.op, opset: node.opset)?.fuses == true, node.postOperations.count < 4,
            let output = node.outputs.first ?? nil, let reader = graph.onlyReader(of: output),
            let next = graph.nodes[reader.node], let result = next.outputs.first ?? nil,
            graph.types[output]?.elementType.map({ [.float32, .float16, .bfloat16].contains($0) }) ?? true
        else { return nil }
        if let activation = activation(next, reader.input, graph) {
            node.postOperations.append(.activation(activation))
        } else if next.op.isONNX("Add"), next.opset >= 7, next.inputs.count == 2,
            let other = next.inputs[1 - reader.input]
        {
            if addBias(other, to: &node, graph) {
                // The bias is an input now.
            } else {
                let already = node.postOperations.contains { if case .add = $0 { true } else { false } }
                guard !already, graph.constants[other] == nil, sameShape(output, other, graph) else { return nil }
                // The other operand may itself be made by a kernel that fuses; the later of the two takes the sum.
                if let writer = graph.writer[other], writer > index, let rival = graph.nodes[writer],
                    KernelRegistry.definition(rival.op, opset: rival.opset)?.fuses == true,
                    graph.onlyReader(of: other) != nil
                {
                    return nil
                }
                while node.inputs.count < 3 { node.inputs.append(nil) }
                node.postOperations.append(.add(input: node.inputs.count))
                node.inputs.append(other)
            }
        } else {
            return nil
        }
        node.outputs[0] = result
        graph.nodes[index] = nil
        graph.nodes[reader.node] = node
        graph.refresh()
        return reader.node
    }

    /// Whether two values may have one shape; what the graph does not say is found when it runs.
    private static func sameShape(_ a: Int, _ b: Int, _ graph: PlanGraph) -> Bool {
        guard let x = graph.types[a]?.shape, let y = graph.types[b]?.shape else { return true }
        guard x.rank == y.rank else { return false }
        return zip(x.dimensions, y.dimensions).allSatisfy { $0.count == nil || $1.count == nil || $0.count == $1.count }
    }

    /// Makes a constant row the bias of a matrix product.
    private static func addBias(_ slot: Int, to node: inout PlanNode, _ graph: PlanGraph) -> Bool {
        guard node.op.isONNX("MatMul"), node.postOperations.isEmpty,
            let shape = graph.types[slot]?.shape?.counts ?? graph.constantShape(slot), let width = shape.last,
            shape.dropLast().allSatisfy({ $0 == 1 }), shape.count == 1,
            let weights = graph.types[node.inputs[1] ?? slot]?.shape?.counts ?? graph.constantShape(node.inputs[1]),
            weights.count >= 2, weights.last == width, width > 1
        else { return false }
        node.op = OperatorName("FusedMatMul", domain: graftDomain)
        node.opset = 1
        node.inputs.append(slot)
        return true
    }

    private static func activation(_ node: PlanNode, _ position: Int, _ graph: PlanGraph) -> Activation? {
        guard position == 0 else { return nil }
        if node.op.isONNX("Clip") {
            if node.opset < 11 {
                return Activation(
                    GDNN_CLIP, alpha: node.attributes.float("min") ?? -.greatestFiniteMagnitude,
                    beta: node.attributes.float("max") ?? .greatestFiniteMagnitude)
            }
            func bound(_ input: Int, _ otherwise: Float) -> Float? {
                guard node.inputs.count > input, node.inputs[input] != nil else { return otherwise }
                return graph.scalar(node.inputs[input])
            }
            guard let low = bound(1, -.greatestFiniteMagnitude), let high = bound(2, .greatestFiniteMagnitude) else {
                return nil
            }
            return Activation(GDNN_CLIP, alpha: low, beta: high)
        }
        guard node.inputs.count == 1 else { return nil }
        return try? ActivationKernels.activation(for: node.op, node.attributes, opset: node.opset)
    }
}

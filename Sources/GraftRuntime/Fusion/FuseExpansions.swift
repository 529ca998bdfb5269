import CNumerics
import COneDNN
import GraftCore
import GraftIR

/// A depthwise convolution computes the 1 by 1 convolution before it, part by part, so that the many channels between the
/// two, the largest tensors of MobileNetV2 and EfficientNet, never reach the main memory.
///
/// Given: `Conv(Activation(Conv(x, W, b)), Wd, bd)` with constant weights, `W` of 1 by 1 and `Wd` with a filter for each
/// channel. Result: `ExpandedDepthwise(x, W, b, Wd, bd)`.
enum FuseExpansions: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        guard cdepthwise_is_available() != 0 else { return }
        for index in graph.nodes.indices {
            guard let expansion = graph.nodes[index], isExpansion(expansion, graph),
                let output = expansion.outputs.first ?? nil, let reader = graph.onlyReader(of: output),
                reader.input == 0, var node = graph.nodes[reader.node],
                isDepthwise(node, channels: graph.constantShape(expansion.inputs[1])?[0], graph)
            else { continue }
            func input(_ node: PlanNode, _ position: Int) -> Int? {
                node.inputs.count > position ? node.inputs[position] : nil
            }
            node.op = OperatorName("ExpandedDepthwise", domain: graftDomain)
            node.opset = 1
            node.inputs =
                [expansion.inputs[0]] + [input(expansion, 1), input(expansion, 2), input(node, 1), input(node, 2)]
            if case .activation(let activation)? = expansion.postOperations.first {
                node.attributes["expansion"] = .int(Int64(activation.algorithm.rawValue))
                node.attributes["alpha"] = .float(activation.alpha)
                node.attributes["beta"] = .float(activation.beta)
            }
            graph.nodes[index] = nil
            graph.nodes[reader.node] = node
            graph.refresh()
        }
    }

    private static func isExpansion(_ node: PlanNode, _ graph: PlanGraph) -> Bool {
        guard node.op.isONNX("Conv"), hasConstants(node, graph), let shape = graph.constantShape(node.inputs[1]),
            shape.count == 4, shape[2...] == [1, 1], node.attributes.int("group") ?? 1 == 1, shape[1] > 4,
            (node.attributes.ints("strides") ?? []).allSatisfy({ $0 == 1 }),
            (node.attributes.ints("pads") ?? []).allSatisfy({ $0 == 0 })
        else { return false }
        return hasKnownFunction(node)
    }

    private static func isDepthwise(_ node: PlanNode, channels: Int?, _ graph: PlanGraph) -> Bool {
        guard node.op.isONNX("Conv"), hasConstants(node, graph), let shape = graph.constantShape(node.inputs[1]),
            shape.count == 4, shape[0] == channels, shape[1] == 1, node.attributes.int("group") == channels,
            DepthwiseConvolution.suits(Array(shape[2...])),
            [nil, [1, 1], [2, 2]].contains(node.attributes.ints("strides")),
            (node.attributes.ints("dilations") ?? []).allSatisfy({ $0 == 1 }),
            (node.attributes.ints("pads") ?? []).allSatisfy({ (0..<shape[2]).contains($0) })
        else { return false }
        return hasKnownFunction(node)
    }

    /// Whether a node applies nothing to its result, or one function that a depthwise convolution knows.
    private static func hasKnownFunction(_ node: PlanNode) -> Bool {
        guard let operation = node.postOperations.first else { return true }
        if case .activation(let activation) = operation, node.postOperations.count == 1 {
            return activation.ofDepthwise != nil
        }
        return false
    }

    /// Whether weights and bias are constants of 32-bit floating-point numbers.
    private static func hasConstants(_ node: PlanNode, _ graph: PlanGraph) -> Bool {
        node.inputs.count >= 2 && node.inputs[0] != nil
            && node.inputs.indices.dropFirst().allSatisfy { position in
                guard let slot = node.inputs[position] else { return position > 1 }
                guard case .tensor(let tensor)? = graph.constants[slot] else { return false }
                return tensor.elementType == .float32
            }
    }
}

import COneDNN
import GraftCore
import GraftIR

/// Between convolutions in bfloat16 the numbers flow in 16 bits: half the memory, and no reader has to round them.
///
/// Results of convolutions that flow in blocks of channels are marked where every reader takes rounded ones: a convolution
/// that rounds its input anyhow, a mean, or a kernel that passes blocks on to such readers. Results of the plan and what
/// other kernels read stay as they are.
enum RoundBlocks: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        guard options.allowsBF16, gdnn_has_bf16() != 0 else { return }
        var passes: Set<Int> = []
        for index in graph.nodes.indices.reversed() {
            guard let node = graph.nodes[index], let output = node.outputs.first ?? nil,
                node.outputs.dropFirst().allSatisfy({ $0 == nil }), !graph.results.contains(output),
                graph.readers[output].allSatisfy({ passes.contains($0) || takesRounded($0, output, graph) })
            else { continue }
            switch node.op.type {
            case "Conv" where node.prefersBlocks, "ExpandedDepthwise": graph.nodes[index]?.roundsBlocks = true
            // They keep the form of their input.
            case "MaxPool", "AveragePool", "Add", "Mul": passes.insert(index)
            default: break
            }
        }
    }

    private static func takesRounded(_ index: Int, _ slot: Int, _ graph: PlanGraph) -> Bool {
        guard let node = graph.nodes[index] else { return false }
        switch node.op.type {
        case "Conv":
            guard node.prefersBlocks, let weights = graph.constantShape(node.inputs[1]) else { return false }
            // What is added to a result is rounded where the result is.
            let isAdded = node.inputs.dropFirst().contains(slot)
            return isAdded ? node.roundsBlocks : weights.count == 4
        case "ExpandedDepthwise": return true
        case "GlobalAveragePool": return true
        default: return false
        }
    }
}

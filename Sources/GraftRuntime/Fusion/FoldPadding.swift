import GraftCore
import GraftIR

/// A Pad with zeros in front of a convolution becomes the convolution's own padding.
///
/// Given: `Conv(Pad(x, constant 0))`. Result: `Conv(x)` with larger pads.
enum FoldPadding: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        for index in graph.nodes.indices {
            guard let pad = graph.nodes[index], pad.op.isONNX("Pad"), let output = pad.outputs.first ?? nil,
                let reader = graph.onlyReader(of: output), reader.input == 0, var conv = graph.nodes[reader.node],
                conv.op.isONNX("Conv"), pad.attributes.string("mode") ?? "constant" == "constant",
                let pads = pads(of: pad, in: graph), pads.count >= 6, pads.allSatisfy({ $0 >= 0 })
            else { continue }
            let rank = pads.count / 2
            guard pads[0] == 0, pads[1] == 0, pads[rank] == 0, pads[rank + 1] == 0 else { continue }
            let padding = conv.attributes.string("auto_pad") ?? "NOTSET"
            guard padding == "NOTSET" || padding == "VALID" || padding.isEmpty else { continue }
            let spatial = rank - 2
            let own =
                padding == "VALID" ? nil : conv.attributes.ints("pads")
            let old = own ?? Array(repeating: 0, count: 2 * spatial)
            guard old.count == 2 * spatial else { continue }
            let sum = (0..<spatial).map { old[$0] + pads[$0 + 2] }
            let tail = (0..<spatial).map { old[$0 + spatial] + pads[$0 + 2 + rank] }
            conv.attributes["auto_pad"] = nil
            conv.attributes["pads"] = .ints(sum + tail)
            conv.inputs[0] = pad.inputs[0]
            graph.nodes[reader.node] = conv
            graph.nodes[index] = nil
        }
    }

    /// The pads of all axes, where they are known and the fill is zero.
    private static func pads(of pad: PlanNode, in graph: PlanGraph) -> [Int]? {
        if pad.opset < 11 {
            guard pad.attributes.float("value") ?? 0 == 0 else { return nil }
            return pad.attributes.ints("pads") ?? pad.attributes.ints("paddings")
        }
        if pad.inputs.count > 2, pad.inputs[2] != nil, graph.scalar(pad.inputs[2]) != 0 { return nil }
        if pad.inputs.count > 3, pad.inputs[3] != nil { return nil }
        return pad.inputs.count > 1 ? graph.integers(pad.inputs[1]) : nil
    }
}

extension PlanGraph {
    /// The integers of a slot's constant.
    package func integers(_ slot: Int?) -> [Int]? {
        guard let slot, case .tensor(let tensor)? = constants[slot], tensor.elementType == .int64 else { return nil }
        let raw = UnsafeRawPointer(tensor.pointer)
        return (0..<tensor.count).map { Int(raw.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self)) }
    }
}

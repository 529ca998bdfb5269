import GraftIR

/// Nodes that compute across an axis keep samples apart only where that axis is not the batch.
extension BatchWalk {
    /// Refuses a node that would compute one sample from others.
    ///
    /// Sums and means over the batch are not among them: what they give may be meant for all samples, and a run shows
    /// whether it is.
    func checkMixing(_ id: NodeID) throws {
        let node = graph[id]
        guard node.op.canonicalDomain.isEmpty, let x = node.inputs.first.flatMap({ $0 }),
            let rank = types.shape(of: x)?.rank, rank > 0
        else { return }
        let reader = AttributeReader(node)
        /// Refuses a batch in some axes of an input.
        func keepOut(_ axes: some Sequence<Int>, of input: Int = 0, _ what: String) throws {
            guard node.inputs.indices.contains(input), let value = node.inputs[input],
                let extents = types.shape(of: value)?.extents
            else { return }
            for axis in axes where extents.indices.contains(axis) && isBatched(extents[axis]) {
                throw refusal(
                    id, "it computes across axis \(axis) of \"\(graph[value].name)\", \(what), where the samples are")
            }
        }
        func axis(default value: Int) throws -> Int {
            let given = try reader.int("axis", default: value)
            return given < 0 ? given + rank : given
        }
        switch node.op.type {
        case "Softmax", "LogSoftmax", "Hardmax":
            let first = try axis(default: opset < 13 ? 1 : -1)
            try keepOut(opset < 13 ? first..<rank : first..<first + 1, "which it normalizes")
        case "LayerNormalization", "RMSNormalization":
            try keepOut(try axis(default: -1)..<rank, "which it normalizes")
        case "MatMul":
            try keepOut(rank - 1..<rank, "which it sums over")
            guard node.inputs.count > 1, let y = node.inputs[1], let other = types.shape(of: y)?.rank else { return }
            try keepOut([max(0, other - 2)], of: 1, "which it sums over")
        case "Gemm":
            try keepOut([try reader.flag("transA") ? 0 : 1], "which it sums over")
            try keepOut([try reader.flag("transB") ? 1 : 0], of: 1, "which it sums over")
        case "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool",
            "InstanceNormalization", "GroupNormalization", "BatchNormalization", "LRN":
            try keepOut(1..<max(rank, 1), "a channel or a place")
        case "LSTM", "GRU", "RNN":
            try keepOut([try reader.int("layout", default: 0) == 1 ? 1 : 0, 2], "time or features")
        default: break
        }
    }
}

import GraftIR

/// What follows a convolution and scales or shifts its channels by constants becomes part of its weights and bias.
///
/// Given: `BatchNormalization(Conv(x, W, b))`, `Mul(Conv(x, W, b), s)` or `Add(Conv(x, W, b), s)` with constants, `s`
/// of one number for each channel or one for all. Result: `Conv(x, W', b')`.
enum FoldChannelScale: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        for index in graph.nodes.indices {
            // A chain (normalization, then addition) folds from the front.
            while try foldNext(into: index, &graph) {}
        }
    }

    private static func foldNext(into index: Int, _ graph: inout PlanGraph) throws -> Bool {
        guard var conv = graph.nodes[index], conv.op.isONNX("Conv") || conv.op.isONNX("ConvTranspose"),
            conv.postOperations.isEmpty, conv.inputs.count >= 2, let output = conv.outputs.first ?? nil,
            let reader = graph.onlyReader(of: output), let next = graph.nodes[reader.node],
            let weights = graph.floats(conv.inputs[1]), let shape = graph.constantShape(conv.inputs[1]),
            shape.count >= 3, let result = next.outputs.first ?? nil,
            next.outputs.dropFirst().allSatisfy({ $0 == nil })
        else { return false }
        let isTransposed = conv.op.type == "ConvTranspose"
        let group = conv.attributes.int("group") ?? 1
        let channels = isTransposed ? shape[1] * group : shape[0]
        var bias = [Float](repeating: 0, count: channels)
        let hasBias = conv.inputs.count > 2 && conv.inputs[2] != nil
        if hasBias {
            guard let stored = graph.floats(conv.inputs[2]), stored.count == channels else { return false }
            bias = stored
        }
        guard let (scale, shift) = affine(next, reader.input, channels, rank: shape.count, graph) else { return false }

        var newWeights = weights
        if scale.contains(where: { $0 != 1 }) {
            let kernel = shape[2...].reduce(1, *)
            let inner = isTransposed ? kernel : shape[1] * kernel
            for position in newWeights.indices {
                let channel: Int
                if isTransposed {
                    let row = position / (shape[1] * kernel)
                    channel = row / (shape[0] / group) * shape[1] + position / kernel % shape[1]
                } else {
                    channel = position / inner
                }
                newWeights[position] *= scale[channel]
            }
            conv.inputs[1] = try graph.addConstant("\(conv.name)/weights", newWeights, shape: shape)
        }
        let newBias = zip(bias, zip(scale, shift)).map { $0 * $1.0 + $1.1 }
        let slot = try graph.addConstant("\(conv.name)/bias", newBias, shape: [channels])
        if conv.inputs.count > 2 { conv.inputs[2] = slot } else { conv.inputs.append(slot) }
        conv.outputs[0] = result
        graph.nodes[index] = conv
        graph.nodes[reader.node] = nil
        graph.refresh()
        return true
    }

    /// The factor and the addend of each channel that a node applies to its input, where it does nothing else.
    private static func affine(
        _ node: PlanNode, _ position: Int, _ channels: Int, rank: Int, _ graph: PlanGraph
    ) -> ([Float], [Float])? {
        let ones = [Float](repeating: 1, count: channels)
        let zeros = [Float](repeating: 0, count: channels)
        if node.op.isONNX("BatchNormalization") {
            guard position == 0, node.inputs.count >= 5, node.attributes.int("training_mode") ?? 0 == 0,
                let scale = graph.floats(node.inputs[1]), let shift = graph.floats(node.inputs[2]),
                let mean = graph.floats(node.inputs[3]), let variance = graph.floats(node.inputs[4]),
                [scale, shift, mean, variance].allSatisfy({ $0.count == channels })
            else { return nil }
            let epsilon = node.attributes.float("epsilon") ?? 1e-5
            let factor = zip(scale, variance).map { $0 / ($1 + epsilon).squareRoot() }
            return (factor, zip(shift, zip(mean, factor)).map { $0 - $1.0 * $1.1 })
        }
        guard node.inputs.count == 2, node.opset >= 7, node.op.canonicalDomain.isEmpty,
            let values = graph.floats(node.inputs[1 - position]),
            let shape = graph.constantShape(node.inputs[1 - position])
        else { return nil }
        // (1, C, 1, ...) or (C, 1, ...), or one number that does not add axes.
        let perChannel =
            shape == [channels] + Array(repeating: 1, count: rank - 2)
            || shape == [1, channels] + Array(repeating: 1, count: rank - 2)
        guard perChannel || (values.count == 1 && shape.count <= rank) else { return nil }
        let spread = values.count == 1 ? [Float](repeating: values[0], count: channels) : values
        switch node.op.type {
        case "Mul": return (spread, zeros)
        case "Add": return (ones, spread)
        case "Sub" where position == 0: return (ones, spread.map { -$0 })
        case "Div" where position == 0 && spread.allSatisfy({ $0 != 0 }): return (spread.map { 1 / $0 }, zeros)
        default: return nil
        }
    }
}

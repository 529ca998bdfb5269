import GraftCore
import GraftIR
import OrderedCollections

/// Pooling nodes as pooling layers.
enum PoolingOperators: RaisingFamily {
    static let operators = ["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean"]

    static func raise(_ id: NodeID, _ raiser: inout LayerRaiser) throws {
        let node = raiser.graph[id]
        switch node.op.type {
        case "GlobalAveragePool", "GlobalMaxPool": try global(id, node, &raiser, keepsAxes: true)
        case "ReduceMean":
            let axes = node.attributes.ints("axes") ?? raiser.integers(id, 1) ?? []
            let input = try raiser.input(id)
            guard input.shape.count == 4,
                axes.map({ $0 < 0 ? $0 + 4 : $0 }).compactMap({ input.kerasAxis($0) }).sorted() == [1, 2]
            else { throw raiser.failure(id, "only the mean over the height and width of images is covered") }
            try global(id, node, &raiser, keepsAxes: node.attributes.int("keepdims") ?? 1 == 1)
        default: try window(id, node, &raiser)
        }
    }

    private static func global(
        _ id: NodeID, _ node: Node, _ raiser: inout LayerRaiser, keepsAxes: Bool
    ) throws {
        let input = try raiser.image(id)
        var last = id
        var keepsAxes = keepsAxes
        if keepsAxes, let next = flattening(id, raiser) {
            raiser.take(next)
            last = next
            keepsAxes = false
        }
        let channels = input.shape[3]
        let result = raiser.add(
            node.op.type == "GlobalMaxPool" ? "GlobalMaxPooling2D" : "GlobalAveragePooling2D",
            ["data_format": "channels_last", "keepdims": JSON(keepsAxes)], [input],
            shape: keepsAxes ? [input.shape[0], 1, 1, channels] : [input.shape[0], channels],
            layout: keepsAxes ? .channelsFirst : .plain, for: id)
        raiser.define(last, as: result)
    }

    /// The node that alone reads the pooled image and takes its two axes away.
    private static func flattening(_ id: NodeID, _ raiser: LayerRaiser) -> NodeID? {
        let graph = raiser.graph
        guard let output = graph[id].outputs.first, let output, graph[output].uses.count == 1,
            case .node(let next, 0) = graph[output].uses[0]
        else { return nil }
        switch graph[next].op.type {
        case "Flatten": return graph[next].attributes.int("axis") ?? 1 == 1 ? next : nil
        case "Squeeze":
            let axes = graph[next].attributes.ints("axes") ?? raiser.integers(next, 1) ?? []
            return axes.map { $0 < 0 ? $0 + 4 : $0 }.sorted() == [2, 3] ? next : nil
        case "Reshape":
            let target = raiser.integers(next, 1) ?? []
            return target.count == 2 && (target[1] == -1 || target[0] == 0 || target[0] == -1) ? next : nil
        default: return nil
        }
    }

    private static func window(_ id: NodeID, _ node: Node, _ raiser: inout LayerRaiser) throws {
        let attributes = node.attributes
        let input = try raiser.image(id)
        let frame = try Frame(attributes, kernel: attributes.ints("kernel_shape") ?? [], id, raiser)
        let isMaximum = node.op.type == "MaxPool"
        guard frame.dilations == [1, 1], node.outputs.dropFirst().allSatisfy({ $0 == nil }) else {
            throw raiser.failure(id, "it has a dilation or gives indices")
        }
        if attributes.int("ceil_mode") ?? 0 == 1 {
            let fits = (0..<2).allSatisfy { axis in
                input.shape[1 + axis].map {
                    ($0 + frame.pads[axis] + frame.pads[axis + 2] - frame.kernel[axis]) % frame.strides[axis] == 0
                } ?? false
            }
            guard fits else { throw raiser.failure(id, "ceil_mode has no form in Keras") }
        }
        let countsPadding = !isMaximum && attributes.int("count_include_pad") ?? 0 == 1
        let isPadded = frame.pads != [0, 0, 0, 0]
        // Zeros are as good as nothing to a maximum of numbers that are not negative.
        let filler =
            countsPadding || isMaximum && isNotNegative(node.inputs[0], raiser)
            ? "zero" : "its padding has no form in Keras (\(frame.pads))"
        let padded: RaisedTensor
        let padding: String
        if countsPadding && isPadded && frame.isSame(for: input) {
            // Keras leaves padding out of the mean, so it is put there by a layer of its own.
            throw raiser.failure(id, "count_include_pad with the padding \"same\" has no form in Keras")
        } else {
            (padded, padding) = try frame.apply(to: input, id, &raiser, filler: filler)
        }
        let extents = frame.extents(of: padded, padding: padding)
        let result = raiser.add(
            isMaximum ? "MaxPooling2D" : "AveragePooling2D",
            [
                "pool_size": JSON(frame.kernel), "strides": JSON(frame.strides), "padding": JSON(padding),
                "data_format": "channels_last",
            ], [padded], shape: [input.shape[0], extents[0], extents[1], input.shape[3]], layout: .channelsFirst,
            for: id)
        raiser.define(id, as: result)
    }

    private static func isNotNegative(_ value: ValueID?, _ raiser: LayerRaiser) -> Bool {
        guard let value, let producer = raiser.graph[value].producer else { return false }
        let node = raiser.graph[producer]
        switch node.op.type {
        case "Relu", "Sigmoid", "Softmax", "Exp", "Softplus", "HardSigmoid": return true
        case "MaxPool", "AveragePool", "GlobalAveragePool": return isNotNegative(node.inputs.first ?? nil, raiser)
        case "Clip": return (raiser.floats(producer, 1)?.first ?? node.attributes.float("min") ?? -1) >= 0
        case "Concat", "Add", "Mul": return node.inputs.allSatisfy { isNotNegative($0, raiser) }
        default: return false
        }
    }
}

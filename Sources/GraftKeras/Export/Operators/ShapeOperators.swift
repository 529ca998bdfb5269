import GraftCore
import GraftIR
import OrderedCollections

/// Flatten, Reshape, Squeeze, Unsqueeze and Transpose as Flatten, Reshape and Permute, or as nothing.
enum ShapeOperators: RaisingFamily {
    static let operators = ["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Constant"]

    static func raise(_ id: NodeID, _ raiser: inout LayerRaiser) throws {
        let node = raiser.graph[id]
        switch node.op.type {
        case "Constant": return
        case "Flatten":
            guard node.attributes.int("axis") ?? 1 == 1 else { throw raiser.failure(id, "its axis is not 1") }
            raiser.define(id, as: flatten(id, try raiser.input(id), &raiser))
        case "Reshape": try reshape(id, &raiser)
        case "Squeeze", "Unsqueeze": try changeRank(id, node, &raiser)
        default: try transpose(id, node, &raiser)
        }
    }

    private static func flatten(_ id: NodeID, _ input: RaisedTensor, _ raiser: inout LayerRaiser) -> RaisedTensor {
        guard input.shape.count != 2 else { return input }
        let extents = input.shape.dropFirst()
        let features = extents.allSatisfy { $0 != nil } ? Checked.product(extents.map { $0! }) : nil
        var layout = TensorLayout.plain
        if input.layout == .channelsFirst, let height = input.shape[1], let width = input.shape[2],
            let channels = input.shape[3], height * width != 1, channels != 1
        {
            layout = .flattened(height: height, width: width, channels: channels)
        }
        return raiser.add(
            "Flatten", ["data_format": "channels_last"], [input], shape: [input.shape[0], features], layout: layout,
            for: id)
    }

    private static func reshape(_ id: NodeID, _ raiser: inout LayerRaiser) throws {
        guard var target = raiser.integers(id, 1), !target.isEmpty else {
            throw raiser.failure(id, "its shape is computed; fix the input's shape and fold constants first")
        }
        let input = try raiser.input(id)
        if let last = backToKerasOrder(id, input, raiser) {
            var whole = input
            whole.layout = .plain
            for node in last { raiser.take(node) }
            raiser.define(last[last.count - 1], as: whole)
            return
        }
        let stored = input.storedShape
        for index in target.indices where target[index] == 0 && index < stored.count {
            target[index] = stored[index] ?? (index == 0 ? 0 : -1)
        }
        // The batch must stay: it is copied, or the only thing left over.
        let rest = stored.dropFirst().map { $0 }
        let count = rest.allSatisfy { $0 != nil } ? Checked.product(rest.map { $0! }) : nil
        let fixed = target.dropFirst().filter { $0 >= 0 }
        let holes = target.dropFirst().filter { $0 < 0 }.count
        let product = Checked.product(fixed) ?? 0
        guard holes <= 1, let count, product > 0, holes == 0 ? product == count : count % product == 0,
            target[0] == 0 || target[0] == -1 || target[0] == stored[0]
                || (stored[0] == nil && target[0] == 1 && holes == 0)
        else { throw raiser.failure(id, "its shape \(target) does not keep the batch") }
        let extents = target.dropFirst().map { $0 < 0 ? count / product : $0 }
        if extents.count == 1 {
            raiser.define(id, as: flatten(id, input, &raiser))
            return
        }
        let isSameOrder =
            input.layout == .channelsFirst
            && (input.shape[1] == 1 && input.shape[2] == 1 || input.shape[3] == 1)
        let source = isSameOrder ? input : try raiser.convert(input, to: .plain)
        // Features as an image of one position.
        if extents.count == 3, extents[1] == 1, extents[2] == 1 {
            let shape = [input.shape[0], 1, 1, extents[0]]
            let result = raiser.add(
                "Reshape", ["target_shape": JSON([1, 1, extents[0]])], [source], shape: shape, layout: .channelsFirst,
                for: id)
            raiser.define(id, as: result)
            return
        }
        let result = raiser.add(
            "Reshape", ["target_shape": JSON(extents)], [source], shape: [input.shape[0]] + extents.map { $0 },
            layout: .plain, for: id)
        raiser.define(id, as: result)
    }

    /// The nodes by which flattened features get the order that they have in Keras: to an image, channels last, and flat.
    private static func backToKerasOrder(_ id: NodeID, _ input: RaisedTensor, _ raiser: LayerRaiser) -> [NodeID]? {
        let graph = raiser.graph
        guard case .flattened(let height, let width, let channels) = input.layout,
            raiser.integers(id, 1).map({ Array($0.dropFirst()) }) == [channels, height, width],
            let transpose = onlyReader(of: id, graph), graph[transpose].op.isONNX("Transpose"),
            graph[transpose].attributes.ints("perm") == [0, 2, 3, 1],
            let flat = onlyReader(of: transpose, graph), graph[flat].op.isONNX("Reshape"),
            raiser.integers(flat, 1)?.count == 2
        else { return nil }
        return [transpose, flat]
    }

    private static func onlyReader(of id: NodeID, _ graph: Graph) -> NodeID? {
        guard let output = graph[id].outputs.first, let output, graph[output].uses.count == 1,
            case .node(let reader, 0) = graph[output].uses[0]
        else { return nil }
        return reader
    }

    private static func changeRank(_ id: NodeID, _ node: Node, _ raiser: inout LayerRaiser) throws {
        let input = try raiser.input(id)
        guard let axes = node.attributes.ints("axes") ?? raiser.integers(id, 1) else {
            throw raiser.failure(id, "its axes are not known")
        }
        let stored = input.storedShape
        var extents = stored
        if node.op.type == "Squeeze" {
            let positive = Set(axes.map { $0 < 0 ? $0 + stored.count : $0 })
            guard !positive.contains(0), positive.allSatisfy({ stored.indices.contains($0) && stored[$0] == 1 }) else {
                throw raiser.failure(id, "it takes away the batch or an axis that is not 1")
            }
            extents = stored.indices.filter { !positive.contains($0) }.map { stored[$0] }
        } else {
            let rank = stored.count + axes.count
            for axis in axes.map({ $0 < 0 ? $0 + rank : $0 }).sorted() {
                guard axis > 0, axis <= extents.count else { throw raiser.failure(id, "it moves the batch") }
                extents.insert(1, at: axis)
            }
        }
        guard extents.dropFirst().allSatisfy({ $0 != nil }) else {
            throw raiser.failure(id, "the extents of its result are not known")
        }
        let target = extents.dropFirst().map { $0! }
        let isSameOrder = input.layout == .channelsFirst && input.shape[1] == 1 && input.shape[2] == 1
        let source = isSameOrder ? input : try raiser.convert(input, to: .plain)
        if target.count == 3, target[1] == 1, target[2] == 1 {
            let result = raiser.add(
                "Reshape", ["target_shape": JSON([1, 1, target[0]])], [source],
                shape: [input.shape[0], 1, 1, target[0]], layout: .channelsFirst, for: id)
            raiser.define(id, as: result)
            return
        }
        let result = raiser.add(
            "Reshape", ["target_shape": JSON(target)], [source], shape: [input.shape[0]] + target.map { $0 },
            layout: .plain, for: id)
        raiser.define(id, as: result)
    }

    private static func transpose(_ id: NodeID, _ node: Node, _ raiser: inout LayerRaiser) throws {
        var input = try raiser.input(id)
        let rank = input.shape.count
        let axes = node.attributes.ints("perm") ?? Array((0..<rank).reversed())
        guard axes.sorted() == Array(0..<rank), axes.first == 0 else { throw raiser.failure(id, "it moves the batch") }
        if axes == Array(0..<rank) {
            raiser.define(id, as: input)
        } else if axes == [0, 3, 1, 2], input.layout == .plain {
            // The same tensor of Keras, seen with its channels first.
            input.layout = .channelsFirst
            raiser.define(id, as: input)
        } else if axes == [0, 2, 3, 1], input.layout == .channelsFirst {
            input.layout = .plain
            raiser.define(id, as: input)
        } else {
            let source = try raiser.convert(input, to: .plain)
            let shape = axes.map { source.shape[$0] }
            let result = raiser.add(
                "Permute", ["dims": JSON(Array(axes.dropFirst()))], [source], shape: shape, layout: .plain, for: id)
            raiser.define(id, as: result)
        }
    }
}

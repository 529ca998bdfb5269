import GraftCore
import GraftIR
import OrderedCollections

/// Arithmetic of two tensors as merging layers, and of a tensor and constants as Rescaling.
enum ArithmeticOperators: RaisingFamily {
    static let operators = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Concat"]

    private static let classes = [
        "Add": "Add", "Sum": "Add", "Sub": "Subtract", "Mul": "Multiply", "Max": "Maximum", "Min": "Minimum",
    ]

    static func raise(_ id: NodeID, _ raiser: inout LayerRaiser) throws {
        let node = raiser.graph[id]
        if node.op.type == "Concat" {
            try concatenate(id, node, &raiser)
            return
        }
        let constants = node.inputs.indices.filter { raiser.constant(id, $0) != nil }
        if let position = constants.first {
            guard constants.count == 1, node.inputs.count == 2 else {
                throw raiser.failure(id, "it computes constants; fold them first")
            }
            try rescale(id, node, constant: position, &raiser)
            return
        }
        guard let className = classes[node.op.type] else {
            throw raiser.failure(id, "Keras has no layer that divides tensors")
        }
        let parts = try aligned(id, node, &raiser)
        var shape = parts[0].shape
        for part in parts.dropFirst() {
            for axis in shape.indices { shape[axis] = shape[axis] == 1 ? part.shape[axis] : shape[axis] }
        }
        let result = raiser.add(className, [:], parts, shape: shape, layout: parts[0].layout, for: id)
        raiser.define(id, as: result)
    }

    /// The inputs in one layout and of one rank.
    private static func aligned(_ id: NodeID, _ node: Node, _ raiser: inout LayerRaiser) throws -> [RaisedTensor] {
        var parts: [RaisedTensor] = []
        for index in node.inputs.indices { parts.append(try raiser.input(id, index)) }
        guard let first = parts.first, parts.allSatisfy({ $0.shape.count == first.shape.count }) else {
            throw raiser.failure(id, "its inputs have different ranks")
        }
        if Set(parts.map(\.layout)).count > 1 {
            let layout = first.shape.count == 4 ? TensorLayout.channelsFirst : .plain
            for index in parts.indices { parts[index] = try raiser.convert(parts[index], to: layout) }
        }
        return parts
    }

    private static func rescale(_ id: NodeID, _ node: Node, constant: Int, _ raiser: inout LayerRaiser) throws {
        guard var values = raiser.floats(id, constant), let tensor = raiser.constant(id, constant) else {
            throw raiser.failure(id, "its constant is not of type float")
        }
        var input = try raiser.input(id, 1 - constant)
        if values.count > 1 {
            if case .flattened = input.layout { input = try raiser.convert(input, to: .plain) }
            // One number for each channel, which is the last axis in Keras.
            let rank = input.shape.count
            let padded = [Int](repeating: 1, count: max(rank - tensor.shape.count, 0)) + tensor.shape
            guard padded.count == rank, let axis = padded.firstIndex(where: { $0 != 1 }),
                padded.filter({ $0 != 1 }).count == 1, input.kerasAxis(axis) == rank - 1
            else { throw raiser.failure(id, "its constant of shape \(tensor.shape) is not one number a channel") }
        }
        let isFirst = constant == 0
        var scale: [Float] = [1]
        var offset: [Float] = [0]
        switch node.op.type {
        case "Add": offset = values
        case "Mul": scale = values
        case "Sub":
            offset = isFirst ? values : values.map { -$0 }
            if isFirst { scale = [-1] }
        case "Div" where !isFirst:
            values = values.map { 1 / $0 }
            scale = values
        default: throw raiser.failure(id, "Keras has no layer for it with a constant")
        }
        func json(_ values: [Float]) -> JSON { values.count == 1 ? JSON(values[0]) : JSON(values.map { JSON($0) }) }
        let result = raiser.add(
            "Rescaling", ["scale": json(scale), "offset": json(offset)], [input], shape: input.shape,
            layout: input.layout, for: id)
        raiser.define(id, as: result)
    }

    private static func concatenate(_ id: NodeID, _ node: Node, _ raiser: inout LayerRaiser) throws {
        if node.inputs.contains(where: { $0.map { raiser.constant($0) != nil } ?? false }) {
            throw raiser.failure(id, "one of its inputs is a constant")
        }
        var parts = try aligned(id, node, &raiser)
        if case .flattened = parts[0].layout { parts = try parts.map { try raiser.convert($0, to: .plain) } }
        guard let axis = parts[0].kerasAxis(node.attributes.int("axis") ?? 1), axis > 0 else {
            throw raiser.failure(id, "it joins along the batch")
        }
        var shape = parts[0].shape
        let extents = parts.map { $0.shape[axis] }
        shape[axis] = extents.allSatisfy { $0 != nil } ? extents.reduce(0) { $0 + $1! } : nil
        if parts.count == 1 {
            raiser.define(id, as: parts[0])
            return
        }
        let isLast = axis == shape.count - 1
        let result = raiser.add(
            "Concatenate", ["axis": isLast ? -1 : JSON(axis)], parts, shape: shape, layout: parts[0].layout, for: id)
        raiser.define(id, as: result)
    }
}

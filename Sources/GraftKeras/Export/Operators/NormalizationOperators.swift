import GraftCore
import GraftIR
import OrderedCollections

/// BatchNormalization as the layer of that name.
enum NormalizationOperators: RaisingFamily {
    static let operators = ["BatchNormalization"]

    static func raise(_ id: NodeID, _ raiser: inout LayerRaiser) throws {
        let attributes = raiser.graph[id].attributes
        guard attributes.int("training_mode") ?? 0 == 0 else {
            throw raiser.failure(id, "it is in training mode; switch it to inference first")
        }
        var input = try raiser.input(id)
        if input.shape.count == 4 { input = try raiser.convert(input, to: .channelsFirst) }
        guard input.shape.count == 2 || input.shape.count == 4, let channels = input.shape.last, let channels else {
            throw raiser.failure(id, "its input is neither features nor images")
        }
        var layout = WeightLayout.identity([channels])
        if case .flattened(let height, let width, let depth) = input.layout {
            layout = WeightLayout(
                view: [height, width, depth], permutation: [2, 0, 1], shape: [channels], kerasShape: [channels])
        }
        var weights: [RaisedLayer.Weight] = []
        for (index, leaf) in ["gamma", "beta", "moving_mean", "moving_variance"].enumerated() {
            guard let tensor = raiser.constant(id, index + 1), tensor.shape == [channels],
                tensor.elementType == .float32
            else { throw raiser.failure(id, "its \(leaf) is not a stored float vector") }
            weights.append(
                RaisedLayer.Weight(
                    leaf: leaf, tensor: try layout.invert(tensor), value: raiser.graph[id].inputs[index + 1]))
        }
        let result = raiser.add(
            "BatchNormalization",
            [
                "axis": raiser.isKeras2 ? JSON([input.shape.count - 1]) : -1,
                "momentum": JSON(attributes.float("momentum") ?? 0.9),
                "epsilon": JSON(attributes.float("epsilon") ?? 1e-5), "center": true, "scale": true,
            ], [input], weights: weights, shape: input.shape, layout: input.layout, for: id)
        raiser.define(id, as: result)
    }
}

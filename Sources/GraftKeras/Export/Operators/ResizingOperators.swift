import GraftCore
import GraftIR
import OrderedCollections

/// Resize and Upsample by whole factors as UpSampling2D; Pad as ZeroPadding2D.
enum ResizingOperators: RaisingFamily {
    static let operators = ["Resize", "Upsample", "Pad"]

    static func raise(_ id: NodeID, _ raiser: inout LayerRaiser) throws {
        let node = raiser.graph[id]
        if node.op.type == "Pad" {
            try pad(id, node, &raiser)
            return
        }
        let input = try raiser.image(id)
        let factors = try factors(id, node, input, raiser)
        let mode = node.attributes.string("mode") ?? "nearest"
        let transform =
            node.attributes.string("coordinate_transformation_mode")
            ?? (node.op.type == "Upsample" ? "asymmetric" : "half_pixel")
        let rounding =
            node.attributes.string("nearest_mode")
            ?? (node.op.type == "Upsample" ? "floor" : "round_prefer_floor")
        let interpolation: String
        switch (mode, transform) {
        case ("nearest", "asymmetric") where rounding == "floor": interpolation = "nearest"
        case ("nearest", "half_pixel") where rounding.hasPrefix("round"): interpolation = "nearest"
        case ("linear", "half_pixel"), ("bilinear", "half_pixel"): interpolation = "bilinear"
        default:
            throw raiser.failure(id, "its mode \(mode) with \(transform) is not one of UpSampling2D")
        }
        let shape = [
            input.shape[0], input.shape[1].map { $0 * factors[0] }, input.shape[2].map { $0 * factors[1] },
            input.shape[3],
        ]
        let result = raiser.add(
            "UpSampling2D",
            ["size": JSON(factors), "data_format": "channels_last", "interpolation": JSON(interpolation)], [input],
            shape: shape, layout: .channelsFirst, for: id)
        raiser.define(id, as: result)
    }

    private static func factors(
        _ id: NodeID, _ node: Node, _ input: RaisedTensor, _ raiser: LayerRaiser
    ) throws -> [Int] {
        let isUpsample = node.op.type == "Upsample"
        let scales = raiser.floats(id, isUpsample ? 1 : 2) ?? node.attributes.floats("scales") ?? []
        var factors: [Int] = []
        if scales.count == 4, scales[0] == 1, scales[1] == 1 {
            factors = scales[2...].compactMap { Int(exactly: $0) }
        } else if let sizes = raiser.integers(id, 3), sizes.count == 4, let height = input.shape[1],
            let width = input.shape[2], sizes[2] % height == 0, sizes[3] % width == 0
        {
            factors = [sizes[2] / height, sizes[3] / width]
        }
        guard factors.count == 2, factors.allSatisfy({ $0 > 0 }) else {
            throw raiser.failure(id, "it does not enlarge by whole numbers that the file holds")
        }
        return factors
    }

    private static func pad(_ id: NodeID, _ node: Node, _ raiser: inout LayerRaiser) throws {
        let input = try raiser.image(id)
        let pads = node.attributes.ints("pads") ?? raiser.integers(id, 1) ?? []
        let value = raiser.floats(id, 2)?.first ?? node.attributes.float("value") ?? 0
        guard node.attributes.string("mode") ?? "constant" == "constant", value == 0, pads.count == 8,
            pads.allSatisfy({ $0 >= 0 }), [0, 1, 4, 5].allSatisfy({ pads[$0] == 0 }), node.inputs.count < 4
        else { throw raiser.failure(id, "it pads with something else than zeros around images") }
        let shape = [
            input.shape[0], input.shape[1].map { $0 + pads[2] + pads[6] },
            input.shape[2].map { $0 + pads[3] + pads[7] }, input.shape[3],
        ]
        let result = raiser.add(
            "ZeroPadding2D",
            ["padding": [JSON([pads[2], pads[6]]), JSON([pads[3], pads[7]])], "data_format": "channels_last"], [input],
            shape: shape, layout: .channelsFirst, for: id)
        raiser.define(id, as: result)
    }
}

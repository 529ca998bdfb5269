import GraftCore
import GraftIR
import OrderedCollections

/// Activation functions as Activation, ReLU, LeakyReLU, ELU, PReLU and Softmax.
enum ActivationOperators: RaisingFamily {
    static let operators = [
        "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Exp", "Elu", "Selu", "Celu", "LeakyRelu", "HardSigmoid",
        "HardSwish", "Clip", "Softmax", "LogSoftmax", "PRelu", "Gelu", "Mish", "Dropout", "Identity",
    ]

    private static let named = [
        "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign",
        "Exp": "exponential", "Mish": "mish",
    ]

    static func raise(_ id: NodeID, _ raiser: inout LayerRaiser) throws {
        let node = raiser.graph[id]
        if node.op.type == "Identity", let value = node.inputs.first, let value, raiser.constant(value) != nil {
            return
        }
        let input = try raiser.input(id)
        if node.op.type == "Identity" {
            // Only where an output needs a name of its own does it become a layer.
            let isOutput = node.outputs.first.flatMap { $0 }.map { raiser.graph[$0].isOutput } ?? false
            raiser.define(
                id, as: isOutput ? add("Activation", ["activation": "linear"], input, id, &raiser) : input)
            return
        }
        if let name = named[node.op.type] {
            raiser.define(id, as: add("Activation", ["activation": JSON(name)], input, id, &raiser))
            return
        }
        raiser.define(id, as: try raiseOther(id, node, input, &raiser))
    }

    private static func add(
        _ className: String, _ settings: OrderedDictionary<String, JSON>, _ input: RaisedTensor, _ id: NodeID,
        _ raiser: inout LayerRaiser, weights: [RaisedLayer.Weight] = []
    ) -> RaisedTensor {
        raiser.add(
            className, settings, [input], weights: weights, shape: input.shape, layout: input.layout, for: id)
    }

    private static func raiseOther(
        _ id: NodeID, _ node: Node, _ input: RaisedTensor, _ raiser: inout LayerRaiser
    ) throws -> RaisedTensor {
        let attributes = node.attributes
        switch node.op.type {
        case "Elu": return add("ELU", ["alpha": JSON(attributes.float("alpha") ?? 1)], input, id, &raiser)
        case "LeakyRelu":
            let slope = JSON(attributes.float("alpha") ?? 0.01)
            return add("LeakyReLU", [raiser.isKeras2 ? "alpha" : "negative_slope": slope], input, id, &raiser)
        case "Selu":
            guard abs((attributes.float("alpha") ?? 1.673_263_2) - 1.673_263_2) < 1e-5,
                abs((attributes.float("gamma") ?? 1.050_701) - 1.050_701) < 1e-5
            else { throw raiser.failure(id, "its alpha or gamma is not the usual one") }
            return add("Activation", ["activation": "selu"], input, id, &raiser)
        case "HardSigmoid":
            let (alpha, beta) = (attributes.float("alpha") ?? 0.2, attributes.float("beta") ?? 0.5)
            if abs(alpha - (raiser.isKeras2 ? 0.2 : 1 / 6)) < 1e-6, beta == 0.5 {
                return add("Activation", ["activation": "hard_sigmoid"], input, id, &raiser)
            }
            let scaled = add("Rescaling", ["scale": JSON(alpha), "offset": JSON(beta)], input, id, &raiser)
            return add("ReLU", ["max_value": 1.0, "negative_slope": 0.0, "threshold": 0.0], scaled, id, &raiser)
        case "HardSwish", "Celu", "Gelu":
            let name = ["HardSwish": "hard_silu", "Celu": "celu", "Gelu": "gelu"][node.op.type] ?? ""
            let isUsual =
                node.op.type == "Gelu"
                ? attributes.string("approximate") ?? "none" == "none" : attributes.float("alpha") ?? 1 == 1
            guard isUsual, !raiser.isKeras2 || name == "gelu" else {
                throw raiser.failure(id, "Keras\(raiser.isKeras2 ? " 2" : "") has no such function")
            }
            return add("Activation", ["activation": JSON(name)], input, id, &raiser)
        case "Clip": return try clip(id, node, input, &raiser)
        case "PRelu": return try parametric(id, input, &raiser)
        case "Dropout":
            let rate = raiser.floats(id, 1)?.first ?? attributes.float("ratio") ?? 0.5
            var settings: OrderedDictionary<String, JSON> = ["rate": JSON(rate), "seed": .null]
            if let text = node.metadata[RegularizationLayers.sharedAxesKey] {
                let axes = text.split(separator: ",").compactMap { Int($0) }.compactMap { input.kerasAxis($0) }
                settings["noise_shape"] = JSON(input.shape.indices.map { axes.contains($0) ? 1 : JSON.null })
            } else {
                settings["noise_shape"] = .null
            }
            return add("Dropout", settings, input, id, &raiser)
        default: return try softmax(id, node, input, &raiser)
        }
    }

    private static func clip(
        _ id: NodeID, _ node: Node, _ input: RaisedTensor, _ raiser: inout LayerRaiser
    ) throws -> RaisedTensor {
        // Bounds are attributes before opset 11 and inputs since.
        let minimum = node.inputs.count > 1 ? raiser.floats(id, 1)?.first : node.attributes.float("min")
        let maximum = node.inputs.count > 2 ? raiser.floats(id, 2)?.first : node.attributes.float("max")
        guard let minimum, let maximum, maximum > minimum else {
            throw raiser.failure(id, "its bounds are not two stored numbers")
        }
        // Keras clips to 0 and a maximum, so other bounds are moved there and back.
        let moved =
            minimum == 0
            ? input : add("Rescaling", ["scale": 1.0, "offset": JSON(-minimum)], input, id, &raiser)
        let clipped = add(
            "ReLU", ["max_value": JSON(maximum - minimum), "negative_slope": 0.0, "threshold": 0.0], moved, id, &raiser)
        return minimum == 0
            ? clipped : add("Rescaling", ["scale": 1.0, "offset": JSON(minimum)], clipped, id, &raiser)
    }

    private static func parametric(
        _ id: NodeID, _ given: RaisedTensor, _ raiser: inout LayerRaiser
    ) throws -> RaisedTensor {
        guard var slope = raiser.constant(id, 1), slope.elementType == .float32 else {
            throw raiser.failure(id, "its slope is not a stored float tensor")
        }
        var input = given
        if case .flattened = input.layout { input = try raiser.convert(input, to: .plain) }
        let rank = input.shape.count - 1
        // Slopes that broadcast over the batch, in the rank of the input without it.
        var shape = slope.shape
        if shape.count == rank + 1, shape[0] == 1 { shape.removeFirst() }
        while shape.count < rank { shape.insert(1, at: 0) }
        guard shape.count == rank else { throw raiser.failure(id, "its slope does not fit its input") }
        slope = try slope.reshaped(shape)
        var kerasShape = shape
        if input.layout == .channelsFirst {
            kerasShape = [shape[1], shape[2], shape[0]]
            slope = try WeightLayout(
                view: kerasShape, permutation: [2, 0, 1], shape: shape, kerasShape: kerasShape
            ).invert(slope)
        }
        let shared = (1...rank).filter { kerasShape[$0 - 1] == 1 && input.shape[$0] != 1 }
        return add(
            "PReLU", ["shared_axes": shared.isEmpty ? .null : JSON(shared)], input, id, &raiser,
            weights: [RaisedLayer.Weight(leaf: "alpha", tensor: slope, value: raiser.graph[id].inputs[1])])
    }

    private static func softmax(
        _ id: NodeID, _ node: Node, _ input: RaisedTensor, _ raiser: inout LayerRaiser
    ) throws -> RaisedTensor {
        // Before opset 13 everything from the axis on is one softmax; for the last axis it is the same.
        let isNew = (raiser.model.opset() ?? 13) >= 13
        let axis = node.attributes.int("axis") ?? (isNew ? -1 : 1)
        let rank = input.shape.count
        let isLastStored = axis == -1 || axis == rank - 1
        guard let keras = input.kerasAxis(axis), isNew || isLastStored else {
            throw raiser.failure(id, "its axis \(axis) spans several axes of Keras")
        }
        if keras == rank - 1 {
            let name = node.op.type == "Softmax" ? "softmax" : "log_softmax"
            guard name == "softmax" || !raiser.isKeras2 else { throw raiser.failure(id, "Keras 2 has no log_softmax") }
            return add("Activation", ["activation": JSON(name)], input, id, &raiser)
        }
        guard node.op.type == "Softmax" else { throw raiser.failure(id, "its axis is not the last one in Keras") }
        return add("Softmax", ["axis": JSON(keras)], input, id, &raiser)
    }
}

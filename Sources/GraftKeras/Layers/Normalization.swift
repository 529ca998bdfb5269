import GraftCore
import GraftIR
import OrderedCollections

/// BatchNormalization, Normalization and Rescaling.
enum NormalizationLayers: LayerFamily {
    static let classNames = ["BatchNormalization", "BatchNormalizationV1", "Normalization", "Rescaling"]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try single(layer, inputs)
        switch layer.className {
        case "Normalization": return [try normalization(layer, input, &builder)]
        case "Rescaling": return [try rescaling(layer, input, &builder)]
        default: return [try batchNormalization(layer, input, &builder)]
        }
    }

    private static func batchNormalization(
        _ layer: LayerConfig, _ given: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        let axes = try layer["axis"]?.array?.compactMap(\.int) ?? [layer.int("axis", default: -1)]
        let rank = given.rank
        guard axes.count == 1, rank == 2 || rank == 4 else {
            throw layer.unsupported("it normalizes \(axes.count) axes of an input of rank \(rank)")
        }
        let axis = axes[0] < 0 ? axes[0] + rank : axes[0]
        var input = given
        if rank == 4 && axis == 3 {
            input = builder.channelsFirst(given)
        } else if rank == 4 {
            input = builder.plain(given)
        }
        guard input.storedAxis(axis) == 1, let channels = given.shape[axis] else {
            throw layer.unsupported("it normalizes axis \(axis) of an input of rank \(rank)")
        }
        guard !layer.bool("renorm", default: false) else { throw layer.unsupported("renorm") }

        var layout = WeightLayout.identity([channels])
        if case .flattened(let height, let width, let depth) = input.layout {
            layout = WeightLayout(
                view: [height, width, depth], permutation: [2, 0, 1], shape: [channels], kerasShape: [channels])
        }
        let ones = Tensor([Float](repeating: 1, count: channels))
        let scale =
            layer.bool("scale", default: true)
            ? try builder.weight("gamma", layout) : builder.constant("no_gamma", ones)
        let shift =
            layer.bool("center", default: true)
            ? try builder.weight("beta", layout)
            : builder.constant("no_beta", Tensor.zeros(.float32, shape: [channels]))
        let mean = try builder.weight("moving_mean", layout)
        let variance = try builder.weight("moving_variance", layout)
        let value = builder.emit(
            "BatchNormalization", [input.value, scale, shift, mean, variance],
            [
                "epsilon": .float(try layer.float("epsilon", default: 1e-3)),
                "momentum": .float(try layer.float("momentum", default: 0.99)),
            ], shape: input.storedShape)
        return ImportedTensor(value: value, shape: input.shape, layout: input.layout)
    }

    /// `(x - mean) / max(sqrt(variance), 1e-7)` along the axis, with statistics from the file.
    private static func normalization(
        _ layer: LayerConfig, _ given: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        let axes = layer["axis"]?.array?.compactMap(\.int) ?? layer["axis"]?.int.map { [$0] } ?? []
        guard !layer.bool("invert", default: false) else { throw layer.unsupported("invert") }
        guard axes.count == 1, (axes[0] + given.rank) % given.rank == given.rank - 1 else {
            throw layer.unsupported("it normalizes other axes than the last one")
        }
        var input = given
        if case .flattened = input.layout { input = builder.plain(input) }
        if input.rank == 4 { input = builder.channelsFirst(input) }
        let (mean, variance) = (try statistics("mean", layer, builder), try statistics("variance", layer, builder))
        let deviation = variance.map { max($0.squareRoot(), 1e-7) }
        let shape = input.layout == .channelsFirst ? [mean.count, 1, 1] : [mean.count]
        let channels = given.shape[given.rank - 1]
        guard mean.count == variance.count, channels == nil || channels == mean.count || mean.count == 1 else {
            throw KerasError.weights(path: layer.file, layer: layer.name, reason: "mean and variance do not fit")
        }
        let centred = builder.emit(
            "Sub", [input.value, builder.constant("mean", Tensor(mean, shape: shape))], shape: input.storedShape)
        let value = builder.emit(
            "Div", [centred, builder.constant("deviation", Tensor(deviation, shape: shape))], shape: input.storedShape)
        return ImportedTensor(value: value, shape: input.shape, layout: input.layout)
    }

    private static func statistics(
        _ name: String, _ layer: LayerConfig, _ builder: GraphBuilder
    ) throws -> [Float] {
        if let weight = builder.weights[name]?.tensor { return try weight.elements(as: Float.self) }
        if let list = numbers(layer[name]) { return list }
        throw KerasError.weights(path: layer.file, layer: layer.name, reason: "it has no \(name); adapt it first")
    }

    /// Numbers of a list that may be nested in lists of one element.
    private static func numbers(_ json: JSON?) -> [Float]? {
        guard let json else { return nil }
        if let one = json.double { return [Float(one)] }
        if let inner = json["config"]?["value"] { return numbers(inner) }
        guard let list = json.array else { return nil }
        if list.count == 1, list[0].array != nil { return numbers(list[0]) }
        let values = list.compactMap { $0.double.map { Float($0) } }
        return values.count == list.count ? values : nil
    }

    private static func rescaling(
        _ layer: LayerConfig, _ given: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        guard let scale = numbers(layer["scale"]), let offset = numbers(layer["offset"] ?? 0) else {
            throw layer.malformed("scale", expected: "numbers")
        }
        var input = given
        if scale.count > 1 || offset.count > 1 {
            if case .flattened = input.layout { input = builder.plain(input) }
            if input.rank == 4 { input = builder.channelsFirst(input) }
        }
        func operand(_ name: String, _ values: [Float]) -> ValueID {
            if values.count == 1 { return builder.constant(name, Tensor(scalar: values[0])) }
            let shape = input.layout == .channelsFirst ? [values.count, 1, 1] : [values.count]
            return builder.constant(name, Tensor(values, shape: shape))
        }
        let scaled = builder.emit("Mul", [input.value, operand("scale", scale)], shape: input.storedShape)
        let value = builder.emit("Add", [scaled, operand("offset", offset)], shape: input.storedShape)
        return ImportedTensor(value: value, shape: input.shape, layout: input.layout)
    }
}

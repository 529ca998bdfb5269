import GraftCore
import GraftIR
import OrderedCollections

/// Conv and ConvTranspose as Conv2D, DepthwiseConv2D and Conv2DTranspose.
enum ConvolutionOperators: RaisingFamily {
    static let operators = ["Conv", "ConvTranspose"]

    static func raise(_ id: NodeID, _ raiser: inout LayerRaiser) throws {
        let attributes = raiser.graph[id].attributes
        guard let kernel = raiser.constant(id, 1), kernel.elementType == .float32, kernel.shape.count == 4 else {
            throw raiser.failure(id, "its kernel is not a stored float tensor of 4 dimensions")
        }
        let input = try raiser.image(id)
        guard let channels = input.shape[3] else { throw raiser.failure(id, "the number of its channels is not known") }
        if raiser.graph[id].op.type == "ConvTranspose" {
            try transposed(id, &raiser, input, kernel, attributes)
            return
        }
        let groups = attributes.int("group") ?? 1
        let frame = try Frame(attributes, kernel: Array(kernel.shape[2...]), id, raiser)
        let filters = kernel.shape[0]
        let isDepthwise = groups == channels && kernel.shape[1] == 1 && filters % channels == 0 && groups > 1
        let (padded, padding) = try frame.apply(to: input, id, &raiser, filler: "zero")
        var settings = frame.settings(padding: padding)
        let layout: WeightLayout
        if isDepthwise {
            settings["depth_multiplier"] = JSON(filters / channels)
            layout = ConvolutionLayers.depthwiseLayout(frame.kernel, channels, filters / channels)
        } else {
            guard groups > 0, kernel.shape[1] * groups == channels else {
                throw raiser.failure(id, "its kernel of shape \(kernel.shape) does not fit \(channels) channels")
            }
            settings["filters"] = JSON(filters)
            settings["groups"] = JSON(groups)
            layout = ConvolutionLayers.kernelLayout([frame.kernel[0], frame.kernel[1], kernel.shape[1], filters])
        }
        let leaf = isDepthwise && raiser.isKeras2 ? "depthwise_kernel" : "kernel"
        var weights = [
            RaisedLayer.Weight(leaf: leaf, tensor: try layout.invert(kernel), value: raiser.graph[id].inputs[1])
        ]
        if let bias = try bias(id, raiser, filters) { weights.append(bias) }
        settings["use_bias"] = JSON(weights.count == 2)
        let extents = frame.extents(of: padded, padding: padding)
        let result = raiser.add(
            isDepthwise ? "DepthwiseConv2D" : "Conv2D", settings, [padded], weights: weights,
            shape: [input.shape[0], extents[0], extents[1], filters], layout: .channelsFirst, for: id)
        raiser.define(id, as: result)
    }

    private static func bias(_ id: NodeID, _ raiser: LayerRaiser, _ filters: Int) throws -> RaisedLayer.Weight? {
        guard raiser.graph[id].inputs.count > 2, let value = raiser.graph[id].inputs[2] else { return nil }
        guard let tensor = raiser.constant(value), tensor.shape == [filters], tensor.elementType == .float32 else {
            throw raiser.failure(id, "its bias is not a stored float tensor")
        }
        return RaisedLayer.Weight(leaf: "bias", tensor: tensor, value: value)
    }

    private static func transposed(
        _ id: NodeID, _ raiser: inout LayerRaiser, _ input: RaisedTensor, _ kernel: Tensor, _ attributes: Attributes
    ) throws {
        let frame = try Frame(attributes, kernel: Array(kernel.shape[2...]), id, raiser)
        let extra = attributes.ints("output_padding") ?? [0, 0]
        let isSame = (0..<2).allSatisfy { axis in
            let total = max(frame.kernel[axis] - frame.strides[axis], 0)
            return frame.pads[axis] == total / 2 && frame.pads[axis + 2] == total - total / 2
                && extra[axis] == max(frame.strides[axis] - frame.kernel[axis], 0)
        }
        let isValid =
            frame.pads == [0, 0, 0, 0]
            && (0..<2).allSatisfy { extra[$0] == max(frame.strides[$0] - frame.kernel[$0], 0) }
        guard attributes.int("group") ?? 1 == 1, frame.dilations == [1, 1], isSame || isValid,
            attributes.string("auto_pad") ?? "NOTSET" == "NOTSET", attributes.ints("output_shape") == nil
        else { throw raiser.failure(id, "its groups, dilation or padding are not those of Conv2DTranspose") }
        let filters = kernel.shape[1]
        let padding = isSame ? "same" : "valid"
        let layout = ConvolutionLayers.kernelLayout([frame.kernel[0], frame.kernel[1], filters, kernel.shape[0]])
        var weights = [
            RaisedLayer.Weight(leaf: "kernel", tensor: try layout.invert(kernel), value: raiser.graph[id].inputs[1])
        ]
        if let bias = try bias(id, raiser, filters) { weights.append(bias) }
        let extents = (0..<2).map { axis in
            input.shape[1 + axis].map {
                $0 * frame.strides[axis] + (isSame ? 0 : max(frame.kernel[axis] - frame.strides[axis], 0))
            }
        }
        let settings: OrderedDictionary<String, JSON> = [
            "filters": JSON(filters), "kernel_size": JSON(frame.kernel), "strides": JSON(frame.strides),
            "padding": JSON(padding), "data_format": "channels_last", "activation": "linear",
            "use_bias": JSON(weights.count == 2),
        ]
        let result = raiser.add(
            "Conv2DTranspose", settings, [input], weights: weights,
            shape: [input.shape[0], extents[0], extents[1], filters], layout: .channelsFirst, for: id)
        raiser.define(id, as: result)
    }
}

/// The window of a convolution or pooling node and how Keras can pad for it.
struct Frame {
    let kernel: [Int]
    let strides: [Int]
    let dilations: [Int]
    let pads: [Int]
    private let isSameUpper: Bool

    init(_ attributes: Attributes, kernel: [Int], _ id: NodeID, _ raiser: LayerRaiser) throws {
        self.kernel = kernel
        strides = attributes.ints("strides") ?? [1, 1]
        dilations = attributes.ints("dilations") ?? [1, 1]
        let automatic = attributes.string("auto_pad") ?? "NOTSET"
        isSameUpper = automatic == "SAME_UPPER"
        pads = automatic == "NOTSET" ? attributes.ints("pads") ?? [0, 0, 0, 0] : [0, 0, 0, 0]
        guard kernel.count == 2, strides.count == 2, dilations.count == 2, pads.count == 4,
            (kernel + strides + dilations).allSatisfy({ $0 > 0 }), pads.allSatisfy({ $0 >= 0 })
        else { throw raiser.failure(id, "its window is not one of two dimensions") }
        guard automatic != "SAME_LOWER" else { throw raiser.failure(id, "auto_pad SAME_LOWER has no form in Keras") }
    }

    private func reach(_ axis: Int) -> Int { (kernel[axis] - 1) * dilations[axis] + 1 }

    /// Whether the padding is Keras' `same` for images of this size.
    func isSame(for tensor: RaisedTensor) -> Bool {
        if isSameUpper { return true }
        return (0..<2).allSatisfy { axis in
            let total: Int
            if strides[axis] == 1 {
                total = reach(axis) - 1
            } else {
                guard let extent = tensor.shape[1 + axis] else { return false }
                let output = (extent + strides[axis] - 1) / strides[axis]
                total = max((output - 1) * strides[axis] + reach(axis) - extent, 0)
            }
            return pads[axis] == total / 2 && pads[axis + 2] == total - total / 2
        }
    }

    /// The input, padded by a layer of its own where Keras has no word for the padding, and Keras' word for the rest.
    func apply(
        to tensor: RaisedTensor, _ id: NodeID, _ raiser: inout LayerRaiser, filler: String
    ) throws -> (RaisedTensor, String) {
        if !isSameUpper && pads == [0, 0, 0, 0] { return (tensor, "valid") }
        if isSame(for: tensor) { return (tensor, "same") }
        guard filler == "zero" else { throw raiser.failure(id, filler) }
        let amounts: JSON = [JSON([pads[0], pads[2]]), JSON([pads[1], pads[3]])]
        let shape = [
            tensor.shape[0], tensor.shape[1].map { $0 + pads[0] + pads[2] },
            tensor.shape[2].map { $0 + pads[1] + pads[3] }, tensor.shape[3],
        ]
        let padded = raiser.add(
            "ZeroPadding2D", ["padding": amounts, "data_format": "channels_last"], [tensor], shape: shape,
            layout: .channelsFirst, for: id, suffix: "_pad")
        return (padded, "valid")
    }

    /// The extents of the result.
    func extents(of tensor: RaisedTensor, padding: String) -> [Int?] {
        (0..<2).map { axis in
            tensor.shape[1 + axis].map {
                padding == "same"
                    ? ($0 + strides[axis] - 1) / strides[axis] : ($0 - reach(axis)) / strides[axis] + 1
            }
        }
    }

    /// The settings of a convolution.
    func settings(padding: String) -> OrderedDictionary<String, JSON> {
        [
            "kernel_size": JSON(kernel), "strides": JSON(strides), "padding": JSON(padding),
            "data_format": "channels_last", "dilation_rate": JSON(dilations), "activation": "linear",
        ]
    }
}

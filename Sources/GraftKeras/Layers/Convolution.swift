import GraftCore
import GraftIR

/// Conv2D, DepthwiseConv2D, SeparableConv2D and Conv2DTranspose.
///
/// Keras kernels are `(height, width, in / groups, out)`, depthwise ones `(height, width, in, multiplier)`, transposed
/// ones `(height, width, out, in)`; ONNX has `(out, in / groups, height, width)` and for ConvTranspose `(in, out, ...)`.
enum ConvolutionLayers: LayerFamily {
    static let classNames = [
        "Conv2D", "Convolution2D", "DepthwiseConv2D", "SeparableConv2D", "SeparableConvolution2D", "Conv2DTranspose",
        "Convolution2DTranspose",
    ]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try image(layer, inputs, &builder)
        let stored = input.storedShape
        guard let channels = stored[1] else { throw layer.unsupported("the number of its input channels is not known") }
        let value: (ValueID, [Int?])
        switch layer.className {
        case "DepthwiseConv2D": value = try depthwise(layer, input.value, stored, channels, &builder)
        case "SeparableConv2D", "SeparableConvolution2D":
            value = try separable(layer, input.value, stored, channels, &builder)
        case "Conv2DTranspose", "Convolution2DTranspose":
            value = try transposed(layer, input.value, stored, channels, &builder)
        default: value = try plain(layer, input.value, stored, channels, &builder)
        }
        let result = imageResult(layer, value.0, value.1)
        return [try Activation.apply(layer, to: result, &builder)]
    }

    private static func plain(
        _ layer: LayerConfig, _ input: ValueID, _ shape: [Int?], _ channels: Int, _ builder: inout GraphBuilder
    ) throws -> (ValueID, [Int?]) {
        let (filters, groups) = (try layer.int("filters"), try layer.int("groups", default: 1))
        guard filters > 0, groups > 0, channels % groups == 0, filters % groups == 0 else {
            throw layer.malformed("groups", expected: "a divisor of \(channels) and \(filters)")
        }
        let window = try Window(
            layer, kernel: layer.pair("kernel_size"), strides: layer.pair("strides", default: 1),
            dilations: layer.pair("dilation_rate", default: 1))
        let kernel = [window.kernel[0], window.kernel[1], channels / groups, filters]
        return try convolution(
            layer, input, shape, window, groups: groups, filters: filters,
            kernel: ("kernel", kernelLayout(kernel)), bias: layer.bool("use_bias", default: true), &builder)
    }

    private static func depthwise(
        _ layer: LayerConfig, _ input: ValueID, _ shape: [Int?], _ channels: Int, _ builder: inout GraphBuilder
    ) throws -> (ValueID, [Int?]) {
        let window = try Window(
            layer, kernel: layer.pair("kernel_size"), strides: layer.pair("strides", default: 1),
            dilations: layer.pair("dilation_rate", default: 1))
        let multiplier = try layer.int("depth_multiplier", default: 1)
        // Keras 3 calls the weight `kernel`, Keras 2 `depthwise_kernel`.
        let name = builder.weightShape("depthwise_kernel") == nil ? "kernel" : "depthwise_kernel"
        return try convolution(
            layer, input, shape, window, groups: channels, filters: channels * multiplier,
            kernel: (name, depthwiseLayout(window.kernel, channels, multiplier)),
            bias: layer.bool("use_bias", default: true), &builder)
    }

    private static func separable(
        _ layer: LayerConfig, _ input: ValueID, _ shape: [Int?], _ channels: Int, _ builder: inout GraphBuilder
    ) throws -> (ValueID, [Int?]) {
        let window = try Window(
            layer, kernel: layer.pair("kernel_size"), strides: layer.pair("strides", default: 1),
            dilations: layer.pair("dilation_rate", default: 1))
        let (multiplier, filters) = (try layer.int("depth_multiplier", default: 1), try layer.int("filters"))
        let depth = try convolution(
            layer, input, shape, window, groups: channels, filters: channels * multiplier,
            kernel: ("depthwise_kernel", depthwiseLayout(window.kernel, channels, multiplier)), bias: false, &builder,
            suffix: "depthwise")
        let point = try Window(
            LayerConfig(className: "", name: layer.name, settings: [:], file: layer.file), kernel: [1, 1],
            strides: [1, 1])
        return try convolution(
            layer, depth.0, depth.1, point, groups: 1, filters: filters,
            kernel: ("pointwise_kernel", kernelLayout([1, 1, channels * multiplier, filters])),
            bias: layer.bool("use_bias", default: true), &builder, suffix: "pointwise")
    }

    private static func transposed(
        _ layer: LayerConfig, _ input: ValueID, _ shape: [Int?], _ channels: Int, _ builder: inout GraphBuilder
    ) throws -> (ValueID, [Int?]) {
        let window = try Window(
            layer, kernel: layer.pair("kernel_size"), strides: layer.pair("strides", default: 1),
            dilations: layer.pair("dilation_rate", default: 1))
        guard window.dilations == [1, 1], layer["output_padding"] == nil else {
            throw layer.unsupported("it has a dilation or an output_padding")
        }
        let filters = try layer.int("filters")
        // The gradient of a convolution: `same` gives extent * stride, `valid` all that the windows cover.
        var pads = [0, 0, 0, 0]
        var extra = [0, 0]
        var extents: [Int?] = []
        for axis in 0..<2 {
            let (kernel, stride) = (window.kernel[axis], window.strides[axis])
            extra[axis] = max(stride - kernel, 0)
            if window.isSame {
                let total = max(kernel - stride, 0)
                (pads[axis], pads[axis + 2]) = (total / 2, total - total / 2)
                extents.append(shape[2 + axis].map { $0 * stride })
            } else {
                extents.append(shape[2 + axis].map { $0 * stride + max(kernel - stride, 0) })
            }
        }
        var attributes: Attributes = ["kernel_shape": .ints(window.kernel), "strides": .ints(window.strides)]
        if pads != [0, 0, 0, 0] { attributes["pads"] = .ints(pads) }
        if extra != [0, 0] { attributes["output_padding"] = .ints(extra) }
        let kernelShape = [window.kernel[0], window.kernel[1], filters, channels]
        var operands: [ValueID?] = [input, try builder.weight("kernel", kernelLayout(kernelShape))]
        if layer.bool("use_bias", default: true) { operands.append(try builder.weight("bias", .identity([filters]))) }
        let result = [shape[0], filters] + extents
        return (builder.emit("ConvTranspose", operands, attributes, shape: result), result)
    }

    private static func convolution(
        _ layer: LayerConfig, _ input: ValueID, _ shape: [Int?], _ window: Window, groups: Int, filters: Int,
        kernel: (name: String, layout: WeightLayout), bias: Bool, _ builder: inout GraphBuilder, suffix: String = ""
    ) throws -> (ValueID, [Int?]) {
        var attributes = window.attributes([shape[2], shape[3]])
        attributes["group"] = .int(groups)
        var operands: [ValueID?] = [input, try builder.weight(kernel.name, kernel.layout)]
        if bias { operands.append(try builder.weight("bias", .identity([filters]))) }
        let result = [shape[0], filters] + (try window.outputExtents([shape[2], shape[3]], layer: layer))
        return (builder.emit("Conv", operands, attributes, shape: result, suffix: suffix), result)
    }

    /// `(h, w, a, b)` to `(b, a, h, w)`.
    static func kernelLayout(_ shape: [Int]) -> WeightLayout {
        WeightLayout(
            view: shape, permutation: [3, 2, 0, 1], shape: [shape[3], shape[2], shape[0], shape[1]], kerasShape: shape)
    }

    /// `(h, w, in, multiplier)` to `(in * multiplier, 1, h, w)`.
    static func depthwiseLayout(_ kernel: [Int], _ channels: Int, _ multiplier: Int) -> WeightLayout {
        let shape = [kernel[0], kernel[1], channels, multiplier]
        return WeightLayout(
            view: shape, permutation: [2, 3, 0, 1], shape: [channels * multiplier, 1, kernel[0], kernel[1]],
            kerasShape: shape)
    }
}

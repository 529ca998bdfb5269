import GraftCore
import GraftIR

/// MaxPooling2D, AveragePooling2D and their global forms.
enum PoolingLayers: LayerFamily {
    static let classNames = [
        "MaxPooling2D", "MaxPool2D", "AveragePooling2D", "AvgPool2D", "GlobalAveragePooling2D", "GlobalAvgPool2D",
        "GlobalMaxPooling2D", "GlobalMaxPool2D",
    ]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try image(layer, inputs, &builder)
        let shape = input.storedShape
        let isMaximum = layer.className.contains("Max")
        if layer.className.hasPrefix("Global") {
            let pooled = builder.emit(
                isMaximum ? "GlobalMaxPool" : "GlobalAveragePool", [input.value], shape: [shape[0], shape[1], 1, 1])
            if layer.bool("keepdims", default: false) {
                return [imageResult(layer, pooled, [shape[0], shape[1], 1, 1])]
            }
            let features = builder.emit("Flatten", [pooled], ["axis": .int(1)], shape: [shape[0], shape[1]])
            return [ImportedTensor(value: features, shape: [shape[0], shape[1]], layout: .plain)]
        }
        let size = try layer.pair("pool_size", default: 2)
        let window = try Window(layer, kernel: size, strides: layer["strides"] == nil ? size : layer.pair("strides"))
        var attributes = window.attributes([shape[2], shape[3]])
        attributes["dilations"] = nil
        // onnxruntime merges a Pad of zeros into a pooling behind it, which for a maximum is wrong; not where the pooling
        // says in words that it does not pad.
        if attributes["pads"] == nil, attributes["auto_pad"] == nil,
            builder.graph[input.value].producer.map({ builder.graph[$0].op.isONNX("Pad") }) ?? false
        {
            attributes["auto_pad"] = .string("VALID")
        }
        // Padding does not count in an average: ONNX' default.
        let result = [shape[0], shape[1]] + (try window.outputExtents([shape[2], shape[3]], layer: layer))
        let value = builder.emit(isMaximum ? "MaxPool" : "AveragePool", [input.value], attributes, shape: result)
        return [imageResult(layer, value, result)]
    }
}

import GraftCore
import GraftIR

/// Dropout, and layers that do nothing to a trained network's outputs.
enum RegularizationLayers: LayerFamily {
    static let classNames = ["Dropout", "ActivityRegularization", "Identity"]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try single(layer, inputs)
        let value: ValueID
        if layer.className == "Dropout" {
            guard layer["noise_shape"] == nil else { throw layer.unsupported("noise_shape") }
            let rate = try layer.float("rate", default: 0)
            let ratio = builder.constant("rate", Tensor(scalar: rate))
            value = builder.emit("Dropout", [input.value, ratio], shape: input.storedShape)
        } else {
            value = builder.emit("Identity", [input.value], shape: input.storedShape)
        }
        return [ImportedTensor(value: value, shape: input.shape, layout: input.layout)]
    }
}

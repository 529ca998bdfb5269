import GraftCore
import GraftIR

/// UpSampling2D.
///
/// `nearest` repeats elements; `bilinear` takes pixel centres at half positions, as TensorFlow's resize does.
enum UpsamplingLayers: LayerFamily {
    static let classNames = ["UpSampling2D"]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try image(layer, inputs, &builder)
        let shape = input.storedShape
        let factors = try layer.pair("size", default: 2)
        guard factors.allSatisfy({ $0 > 0 }) else { throw layer.malformed("size", expected: "positive factors") }
        let attributes: Attributes
        switch layer["interpolation"]?.string ?? "nearest" {
        case "nearest":
            attributes = [
                "mode": .string("nearest"), "coordinate_transformation_mode": .string("asymmetric"),
                "nearest_mode": .string("floor"),
            ]
        case "bilinear":
            attributes = ["mode": .string("linear"), "coordinate_transformation_mode": .string("half_pixel")]
        case let other: throw layer.unsupported("interpolation \"\(other)\"")
        }
        let scales = builder.constant("scales", Tensor([1, 1, Float(factors[0]), Float(factors[1])]))
        let result = [shape[0], shape[1], shape[2].map { $0 * factors[0] }, shape[3].map { $0 * factors[1] }]
        let value = builder.emit("Resize", [input.value, nil, scales], attributes, shape: result)
        return [imageResult(layer, value, result)]
    }
}

import GraftCore
import GraftIR

/// Dropout, and layers that do nothing to a trained network's outputs.
///
/// Where one draw is shared along axes (SpatialDropout2D, `noise_shape`), the node says so in its metadata under
/// ``sharedAxesKey``: ONNX's Dropout has no word for it.
enum RegularizationLayers: LayerFamily {
    static let classNames = ["Dropout", "SpatialDropout2D", "ActivityRegularization", "Identity"]

    /// The metadata of a Dropout node that lists the axes along which one draw is shared, such as `2,3`.
    static let sharedAxesKey = "graft.dropout_shared_axes"

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try single(layer, inputs)
        let value: ValueID
        if layer.className.hasSuffix("Dropout") || layer.className == "SpatialDropout2D" {
            let rate = try layer.float("rate", default: 0)
            let ratio = builder.constant("rate", Tensor(scalar: rate))
            value = builder.emit("Dropout", [input.value, ratio], shape: input.storedShape)
            let shared = try sharedAxes(layer, input)
            if !shared.isEmpty, let node = builder.graph[value].producer {
                builder.graph[node].metadata[sharedAxesKey] = shared.map(String.init).joined(separator: ",")
            }
        } else {
            value = builder.emit("Identity", [input.value], shape: input.storedShape)
        }
        return [ImportedTensor(value: value, shape: input.shape, layout: input.layout)]
    }

    /// The axes of the IR along which one draw is shared.
    private static func sharedAxes(_ layer: LayerConfig, _ input: ImportedTensor) throws -> [Int] {
        if layer.className == "SpatialDropout2D" {
            guard input.rank == 4 else { throw layer.unsupported("an input of rank \(input.rank)") }
            return (layer.isChannelsLast ? [1, 2] : [2, 3]).compactMap { input.storedAxis($0) }.sorted()
        }
        guard let shape = layer["noise_shape"]?.array else { return [] }
        guard shape.count == input.rank else { throw layer.malformed("noise_shape", expected: "\(input.rank) extents") }
        return shape.indices.filter { shape[$0].int == 1 && input.shape[$0] != 1 }.compactMap { input.storedAxis($0) }
            .sorted()
    }
}

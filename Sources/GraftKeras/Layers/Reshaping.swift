import GraftCore
import GraftIR

/// Flatten, Reshape and Permute.
enum ReshapingLayers: LayerFamily {
    static let classNames = ["Flatten", "Reshape", "Permute"]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try single(layer, inputs)
        switch layer.className {
        case "Flatten": return [try flatten(layer, input, &builder)]
        case "Reshape": return [try reshape(layer, input, &builder)]
        default: return [try permute(layer, input, &builder)]
        }
    }

    private static func flatten(
        _ layer: LayerConfig, _ given: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        guard given.rank > 2 else { return given }
        var input = given
        var layout = TensorLayout.plain
        if input.layout == .channelsFirst {
            if !layer.isChannelsLast {
                throw layer.unsupported("data_format channels_first after layers with channels_last")
            }
            if let height = input.shape[1], let width = input.shape[2], let channels = input.shape[3] {
                // Without neighbours or with one channel the order of the elements is the same.
                if height * width != 1 && channels != 1 {
                    layout = .flattened(height: height, width: width, channels: channels)
                }
            } else {
                input = builder.plain(input)
            }
        } else if !layer.isChannelsLast, input.rank == 4 {
            // Keras moves the channels last before it flattens channels_first images.
            let moved = builder.emit(
                "Transpose", [input.value], ["perm": .ints([0, 2, 3, 1])],
                shape: [input.shape[0], input.shape[2], input.shape[3], input.shape[1]])
            input.value = moved
        }
        let counts = given.shape.dropFirst()
        let features = counts.allSatisfy { $0 != nil } ? Checked.product(counts.map { $0! }) : nil
        let shape = [given.shape[0], features]
        let value = builder.emit("Flatten", [input.value], ["axis": .int(1)], shape: shape)
        return ImportedTensor(value: value, shape: shape, layout: layout)
    }

    private static func reshape(
        _ layer: LayerConfig, _ given: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        guard let target = layer["target_shape"]?.array?.map(\.int), target.allSatisfy({ $0 != nil }) else {
            throw layer.malformed("target_shape", expected: "a list of integers")
        }
        var extents = target.map { $0! }
        let known = given.shape.dropFirst().allSatisfy { $0 != nil }
        let total = known ? Checked.product(given.shape.dropFirst().map { $0! }) : nil
        if let hole = extents.firstIndex(of: -1) {
            extents.remove(at: hole)
            guard let rest = Checked.product(extents), rest > 0, total.map({ $0 % rest == 0 }) ?? true else {
                throw layer.malformed("target_shape", expected: "a divisor of the input's \(total ?? 0) elements")
            }
            extents.insert(total.map { $0 / rest } ?? -1, at: hole)
        } else if let total, Checked.product(extents) != total {
            throw layer.malformed("target_shape", expected: "\(total) elements")
        }
        let shape = [given.shape[0]] + extents.map { $0 < 0 ? nil : $0 }
        var input = given
        // The elements of an image of one position or one channel are in the same order either way.
        let isSameOrder =
            given.layout == .channelsFirst
            && (given.shape[1] == 1 && given.shape[2] == 1 || given.shape[3] == 1)
        if !isSameOrder { input = builder.plain(given) }
        if shape.count == 4, shape[1] == 1, shape[2] == 1 {
            // To an image of one position: the channels may as well come first.
            let value = builder.reshape(input.value, [shape[0], shape[3], 1, 1])
            return ImportedTensor(value: value, shape: shape, layout: .channelsFirst)
        }
        return ImportedTensor(value: builder.reshape(input.value, shape), shape: shape, layout: .plain)
    }

    private static func permute(
        _ layer: LayerConfig, _ given: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        let axes = layer["dims"]?.array?.compactMap(\.int) ?? []
        guard axes.sorted() == Array(1..<given.rank) else {
            throw layer.malformed("dims", expected: "a permutation of 1...\(given.rank - 1)")
        }
        let shape = [given.shape[0]] + axes.map { given.shape[$0] }
        // Moving the channels is a change of layout only.
        if axes == [2, 3, 1], given.layout == .plain {
            return ImportedTensor(value: given.value, shape: shape, layout: .channelsFirst)
        }
        if axes == [3, 1, 2], given.layout == .channelsFirst {
            return ImportedTensor(value: given.value, shape: shape, layout: .plain)
        }
        let input = builder.plain(given)
        let value = builder.emit("Transpose", [input.value], ["perm": .ints([0] + axes)], shape: shape)
        return ImportedTensor(value: value, shape: shape, layout: .plain)
    }
}

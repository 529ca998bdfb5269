import GraftCore
import GraftIR

/// ZeroPadding2D and Cropping2D.
enum PaddingLayers: LayerFamily {
    static let classNames = ["ZeroPadding2D", "Cropping2D"]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try image(layer, inputs, &builder)
        let shape = input.storedShape
        let isPadding = layer.className == "ZeroPadding2D"
        let amounts = try extents(layer, isPadding ? "padding" : "cropping")
        let sums = [amounts[0][0] + amounts[0][1], amounts[1][0] + amounts[1][1]]
        let result =
            [shape[0], shape[1]]
            + (0..<2).map { axis in
                shape[2 + axis].map { isPadding ? $0 + sums[axis] : $0 - sums[axis] }
            }
        guard result.allSatisfy({ $0 == nil || $0! > 0 }) else {
            throw layer.malformed("cropping", expected: "less than the input's extent")
        }
        let value: ValueID
        if isPadding {
            let pads = [0, 0, amounts[0][0], amounts[1][0], 0, 0, amounts[0][1], amounts[1][1]]
            let operand = builder.constant("pads", Tensor(pads.map { Int64($0) }))
            value = builder.emit("Pad", [input.value, operand], ["mode": .string("constant")], shape: result)
        } else {
            let starts = builder.constant("starts", Tensor([Int64(amounts[0][0]), Int64(amounts[1][0])]))
            // An end beyond the input means its end.
            let ends = amounts.map { $0[1] == 0 ? Int64.max : -Int64($0[1]) }
            let stops = builder.constant("ends", Tensor(ends))
            let axes = builder.constant("axes", Tensor([Int64(2), 3]))
            value = builder.emit("Slice", [input.value, starts, stops, axes], shape: result)
        }
        return [imageResult(layer, value, result)]
    }

    /// `n`, `(rows, columns)` or `((top, bottom), (left, right))`.
    private static func extents(_ layer: LayerConfig, _ setting: String) throws -> [[Int]] {
        let value = layer[setting]
        var result: [[Int]] = []
        if let one = value?.int { result = [[one, one], [one, one]] }
        for entry in value?.array ?? [] {
            if let one = entry.int { result.append([one, one]) }
            if let two = entry.array?.compactMap(\.int), two.count == 2 { result.append(two) }
        }
        guard result.count == 2, result.allSatisfy({ $0.allSatisfy { $0 >= 0 && $0 < 1 << 31 } }) else {
            throw layer.malformed(setting, expected: "one, two or two pairs of integers")
        }
        return result
    }
}

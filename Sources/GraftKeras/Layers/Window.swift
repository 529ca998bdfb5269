import GraftCore
import GraftIR

/// The sliding window of a convolution or pooling: extents, strides, dilation, and Keras' rule of padding.
struct Window {
    let kernel: [Int]
    let strides: [Int]
    let dilations: [Int]
    let isSame: Bool

    init(_ layer: LayerConfig, kernel: [Int], strides: [Int], dilations: [Int] = [1, 1]) throws {
        self.kernel = kernel
        self.strides = strides
        self.dilations = dilations
        guard (kernel + strides + dilations).allSatisfy({ $0 > 0 }) else {
            throw layer.malformed("strides", expected: "positive extents")
        }
        switch layer["padding"]?.string ?? "valid" {
        case "valid": isSame = false
        case "same": isSame = true
        case let other: throw layer.unsupported("padding \"\(other)\"")
        }
    }

    private func reach(_ axis: Int) -> Int { (kernel[axis] - 1) * dilations[axis] + 1 }

    /// The extents of the result.
    func outputExtents(_ input: [Int?], layer: LayerConfig) throws -> [Int?] {
        try (0..<2).map { axis in
            guard let extent = input[axis] else { return nil }
            let result =
                isSame
                ? (extent + strides[axis] - 1) / strides[axis] : (extent - reach(axis)) / strides[axis] + 1
            guard result > 0, isSame || extent >= reach(axis) else {
                throw layer.malformed("kernel_size", expected: "a window that fits the input of \(extent)")
            }
            return result
        }
    }

    /// The attributes of an ONNX node: `kernel_shape`, `strides`, `dilations` and the padding.
    ///
    /// Keras pads `same` so that the result has `ceil(n / stride)` elements, with the odd one at the end: explicit
    /// where the extents are known, `SAME_UPPER` otherwise.
    func attributes(_ input: [Int?]) -> Attributes {
        var attributes: Attributes = [
            "kernel_shape": .ints(kernel), "strides": .ints(strides), "dilations": .ints(dilations),
        ]
        guard isSame else { return attributes }
        var pads = [0, 0, 0, 0]
        for axis in 0..<2 {
            guard let extent = input[axis] else {
                // With a stride of 1 the padding does not depend on the extent.
                guard strides == [1, 1] else {
                    attributes["auto_pad"] = .string("SAME_UPPER")
                    return attributes
                }
                (pads[axis], pads[axis + 2]) = ((reach(axis) - 1) / 2, reach(axis) / 2)
                continue
            }
            let output = (extent + strides[axis] - 1) / strides[axis]
            let total = max((output - 1) * strides[axis] + reach(axis) - extent, 0)
            (pads[axis], pads[axis + 2]) = (total / 2, total - total / 2)
        }
        if pads != [0, 0, 0, 0] { attributes["pads"] = .ints(pads) }
        return attributes
    }
}

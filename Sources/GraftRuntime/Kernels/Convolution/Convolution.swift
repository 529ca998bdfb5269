import COneDNN
import GraftCore
import GraftIR

/// Conv and ConvTranspose through oneDNN, with bias, activation and residual addition in the same pass.
enum ConvolutionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("Conv", fuses: true, widens: true) { try ConvolutionKernel($0, transposed: false) },
            KernelDefinition("ConvTranspose", fuses: true, widens: true) {
                try ConvolutionKernel($0, transposed: true)
            },
        ]
    }
}

/// The shapes of one convolution.
struct ConvolutionShape: Equatable {
    /// The input of a convolution, (N, C, spatial...).
    var source: [Int]
    /// The weights as oneDNN sees them: (groups, outputs per group, inputs per group, kernel...), groups only where
    /// there are several.
    var weights: [Int]
    var target: [Int]
    var window: WindowGeometry

    /// The shapes of a Conv node.
    ///
    /// Source of the formulas: the Conv and ConvTranspose pages of the ONNX operator reference.
    static func forward(_ x: [Int], _ w: [Int], group: Int, _ attributes: WindowAttributes) throws -> ConvolutionShape {
        guard x.count >= 3, w.count == x.count, group >= 1, w[0] % group == 0, x[1] == w[1] * group else {
            throw KernelFailure("an input of shape \(x) does not fit weights of shape \(w) in \(group) groups")
        }
        let window = try attributes.geometry(Array(x[2...]), kernel: Array(w[2...]))
        let weights = group == 1 ? w : [group, w[0] / group] + w[1...]
        return ConvolutionShape(source: x, weights: weights, target: [x[0], w[0]] + window.output, window: window)
    }

    /// The shapes of a ConvTranspose node.
    static func transposed(
        _ x: [Int], _ w: [Int], group: Int, _ attributes: WindowAttributes, outputPadding: [Int]?, outputShape: [Int]?
    ) throws -> ConvolutionShape {
        let rank = x.count - 2
        guard rank >= 1, w.count == x.count, group >= 1, x[1] == w[0], w[0] % group == 0 else {
            throw KernelFailure("an input of shape \(x) does not fit weights of shape \(w) in \(group) groups")
        }
        let kernel = Array(w[2...])
        let strides = attributes.strides ?? Array(repeating: 1, count: rank)
        let dilations = attributes.dilations ?? Array(repeating: 1, count: rank)
        let pads = attributes.pads ?? Array(repeating: 0, count: 2 * rank)
        let extra = outputPadding ?? Array(repeating: 0, count: rank)
        guard strides.count == rank, dilations.count == rank, pads.count == 2 * rank, extra.count == rank,
            attributes.kernel.map({ $0 == kernel }) ?? true
        else { throw KernelFailure("strides, dilations, pads or output_padding do not fit") }
        var begin: [Int] = []
        var output: [Int] = []
        for axis in 0..<rank {
            let full = strides[axis] * (x[axis + 2] - 1) + extra[axis] + (kernel[axis] - 1) * dilations[axis] + 1
            if let wanted = outputShape, wanted.count >= rank {
                let size = wanted[wanted.count - rank + axis]
                // A result that is larger than what the window reaches ends with what no window adds to.
                let total = max(0, full - size)
                begin.append(attributes.autoPad == .sameUpper ? total / 2 : total - total / 2)
                output.append(size)
            } else if attributes.autoPad == .sameUpper || attributes.autoPad == .sameLower {
                let size = x[axis + 2] * strides[axis]
                // A result that is larger than what the window reaches ends with what no window adds to.
                let total = max(0, full - size)
                begin.append(attributes.autoPad == .sameUpper ? total / 2 : total - total / 2)
                output.append(size)
            } else {
                let isValid = attributes.autoPad == .valid
                begin.append(isValid ? 0 : pads[axis])
                output.append(full - (isValid ? 0 : pads[axis] + pads[axis + rank]))
            }
        }
        guard output.allSatisfy({ $0 > 0 }) else { throw KernelFailure("the result would have the size \(output)") }
        // The window slides over the output: a transposed convolution is the gradient of that convolution.
        let window = WindowGeometry(
            input: output, kernel: kernel, strides: strides, dilations: dilations, begin: begin,
            end: Array(repeating: 0, count: rank), output: Array(x[2...]))
        let channels = w[1] * group
        let weights = group == 1 ? [w[1], w[0]] + kernel : [group, w[1], w[0] / group] + kernel
        return ConvolutionShape(source: x, weights: weights, target: [x[0], channels] + output, window: window)
    }

    /// The layout that the file's weights have, in the order in which oneDNN names the axes.
    func storedWeights(_ type: ElementType, transposed: Bool) throws -> MemoryDescriptor {
        guard transposed else { return try .strided(type, weights) }
        var strides = RuntimeTensor.strides(weights, .rowMajor)
        let first = weights.count - source.count
        // The file keeps input channels before output channels.
        let kernel = weights[(first + 2)...].reduce(1, *)
        strides[first] = kernel
        strides[first + 1] = weights[first] * kernel
        return try .strided(type, weights, strides: strides)
    }
}

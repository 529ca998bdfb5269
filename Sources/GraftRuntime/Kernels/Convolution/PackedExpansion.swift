import CNumerics
import GraftCore

/// The weights of a 1 by 1 convolution in the order in which ``DepthwiseConvolution`` reads them.
struct PackedExpansion {
    let panels: [Range<Int>]
    private let weights: Buffer
    private let bias: Buffer
    private let channels: Int
    private let activation: cdepthwise_activation

    /// - Parameters:
    ///   - weights: (outputs, inputs, 1, 1), at any address.
    ///   - bias: a number for each output.
    ///   - rounds: whether the weights are rounded to bfloat16, for inputs that are.
    init(
        _ weights: RuntimeTensor, bias: [Float], _ activation: cdepthwise_activation, rounds: Bool, _ arena: Arena
    ) throws {
        let (outputs, inputs) = (weights.shape[0], weights.shape[1])
        let padded = (outputs + Layout.block - 1) / Layout.block * Layout.block
        (panels, channels, self.activation) = (DepthwiseConvolution.panels(outputs), inputs, activation)
        self.bias = try arena.allocate(4 * padded)
        self.weights = try arena.allocate(rounds ? 2 * padded * (inputs + inputs % 2) : 4 * padded * inputs)
        let starts = self.bias.pointer.assumingMemoryBound(to: Float.self)
        for output in 0..<padded { starts[output] = output < outputs ? bias[output] : 0 }
        let source = UnsafeRawPointer(weights.pointer)
        func weight(_ output: Int, _ input: Int) -> Float {
            guard output < outputs, input < inputs else { return 0 }
            return source.loadUnaligned(fromByteOffset: 4 * (output * inputs + input), as: Float.self)
        }
        if rounds {
            pack(inputs, step: 2, as: UInt16.self) { BFloat16.rounded(weight($0, $1).bitPattern) }
        } else {
            pack(inputs, step: 1, as: Float.self, weight)
        }
    }

    /// Writes panel by panel, and in each `step` inputs of an output beside each other.
    private func pack<T>(_ inputs: Int, step: Int, as type: T.Type, _ weight: (_ output: Int, _ input: Int) -> T) {
        let target = weights.pointer.assumingMemoryBound(to: T.self)
        var position = 0
        for panel in panels {
            for input in stride(from: 0, to: inputs, by: step) {
                for output in (panel.lowerBound * Layout.block)..<(panel.upperBound * Layout.block) {
                    for next in 0..<step {
                        target[position] = weight(output, input + next)
                        position += 1
                    }
                }
            }
        }
    }

    /// The weights and the bias of a panel; they live as long as this value.
    func part(_ panel: Int) -> cdepthwise_expansion {
        let first = panels[panel].lowerBound * Layout.block
        return cdepthwise_expansion(
            channels: channels, weights: weights.pointer.assumingMemoryBound(to: Float.self) + first * channels,
            bias: bias.pointer.assumingMemoryBound(to: Float.self) + first, activation: activation)
    }

    /// The rounded weights and the bias of a panel; they live as long as this value.
    func roundedPart(_ panel: Int) -> cdepthwise_rounded_expansion {
        let first = panels[panel].lowerBound * Layout.block
        return cdepthwise_rounded_expansion(
            channels: channels,
            weights: weights.pointer.assumingMemoryBound(to: UInt16.self) + first * (channels + channels % 2),
            bias: bias.pointer.assumingMemoryBound(to: Float.self) + first, activation: activation)
    }
}

import GraftCore
import GraftIR

/// BatchNormalization with the statistics of the batch, as ONNX defines it for training.
enum BatchStatistics {
    struct Settings: Sendable {
        let epsilon: Double
        let momentum: Double
        let opset: Int

        /// The settings of a node that asks for the statistics of the batch; nil for one that does not.
        init?(_ node: KernelNode) {
            let isTraining =
                node.opset >= 14
                ? node.attributes.int("training_mode") ?? 0 != 0
                : node.wants(1) && (node.opset >= 7 || node.attributes.int("is_test") ?? 0 == 0)
            guard isTraining else { return nil }
            epsilon = Double(node.attributes.float("epsilon") ?? 1e-5)
            momentum = Double(node.attributes.float("momentum") ?? 0.9)
            opset = node.opset
        }
    }

    /// Outputs Y, running mean and variance, and before opset 14 those of the batch.
    static func normalize(_ context: KernelContext, _ settings: Settings) throws {
        let batch = try BatchToNormalize(context)
        let (x, rows, channels) = (batch.x, batch.rows, batch.rows.channels)
        let (scale, shift, oldMean, oldVariance) = (batch.scale, batch.shift, batch.oldMean, batch.oldVariance)
        let (mean, variance) = try rows.moments(x, context)
        let kept = settings.momentum
        var (factor, offset) = (scale, shift)
        let results = try (1..<5).map { try context.output($0, .float32, [channels]).floats }
        for c in 0..<channels {
            results[0][c] = Float(Double(oldMean[c]) * kept + mean[c] * (1 - kept))
            results[1][c] = Float(Double(oldVariance[c]) * kept + variance[c] * (1 - kept))
            results[2][c] = Float(mean[c])
            results[3][c] = Float(variance[c])
            let inverse = 1 / (variance[c] + settings.epsilon).squareRoot()
            factor[c] = Float(Double(scale[c]) * inverse)
            offset[c] = Float(Double(shift[c]) - mean[c] * Double(scale[c]) * inverse)
        }
        let y = try context.output(0, .float32, x.shape, layout: x.layout)
        NormalizationKernels.affineChannels(x, y, factor, offset)
    }
}

/// The five inputs of a batch normalization that takes the statistics of its batch, checked.
struct BatchToNormalize {
    let x: RuntimeTensor
    let rows: ChannelRows
    let scale: [Float]
    let shift: [Float]
    let oldMean: [Float]
    let oldVariance: [Float]

    /// Reads inputs 0 to 4.
    ///
    /// - Throws: ``KernelFailure`` where they do not fit each other, or the batch is empty.
    init(_ context: KernelContext) throws {
        x = try ChannelRows.operand(context, 0)
        let rows = ChannelRows(x)
        self.rows = rows
        (scale, shift) = (try context.numbers(1), try context.numbers(2))
        (oldMean, oldVariance) = (try context.numbers(3), try context.numbers(4))
        guard [scale, shift, oldMean, oldVariance].allSatisfy({ $0.count == rows.channels }) else {
            throw KernelFailure("scale, B, mean and var do not fit \(rows.channels) channels")
        }
        guard rows.rows > 0 else { throw KernelFailure("an empty batch has no statistics") }
    }
}

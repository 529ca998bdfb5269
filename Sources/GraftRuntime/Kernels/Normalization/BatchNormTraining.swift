import GraftCore
import GraftIR

/// Batch normalisation with the statistics of the batch, and the gradients of both of its forms.
///
/// `BatchNormTraining(X, scale, B, mean, var; epsilon, momentum, unbiased) → (Y, mean, var, batch mean, 1 / deviation)`,
/// `BatchNormGrad(dY, X, scale, batch mean, 1 / deviation) → (dX, dScale, dB)` and
/// `BatchNormInferenceGrad(dY, X, scale, mean, var; epsilon) → (dX, dScale, dB)`.
/// Source of the formulas: S. Ioffe and C. Szegedy, "Batch Normalization" (2015), section 3.
enum BatchNormTrainingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "BatchNormTraining", domain: graftDomain, widens: true, prepare: { Settings($0) },
                run: { try forward($1, $0) }),
            .function(
                "BatchNormGrad", domain: graftDomain, widens: true, prepare: { $0.wants(0) },
                run: { wantsInput, context in try backward(context, wantsInput: wantsInput, epsilon: nil) }),
            .function(
                "BatchNormInferenceGrad", domain: graftDomain, widens: true,
                prepare: { ($0.wants(0), $0.attributes.float("epsilon") ?? 1e-5) },
                run: { settings, context in try backward(context, wantsInput: settings.0, epsilon: settings.1) }),
        ]
    }

    private struct Settings: Sendable {
        let epsilon: Float
        let momentum: Double
        let isUnbiased: Bool

        init(_ node: KernelNode) {
            epsilon = node.attributes.float("epsilon") ?? 1e-5
            momentum = Double(node.attributes.float("momentum") ?? 0.9)
            isUnbiased = node.attributes.int("unbiased") ?? 0 != 0
        }
    }

    private static func forward(_ context: KernelContext, _ settings: Settings) throws {
        let batch = try BatchToNormalize(context)
        let (x, rows, channels) = (batch.x, batch.rows, batch.rows.channels)
        let (scale, shift, oldMean, oldVariance) = (batch.scale, batch.shift, batch.oldMean, batch.oldVariance)
        let (mean, variance) = try rows.moments(x, context)
        let newMean = try context.output(1, .float32, [channels]).floats
        let newVariance = try context.output(2, .float32, [channels]).floats
        let savedMean = try context.output(3, .float32, [channels]).floats
        let savedInverse = try context.output(4, .float32, [channels]).floats
        let kept = settings.momentum
        let count = Double(rows.rows)
        let correction = settings.isUnbiased && count > 1 ? count / (count - 1) : 1
        var (factor, offset) = (scale, shift)
        for c in 0..<channels {
            newMean[c] = Float(Double(oldMean[c]) * kept + mean[c] * (1 - kept))
            newVariance[c] = Float(Double(oldVariance[c]) * kept + variance[c] * correction * (1 - kept))
            let inverse = 1 / (variance[c] + Double(settings.epsilon)).squareRoot()
            savedMean[c] = Float(mean[c])
            savedInverse[c] = Float(inverse)
            factor[c] = Float(Double(scale[c]) * inverse)
            offset[c] = Float(Double(shift[c]) - mean[c] * Double(scale[c]) * inverse)
        }
        let y = try context.output(0, .float32, x.shape, layout: x.layout)
        NormalizationKernels.affineChannels(x, y, factor, offset)
    }

    /// - Parameter epsilon: nil where the statistics are those of the batch and inputs 3 and 4 what the forward node saved.
    private static func backward(_ context: KernelContext, wantsInput: Bool, epsilon: Float?) throws {
        let dy = try ChannelRows.operand(context, 0)
        let x = try ChannelRows.operand(context, 1)
        let rows = ChannelRows(x)
        let (scale, mean) = (try context.numbers(2), try context.numbers(3))
        var inverse = try context.numbers(4)
        let channels = rows.channels
        guard dy.shape == x.shape, [scale, mean, inverse].allSatisfy({ $0.count == channels }) else {
            throw KernelFailure("a gradient of shape \(dy.shape) or statistics that do not fit \(x.shape)")
        }
        if let epsilon { inverse = inverse.map { 1 / ($0 + epsilon).squareRoot() } }
        let (sums, products) = try rows.products(dy, x, center: mean, context)
        let dScale = try context.output(1, .float32, [channels]).floats
        let dShift = try context.output(2, .float32, [channels]).floats
        // dX = a dY + b X + c for each channel.
        var a = scale
        var b = [Float](repeating: 0, count: channels)
        var c = b
        let count = Double(max(1, rows.rows))
        for i in 0..<channels {
            let wide = Double(inverse[i])
            let slope = products[i] * wide
            dScale[i] = Float(slope)
            dShift[i] = Float(sums[i])
            let factor = Double(scale[i]) * wide
            a[i] = Float(factor)
            if epsilon == nil {
                b[i] = Float(-factor * slope * wide / count)
                c[i] = Float(factor * (slope * wide * Double(mean[i]) - sums[i]) / count)
            }
        }
        guard wantsInput else { return }
        let dx = try context.output(0, .float32, x.shape, layout: x.layout)
        let (p, q, target) = (dy.floats, x.floats, dx.floats)
        a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
                c.withUnsafeBufferPointer { c in
                    rows.forEachRows { range in
                        for row in range {
                            let (p, q, out) = (p + row * channels, q + row * channels, target + row * channels)
                            if epsilon == nil {
                                for i in 0..<channels { out[i] = a[i] * p[i] + (b[i] * q[i] + c[i]) }
                            } else {
                                for i in 0..<channels { out[i] = a[i] * p[i] }
                            }
                        }
                    }
                }
            }
        }
    }
}

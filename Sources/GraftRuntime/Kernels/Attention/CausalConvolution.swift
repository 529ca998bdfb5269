import GraftCore
import GraftIR

/// CausalConvWithState: a convolution of each channel that looks back, with what it needs of the step before.
enum CausalConvolutionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "CausalConvWithState", opsets: 27...KernelRegistry.newestOpset, widens: true,
                prepare: { node in
                    let activation = node.attributes.string("activation") ?? "none"
                    guard ["none", "silu", "swish"].contains(activation) else {
                        throw KernelFailure("activation is \"\(activation)\"; it must be none, silu or swish")
                    }
                    return activation != "none"
                }, run: { try run($1, activates: $0) })
        ]
    }

    private static func run(_ context: KernelContext, activates: Bool) throws {
        let (x, w) = (try context.plain(0, .float32), try context.plain(1, .float32))
        guard x.rank == 3, w.rank == 3, w.shape[0] == x.shape[1], w.shape[1] == 1, w.shape[2] >= 1 else {
            throw KernelFailure("an input of shape \(x.shape) and a weight of shape \(w.shape)")
        }
        let (batch, channels, length, taps) = (x.shape[0], x.shape[1], x.shape[2], w.shape[2])
        let bias = context.has(2) ? try context.plain(2, .float32) : nil
        if let bias, bias.count != channels { throw KernelFailure("a bias of \(bias.count) for \(channels) channels") }
        let before = taps - 1
        let past = context.has(3) ? try context.plain(3, .float32) : nil
        if let past, past.shape != [batch, channels, before] {
            throw KernelFailure("past_state of shape \(past.shape) where \([batch, channels, before]) is needed")
        }
        let y = try context.output(0, .float32, x.shape)
        let next = try context.output(1, .float32, [batch, channels, before])
        let line = try context.temporary(.float32, [batch * channels, before + length])
        Parallel.forEachRange(batch * channels, grain: max(1, 16384 / max(1, (before + length) * taps))) { range in
            for plane in range {
                let padded = line.floats + plane * (before + length)
                if let past {
                    padded.update(from: past.floats + plane * before, count: before)
                } else {
                    padded.update(repeating: 0, count: before)
                }
                (padded + before).update(from: x.floats + plane * length, count: length)
                let channel = plane % channels
                let (out, weight) = (y.floats + plane * length, w.floats + channel * taps)
                out.update(repeating: bias?.floats[channel] ?? 0, count: length)
                for tap in 0..<taps {
                    let (factor, from) = (weight[tap], padded + tap)
                    for index in 0..<length { out[index] += factor * from[index] }
                }
                if activates {
                    for index in 0..<length { out[index] /= 1 + (-out[index]).exponential }
                }
                (next.floats + plane * before).update(from: padded + length, count: before)
            }
        }
    }
}

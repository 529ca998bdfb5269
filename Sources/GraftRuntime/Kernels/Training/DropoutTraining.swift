import GraftCore
import GraftIR

/// Dropout while training: `DropoutTraining(X, ratio, seed, step; stream) → (Y, mask)` and
/// `DropoutGrad(dY, mask, ratio) → dX`.
///
/// What is kept is a function of (seed, step, stream, position), so a resumed run drops the same elements. `stream` tells
/// several dropouts of a graph apart; without it the node's name does.
enum DropoutTrainingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "DropoutTraining", domain: graftDomain, isPure: false,
                prepare: { node in
                    node.attributes.int("stream").map { UInt64(bitPattern: Int64($0)) }
                        ?? CounterRandom.word(node.name)
                }, run: forward),
            .function("DropoutGrad", domain: graftDomain, run: backward),
        ]
    }

    /// How many elements one generator serves.
    private static let chunk = 4096

    private static func ratio(_ context: KernelContext, _ index: Int) throws -> Float {
        guard let ratio = try context.numbers(index).first, ratio >= 0, ratio < 1 else {
            throw KernelFailure("the share to drop must be at least 0 and below 1")
        }
        return ratio
    }

    private static func forward(_ stream: UInt64, _ context: KernelContext) throws {
        let ratio = try ratio(context, 1)
        guard let seed = try context.integers(2).first, let step = try context.integers(3).first else {
            throw KernelFailure("a seed and a step are needed")
        }
        let input = try context.plain(0, .float32)
        let mask = try context.output(1, .bool, input.shape).typed(UInt8.self)
        let result = try context.output(0, .float32, input.shape)
        let (x, y) = (input.floats, result.floats)
        let scale = 1 / (1 - ratio)
        let count = input.count
        Parallel.forEachRange((count + chunk - 1) / chunk) { chunks in
            for part in chunks {
                var generator = CounterRandom(
                    seed: UInt64(bitPattern: Int64(seed)), stream, UInt64(bitPattern: Int64(step)), UInt64(part))
                for index in (part * chunk)..<min(count, (part + 1) * chunk) {
                    let isKept = generator.uniform() >= ratio
                    mask[index] = isKept ? 1 : 0
                    y[index] = isKept ? x[index] * scale : 0
                }
            }
        }
    }

    private static func backward(_ context: KernelContext) throws {
        let ratio = try ratio(context, 2)
        let upstream = try context.plain(0, .float32)
        let mask = try context.plain(1, .bool)
        guard mask.shape == upstream.shape else {
            throw KernelFailure("a mask of shape \(mask.shape) does not fit a gradient of shape \(upstream.shape)")
        }
        let result = try context.output(0, .float32, upstream.shape)
        let (dy, kept, dx) = (upstream.floats, mask.typed(UInt8.self), result.floats)
        let scale = 1 / (1 - ratio)
        Parallel.forEachRange(upstream.count, grain: 32_768) { range in
            for index in range { dx[index] = kept[index] != 0 ? dy[index] * scale : 0 }
        }
    }
}

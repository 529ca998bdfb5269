import GraftCore
import GraftIR

/// LRN.
enum LocalResponseKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [KernelDefinition("LRN", widens: true) { LocalResponseKernel($0) }]
    }
}

/// Local response normalization across channels.
final class LocalResponseKernel: Kernel {
    private let size: Int
    private let (alpha, beta, bias): (Float, Float, Float)

    init(_ node: KernelNode) {
        size = node.attributes.int("size") ?? 1
        alpha = node.attributes.float("alpha") ?? 0.0001
        beta = node.attributes.float("beta") ?? 0.75
        bias = node.attributes.float("bias") ?? 1
    }

    func run(_ context: KernelContext) throws {
        let x = try context.channelsLast(0)
        guard x.elementType == .float32, size >= 1 else { throw KernelFailure("elements of \(x.elementType.name)") }
        let y = try context.output(0, .float32, x.shape, layout: .channelsLast)
        let channels = x.shape[1]
        let (before, after) = ((size - 1) / 2, size / 2)
        let (source, target) = (x.floats, y.floats)
        let (scale, beta, bias) = (alpha / Float(size), beta, bias)
        Parallel.forEachRange(x.count / max(1, channels), grain: max(1, 512 / max(1, channels))) { range in
            for row in range {
                let (from, to) = (source + row * channels, target + row * channels)
                for c in 0..<channels {
                    var sum: Float = 0
                    for other in max(0, c - before)...min(channels - 1, c + after) { sum += from[other] * from[other] }
                    let base = bias + scale * sum
                    to[c] =
                        from[c]
                        * (beta == 0.75
                            ? 1 / (base.squareRoot() * base.squareRoot().squareRoot())
                            : power(base, -beta))
                }
            }
        }
    }
}

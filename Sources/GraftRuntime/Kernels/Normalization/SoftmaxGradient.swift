import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// `SoftmaxGrad(dY, Y; axis) → dX = (dY - sum(dY Y)) Y` and
/// `LogSoftmaxGrad(dY, Y; axis) → dX = dY - exp(Y) sum(dY)`; sums are along the axis.
enum SoftmaxGradientKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "SoftmaxGrad", domain: graftDomain, widens: true, prepare: { $0.attributes.int("axis") ?? -1 },
                run: { try gradient($1, axis: $0, isLogarithmic: false) }),
            .function(
                "LogSoftmaxGrad", domain: graftDomain, widens: true, prepare: { $0.attributes.int("axis") ?? -1 },
                run: { try gradient($1, axis: $0, isLogarithmic: true) }),
        ]
    }

    private static func gradient(_ context: KernelContext, axis givenAxis: Int, isLogarithmic: Bool) throws {
        let layout = try context.matchLayouts(0, 1)
        let (dy, y) = (try context.input(0), try context.input(1))
        let dx = try context.output(0, .float32, y.shape, layout: layout)
        let (outer, length, inner) =
            y.shape.isEmpty ? (1, 1, 1) : y.around(try normalizedAxis(givenAxis, rank: y.rank))
        guard length > 0 else { return }
        let (p, q, target) = (dy.floats, y.floats, dx.floats)
        Parallel.forEachRange(outer, grain: max(1, 8192 / max(1, length * inner))) { rows in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: inner) { sums in
                for row in rows {
                    let start = row * length * inner
                    sums.update(repeating: 0)
                    for step in 0..<length {
                        let (p, q) = (p + start + step * inner, q + start + step * inner)
                        for i in 0..<inner { sums[i] += Double(isLogarithmic ? p[i] : p[i] * q[i]) }
                    }
                    for step in 0..<length {
                        let place = start + step * inner
                        let (p, q, out) = (p + place, q + place, target + place)
                        if isLogarithmic {
                            for i in 0..<inner { out[i] = p[i] - expf(q[i]) * Float(sums[i]) }
                        } else {
                            for i in 0..<inner { out[i] = (p[i] - Float(sums[i])) * q[i] }
                        }
                    }
                }
            }
        }
    }
}

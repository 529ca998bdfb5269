import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Softmax, LogSoftmax and Hardmax of float64.
enum WideSoftmax {
    enum Form { case softmax, logSoftmax, hardmax }

    static func run(_ context: KernelContext, _ form: Form, axis: Int, isFlattened: Bool) throws {
        let x = try context.plain(0, .float64)
        let y = try context.output(0, .float64, x.shape)
        let outer: Int
        var (length, inner) = (1, 1)
        if x.rank == 0 {
            outer = 1
        } else if isFlattened {
            let split = axis < 0 ? axis + x.rank : axis
            guard split >= 0, split <= x.rank else { throw KernelFailure("the axis \(axis)") }
            outer = x.shape[..<split].reduce(1, *)
            length = x.shape[split...].reduce(1, *)
        } else {
            (outer, length, inner) = x.around(try normalizedAxis(axis, rank: x.rank))
        }
        guard length > 0 else { return }
        let (source, target) = (x.typed(Double.self), y.typed(Double.self))
        let (size, step) = (length, inner)
        Parallel.forEachRange(outer * inner, grain: max(1, 1024 / size)) { range in
            for row in range {
                let start = row / step * size * step + row % step
                let (from, to) = (source + start, target + start)
                var best = 0
                for index in 1..<max(1, size) where from[index * step] > from[best * step] { best = index }
                let largest = from[best * step]
                if form == .hardmax {
                    for index in 0..<size { to[index * step] = index == best ? 1 : 0 }
                    continue
                }
                var sum = 0.0
                for index in 0..<size { sum += exp(from[index * step] - largest) }
                let logarithm = log(sum)
                for index in 0..<size {
                    let shifted = from[index * step] - largest
                    to[index * step] = form == .softmax ? exp(shifted) / sum : shifted - logarithm
                }
            }
        }
    }
}

import GraftCore
import GraftIR

/// The counterpart of broadcasting: `ReduceTo(x, like)` sums to the shape of `like`.
enum ReduceToKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("ReduceTo", domain: graftDomain) { context in
                try reduce(context, try context.plain(0), to: try context.input(1).shape, output: 0)
            }
        ]
    }

    /// Makes an output: a row-major tensor summed over the axes that `target` was broadcast along.
    static func reduce(
        _ context: KernelContext, _ source: RuntimeTensor, to target: [Int], output: Int
    ) throws {
        switch source.elementType {
        case .float32: try reduce(context, source, to: target, output, Float.self)
        case .float64: try reduce(context, source, to: target, output, Double.self)
        default: throw KernelFailure("sums of \(source.elementType.name) are not supported")
        }
    }

    /// Runs of neighbouring axes that are all repeated or all kept, outermost first.
    private struct Groups {
        var counts: [Int] = []
        var isKept: [Bool] = []

        /// The groups of a wide shape over a narrow one that broadcasts to it.
        init(wide: [Int], narrow: [Int]) throws {
            guard narrow.count <= wide.count else { throw KernelFailure("\(narrow) does not broadcast to \(wide)") }
            let padded = [Int](repeating: 1, count: wide.count - narrow.count) + narrow
            for (count, other) in zip(wide, padded) {
                guard count == other || other == 1 else {
                    throw KernelFailure("\(narrow) does not broadcast to \(wide)")
                }
                if count == 1 { continue }
                let kept = count == other
                if isKept.last == kept {
                    counts[counts.count - 1] *= count
                } else {
                    counts.append(count)
                    isKept.append(kept)
                }
            }
            if counts.isEmpty {
                counts = [1]
                isKept = [true]
            }
        }

        /// For each group the distance of neighbours in the narrow tensor; 0 for repeated ones.
        var narrowStrides: [Int] {
            var step = 1
            var result = [Int](repeating: 0, count: counts.count)
            for index in counts.indices.reversed() where isKept[index] {
                result[index] = step
                step *= counts[index]
            }
            return result
        }
    }

    private static func reduce<Number: BinaryFloatingPoint>(
        _ context: KernelContext, _ source: RuntimeTensor, to target: [Int], _ output: Int,
        _ type: Number.Type
    ) throws {
        if source.shape == target {
            context.set(output, source)
            return
        }
        let groups = try Groups(wide: source.shape, narrow: target)
        let result = try context.output(output, source.elementType, target)
        let (x, y) = (source.typed(Number.self), result.typed(Number.self))
        let sums = try context.temporary(.float64, [max(1, result.count)]).typed(Double.self)
        for index in 0..<result.count { sums[index] = 0 }
        let inner = groups.counts[groups.counts.count - 1]
        let isInnerKept = groups.isKept[groups.isKept.count - 1]
        let strides = groups.narrowStrides
        let rows = source.count / max(1, inner)
        let outer = Array(groups.counts.dropLast())
        // Where each row lands in the result, by counting through the outer groups.
        func place(_ row: Int) -> Int {
            var rest = row
            var offset = 0
            for index in outer.indices.reversed() {
                offset += rest % outer[index] * strides[index]
                rest /= outer[index]
            }
            return offset
        }
        if isInnerKept {
            // Columns are shared out, so every sum is made by one thread in one order.
            Parallel.forEachRange(inner, grain: max(16, 65_536 / max(1, rows))) { columns in
                for row in 0..<rows {
                    let (from, to) = (x + row * inner, sums + place(row))
                    for column in columns { to[column] += Double(from[column]) }
                }
            }
        } else if rows == result.count {
            Parallel.forEachRange(rows, grain: max(1, 16_384 / max(1, inner))) { range in
                for row in range {
                    let from = x + row * inner
                    var sum = 0.0
                    for column in 0..<inner { sum += Double(from[column]) }
                    sums[place(row)] = sum
                }
            }
        } else {
            let part = try context.temporary(.float64, [max(1, rows)]).typed(Double.self)
            Parallel.forEachRange(rows, grain: max(1, 16_384 / max(1, inner))) { range in
                for row in range {
                    let from = x + row * inner
                    var sum = 0.0
                    for column in 0..<inner { sum += Double(from[column]) }
                    part[row] = sum
                }
            }
            for row in 0..<rows { sums[place(row)] += part[row] }
        }
        for index in 0..<result.count { y[index] = Number(sums[index]) }
    }
}

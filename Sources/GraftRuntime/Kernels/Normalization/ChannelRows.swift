import GraftCore

/// A tensor (N, C, ...) as rows of channels, for statistics over everything but the channels.
///
/// Rows are taken in blocks that stay in the cache. Every block has results of its own, which are combined in the order
/// of the blocks in double precision: the result does not depend on the number of threads.
struct ChannelRows {
    /// The number of channels, the length of a row.
    let channels: Int
    /// The number of rows.
    let rows: Int
    private let blockRows: Int
    private let blocks: Int

    init(_ tensor: RuntimeTensor) {
        channels = tensor.shape[1]
        rows = channels > 0 ? tensor.count / channels : 0
        blockRows = max(4, 16384 / max(1, channels))
        blocks = (rows + blockRows - 1) / blockRows
    }

    /// An input of rank 2 or more with its channels varying fastest.
    static func operand(_ context: KernelContext, _ index: Int) throws -> RuntimeTensor {
        let tensor = try context.input(index)
        guard tensor.elementType == .float32, tensor.rank >= 2 else {
            throw KernelFailure("input \(index) is \(tensor.elementType.name) of shape \(tensor.shape)")
        }
        return tensor.rank == 2 ? tensor : try context.channelsLast(index)
    }

    /// Calls `body` with the rows of each block, in parallel.
    @inline(__always)
    private func forEachBlock(_ body: (_ block: Int, _ rows: Range<Int>) -> Void) {
        Parallel.forEachRange(blocks) { range in
            for block in range { body(block, (block * blockRows)..<min(rows, (block + 1) * blockRows)) }
        }
    }

    /// Calls `body` with ranges of rows, in parallel.
    @inline(__always)
    func forEachRows(_ body: (Range<Int>) -> Void) {
        Parallel.forEachRange(rows, grain: max(1, 8192 / max(1, channels)), body)
    }

    /// The sum of each channel.
    func sums(_ tensor: RuntimeTensor, _ context: KernelContext) throws -> [Double] {
        let (x, channels) = (tensor.floats, channels)
        let parts = try context.temporary(.float32, [max(1, blocks), channels]).floats
        forEachBlock { block, rows in Self.add(x, rows, channels, to: parts + block * channels) }
        var result = [Double](repeating: 0, count: channels)
        for block in 0..<blocks {
            for c in 0..<channels { result[c] += Double(parts[block * channels + c]) }
        }
        return result
    }

    /// The mean and the biased variance of each channel.
    ///
    /// Source of the way blocks combine: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    /// computing sample variances" (1979).
    func moments(_ tensor: RuntimeTensor, _ context: KernelContext) throws -> (mean: [Double], variance: [Double]) {
        let (x, channels) = (tensor.floats, channels)
        let means = try context.temporary(.float32, [max(1, blocks), channels]).floats
        let squares = try context.temporary(.float32, [max(1, blocks), channels]).floats
        forEachBlock { block, rows in
            let (mean, square) = (means + block * channels, squares + block * channels)
            Self.add(x, rows, channels, to: mean)
            let share = 1 / Float(rows.count)
            for c in 0..<channels { mean[c] *= share }
            square.update(repeating: 0, count: channels)
            for row in rows {
                let from = x + row * channels
                for c in 0..<channels {
                    let d = from[c] - mean[c]
                    square[c] += d * d
                }
            }
        }
        var mean = [Double](repeating: 0, count: channels)
        var square = [Double](repeating: 0, count: channels)
        var count = 0.0
        for block in 0..<blocks {
            let size = Double(min(rows, (block + 1) * blockRows) - block * blockRows)
            let total = count + size
            for c in 0..<channels {
                let delta = Double(means[block * channels + c]) - mean[c]
                mean[c] += delta * size / total
                square[c] += Double(squares[block * channels + c]) + delta * delta * count * size / total
            }
            count = total
        }
        return (mean, square.map { $0 / max(1, count) })
    }

    /// For each channel the sum of `a`, and the sum of `a (b - center)`.
    func products(
        _ a: RuntimeTensor, _ b: RuntimeTensor, center: [Float], _ context: KernelContext
    ) throws -> (sums: [Double], products: [Double]) {
        let (left, right, channels) = (a.floats, b.floats, channels)
        let sums = try context.temporary(.float32, [max(1, blocks), channels]).floats
        let products = try context.temporary(.float32, [max(1, blocks), channels]).floats
        center.withUnsafeBufferPointer { center in
            forEachBlock { block, rows in
                let (sum, product) = (sums + block * channels, products + block * channels)
                sum.update(repeating: 0, count: channels)
                product.update(repeating: 0, count: channels)
                for row in rows {
                    let (p, q) = (left + row * channels, right + row * channels)
                    for c in 0..<channels {
                        sum[c] += p[c]
                        product[c] += p[c] * (q[c] - center[c])
                    }
                }
            }
        }
        var (first, second) = ([Double](repeating: 0, count: channels), [Double](repeating: 0, count: channels))
        for block in 0..<blocks {
            for c in 0..<channels {
                first[c] += Double(sums[block * channels + c])
                second[c] += Double(products[block * channels + c])
            }
        }
        return (first, second)
    }

    /// Sets `target` to the sum of rows.
    @inline(__always)
    private static func add(
        _ x: UnsafePointer<Float>, _ rows: Range<Int>, _ channels: Int, to target: UnsafeMutablePointer<Float>
    ) {
        target.update(repeating: 0, count: channels)
        var row = rows.lowerBound
        while row + 4 <= rows.upperBound {
            let (a, b) = (x + row * channels, x + (row + 1) * channels)
            let (c, d) = (x + (row + 2) * channels, x + (row + 3) * channels)
            for i in 0..<channels { target[i] += (a[i] + b[i]) + (c[i] + d[i]) }
            row += 4
        }
        while row < rows.upperBound {
            let a = x + row * channels
            for i in 0..<channels { target[i] += a[i] }
            row += 1
        }
    }
}

import GraftCore

/// A rectangular block of elements somewhere in memory: where it starts and how far neighbours are apart.
struct StridedView {
    /// The first element, in elements from the pointer that it goes with.
    var offset: Int
    /// The distance between neighbours along each axis, in elements; 0 repeats, negative values walk backwards.
    var strides: [Int]

    init(offset: Int = 0, strides: [Int]) {
        self.offset = offset
        self.strides = strides
    }
}

/// Copies a block of elements of `width` bytes between two views, in parallel.
func copyStrided(
    width: Int, shape: [Int], from source: UnsafeRawPointer, _ sourceView: StridedView,
    to target: UnsafeMutableRawPointer, _ targetView: StridedView
) throws {
    switch width {
    case 1: copyTyped(UInt8.self, shape, source, sourceView, target, targetView)
    case 2: copyTyped(UInt16.self, shape, source, sourceView, target, targetView)
    case 4: copyTyped(UInt32.self, shape, source, sourceView, target, targetView)
    case 8: copyTyped(UInt64.self, shape, source, sourceView, target, targetView)
    case 16: copyTyped(SIMD2<UInt64>.self, shape, source, sourceView, target, targetView)
    default: throw KernelFailure("elements of \(width) bytes cannot be moved")
    }
}

private func copyTyped<T: BitwiseCopyable>(
    _ type: T.Type, _ shape: [Int], _ source: UnsafeRawPointer, _ sourceView: StridedView,
    _ target: UnsafeMutableRawPointer, _ targetView: StridedView
) {
    let count = shape.reduce(1, *)
    guard count > 0 else { return }
    // Merge axes that lie together on both sides, and drop those of length one.
    var lengths: [Int] = []
    var from: [Int] = []
    var to: [Int] = []
    for axis in shape.indices where shape[axis] != 1 {
        let (length, a, b) = (shape[axis], sourceView.strides[axis], targetView.strides[axis])
        if let last = lengths.indices.last, from[last] == a * length, to[last] == b * length {
            lengths[last] *= length
            from[last] = a
            to[last] = b
        } else {
            lengths.append(length)
            from.append(a)
            to.append(b)
        }
    }
    if lengths.isEmpty { (lengths, from, to) = ([1], [0], [0]) }
    let base = source.assumingMemoryBound(to: T.self) + sourceView.offset
    let out = target.assumingMemoryBound(to: T.self) + targetView.offset
    let last = lengths.count - 1
    let (inner, stepFrom, stepTo) = (lengths[last], from[last], to[last])

    // A plain transposition of matrices reads columns: tiles keep it in the cache.
    if last >= 1, stepTo == 1, from[last - 1] == 1, to[last - 1] == inner, stepFrom >= lengths[last - 1],
        stepFrom == lengths[last - 1], last == 1 || (last == 2 && from[0] == to[0] && to[0] == inner * lengths[1])
    {
        transposeMatrices(
            base, out, count: last == 2 ? lengths[0] : 1, rows: inner, columns: lengths[last - 1])
        return
    }
    let rows = count / inner
    let grain = max(1, 8192 / inner)
    let pieces = rows == 1 && inner > 65536 ? Parallel.threads : 1
    Parallel.forEachRange(rows * pieces, grain: pieces > 1 ? 1 : grain) { range in
        // The place in each outer axis is counted up from row to row: dividing for each row would cost as much as
        // copying a short one.
        var places = [Int](repeating: 0, count: max(last, 1))
        var (a, b) = (0, 0)
        var row = range.lowerBound / pieces
        for axis in (0..<last).reversed() {
            places[axis] = row % lengths[axis]
            row /= lengths[axis]
            a += places[axis] * from[axis]
            b += places[axis] * to[axis]
        }
        for index in range {
            let piece = pieces == 1 ? 0 : index % pieces
            defer {
                if piece == pieces - 1 {
                    var axis = last - 1
                    while axis >= 0 {
                        a += from[axis]
                        b += to[axis]
                        places[axis] += 1
                        if places[axis] < lengths[axis] { break }
                        a -= places[axis] * from[axis]
                        b -= places[axis] * to[axis]
                        places[axis] = 0
                        axis -= 1
                    }
                }
            }
            let (start, end) = (inner * piece / pieces, inner * (piece + 1) / pieces)
            var x = base + (a + start * stepFrom)
            var y = out + (b + start * stepTo)
            switch (stepFrom, stepTo) {
            case (1, 1): y.update(from: x, count: end - start)
            case (0, 1):
                let value = x.pointee
                y.update(repeating: value, count: end - start)
            default:
                for _ in start..<end {
                    y.pointee = x.pointee
                    x += stepFrom
                    y += stepTo
                }
            }
        }
    }
}

extension RuntimeTensor {
    /// The axes in the order in which they lie in memory, the outermost first.
    var memoryOrder: [Int] {
        layout == .channelsLast && rank >= 3 ? [0] + Array(2..<rank) + [1] : Array(0..<rank)
    }

    /// The lengths around an axis as they lie in memory: everything outside it, its own, everything inside it.
    func around(_ axis: Int) -> (outer: Int, length: Int, inner: Int) {
        let order = memoryOrder
        let position = order.firstIndex(of: axis) ?? 0
        return (
            order[..<position].reduce(1) { $0 * shape[$1] }, shape[axis],
            order[(position + 1)...].reduce(1) { $0 * shape[$1] }
        )
    }
}

/// The axis that a possibly negative number names.
func normalizedAxis(_ axis: Int, rank: Int) throws -> Int {
    let result = axis < 0 ? axis + rank : axis
    guard result >= 0, result < max(rank, 1) else {
        throw KernelFailure("the axis \(axis) does not fit a tensor with \(rank) axes")
    }
    return result
}

/// The axes that possibly negative numbers name, each once.
func normalizedAxes(_ axes: [Int], rank: Int) throws -> [Int] {
    let result = try axes.map { try normalizedAxis($0, rank: rank) }
    guard Set(result).count == result.count else { throw KernelFailure("the axes \(axes) name an axis twice") }
    return result
}

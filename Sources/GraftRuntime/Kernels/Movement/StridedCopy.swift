import CNumerics
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
///
/// - Parameter bytes: how much is moved in all, where the block is a part of it.
func copyStrided(
    width: Int, shape: [Int], from source: UnsafeRawPointer, _ sourceView: StridedView,
    to target: UnsafeMutableRawPointer, _ targetView: StridedView, of bytes: Int = 0
) throws {
    switch width {
    case 1: copyTyped(UInt8.self, shape, source, sourceView, target, targetView, bytes)
    case 2: copyTyped(UInt16.self, shape, source, sourceView, target, targetView, bytes)
    case 4: copyTyped(UInt32.self, shape, source, sourceView, target, targetView, bytes)
    case 8: copyTyped(UInt64.self, shape, source, sourceView, target, targetView, bytes)
    case 16: copyTyped(SIMD2<UInt64>.self, shape, source, sourceView, target, targetView, bytes)
    default: throw KernelFailure("elements of \(width) bytes cannot be moved")
    }
}

private func copyTyped<T: BitwiseCopyable>(
    _ type: T.Type, _ shape: [Int], _ source: UnsafeRawPointer, _ sourceView: StridedView,
    _ target: UnsafeMutableRawPointer, _ targetView: StridedView, _ bytes: Int
) {
    guard !shape.contains(0) else { return }
    let block = StridedBlock(shape, sourceView.strides, targetView.strides)
    let base = source.assumingMemoryBound(to: T.self) + sourceView.offset
    let out = target.assumingMemoryBound(to: T.self) + targetView.offset
    if let (rows, columns) = block.transposition {
        let rest = block.without(rows, columns)
        transposeMatrices(
            base, out, count: rest.count, rows: rows.length, columns: columns.length, sourceStride: rows.from,
            targetStride: columns.to
        ) { rest.offsets(of: $0) }
        return
    }
    let streams = Streaming.isWorthwhile(max(bytes, block.count * MemoryLayout<T>.size))
    // Rows that are written past the caches are read one after the other: where they go matters less.
    let (inner, outer) = (block.innermost, streams ? block.outerAsRead : block.outer)
    let rows = block.count / inner.length
    // Where there are few long rows, their parts are shared out.
    let isLong = rows < 2 * Parallel.threads && inner.length > 65536
    let pieces = isLong ? (inner.length + 65535) / 65536 : 1
    let piece = (inner.length + pieces - 1) / pieces
    Parallel.forEachRange(rows * pieces, grain: max(1, 8192 / piece)) { range in
        outer.forEachRun((range.lowerBound / pieces)..<((range.upperBound - 1) / pieces + 1)) { row, a, b, count in
            guard pieces == 1 else {
                for place in 0..<count {
                    let first = max(0, range.lowerBound - (row + place) * pieces) * piece
                    let end = min(inner.length, (range.upperBound - (row + place) * pieces) * piece)
                    guard first < end else { continue }
                    copyRows(
                        base + (a + place * outer.last.from + first * inner.from),
                        out + (b + place * outer.last.to + first * inner.to), inner, end - first, outer.last, 1, streams
                    )
                }
                return
            }
            copyRows(base + a, out + b, inner, inner.length, outer.last, count, streams)
        }
        Streaming.finish(streams)
    }
}

/// Copies `rows` rows of `length` elements each.
@inline(__always)
private func copyRows<T: BitwiseCopyable>(
    _ source: UnsafePointer<T>, _ target: UnsafeMutablePointer<T>, _ inner: StridedAxis, _ length: Int,
    _ outer: StridedAxis, _ rows: Int, _ streams: Bool
) {
    let width = MemoryLayout<T>.stride
    if inner.from == 1, inner.to == 1 {
        cmovement_copy_rows(
            source, outer.from * width, target, outer.to * width, length * width, rows, streams ? 1 : 0)
        return
    }
    for row in 0..<rows {
        let (x, y) = (source + row * outer.from, target + row * outer.to)
        switch (inner.from, inner.to) {
        case (0, 1): y.update(repeating: x.pointee, count: length)
        case (2, 1): for index in 0..<length { y[index] = x[2 * index] }
        case (1, 2): for index in 0..<length { y[2 * index] = x[index] }
        default: for index in 0..<length { y[index * inner.to] = x[index * inner.from] }
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

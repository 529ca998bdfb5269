/// An axis of a block of elements that is copied: its length, and how far neighbours are apart on both sides.
struct StridedAxis {
    var length: Int
    var from: Int
    var to: Int
}

/// The axes of a block of elements that is copied, in the order in which the elements are written.
///
/// Axes of length one are left out, and neighbours that lie together on both sides are one.
struct StridedBlock {
    /// The outermost first.
    private let axes: [StridedAxis]

    private init(axes: [StridedAxis]) { self.axes = axes }

    init(_ shape: [Int], _ from: [Int], _ to: [Int]) {
        let given = shape.indices.map { StridedAxis(length: shape[$0], from: from[$0], to: to[$0]) }
        let order = given.enumerated().filter { $0.element.length != 1 }.sorted {
            let (a, b) = (abs($0.element.to), abs($1.element.to))
            return a == b ? $0.offset < $1.offset : a > b
        }
        var merged: [StridedAxis] = []
        for (_, axis) in order {
            if let last = merged.last, last.from == axis.from * axis.length, last.to == axis.to * axis.length {
                merged[merged.count - 1] = StridedAxis(
                    length: last.length * axis.length, from: axis.from, to: axis.to)
            } else {
                merged.append(axis)
            }
        }
        // A loop over a few elements costs more than one that comes by the same lines again.
        if Self.transposition(merged) == nil, merged.count >= 2, let last = merged.last, last.length <= 8,
            last.to != 1 || last.from != 1, merged[merged.count - 2].length > last.length
        {
            merged.swapAt(merged.count - 1, merged.count - 2)
        }
        axes = merged
    }

    /// The number of elements.
    var count: Int { axes.reduce(1) { $0 * $1.length } }

    /// The axis of the innermost loop.
    var innermost: StridedAxis { axes.last ?? StridedAxis(length: 1, from: 1, to: 1) }

    /// The axes outside the innermost loop.
    var outer: StridedRows { StridedRows(Array(axes.dropLast())) }

    /// The same in the order in which the elements are read.
    var outerAsRead: StridedRows { StridedRows(axes.dropLast().sorted { abs($0.from) > abs($1.from) }) }

    /// The axes of a transposition within the block: one along which the result lies together and one along which the
    /// source does.
    ///
    /// Nil where there is none that would be worth it.
    var transposition: (rows: StridedAxis, columns: StridedAxis)? { Self.transposition(axes) }

    private static func transposition(_ axes: [StridedAxis]) -> (rows: StridedAxis, columns: StridedAxis)? {
        guard let rows = axes.last, rows.to == 1, rows.from > 1,
            let columns = axes.dropLast().last(where: { $0.from == 1 && $0.to > 0 }),
            rows.length * columns.length >= 64
        else { return nil }
        return (rows, columns)
    }

    /// The block of what is left without the axes of a transposition.
    func without(_ rows: StridedAxis, _ columns: StridedAxis) -> StridedRows {
        StridedRows(axes.dropLast().filter { $0.from != columns.from || $0.to != columns.to })
    }
}

/// Positions along several axes.
struct StridedRows {
    private let axes: [StridedAxis]
    /// The axis along which runs go.
    let last: StridedAxis

    init(_ axes: [StridedAxis]) {
        self.axes = axes
        last = axes.last ?? StridedAxis(length: 1, from: 0, to: 0)
    }

    /// The number of positions.
    var count: Int { axes.reduce(1) { $0 * $1.length } }

    /// Where a position is on both sides.
    func offsets(of position: Int) -> (Int, Int) {
        var (rest, a, b) = (position, 0, 0)
        for axis in axes.indices.reversed() {
            let index = rest % axes[axis].length
            rest /= axes[axis].length
            a += index * axes[axis].from
            b += index * axes[axis].to
        }
        return (a, b)
    }

    /// Calls `body` for runs of positions along the last axis: the first position, where it is on both sides, and the
    /// number of positions.
    @inline(__always)
    func forEachRun(_ range: Range<Int>, _ body: (_ position: Int, _ from: Int, _ to: Int, _ count: Int) -> Void) {
        let innermost = axes.count - 1
        withUnsafeTemporaryAllocation(of: Int.self, capacity: max(1, axes.count)) { places in
            axes.withUnsafeBufferPointer { axes in
                // The places are counted up from run to run: dividing for each would cost as much as copying a short one.
                var rest = range.lowerBound
                var (a, b) = (0, 0)
                for axis in axes.indices.reversed() {
                    places[axis] = rest % axes[axis].length
                    rest /= axes[axis].length
                    a += places[axis] * axes[axis].from
                    b += places[axis] * axes[axis].to
                }
                var position = range.lowerBound
                while position < range.upperBound {
                    guard innermost >= 0 else { return body(position, a, b, 1) }
                    let count = min(range.upperBound - position, axes[innermost].length - places[innermost])
                    body(position, a, b, count)
                    position += count
                    places[innermost] += count
                    a += count * axes[innermost].from
                    b += count * axes[innermost].to
                    var axis = innermost
                    while axis > 0, places[axis] == axes[axis].length {
                        places[axis] = 0
                        a += axes[axis - 1].from - axes[axis].length * axes[axis].from
                        b += axes[axis - 1].to - axes[axis].length * axes[axis].to
                        places[axis - 1] += 1
                        axis -= 1
                    }
                }
            }
        }
    }
}

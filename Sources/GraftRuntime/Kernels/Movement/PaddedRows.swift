import GraftCore

/// The rows of a tensor with a constant around it, each written once.
struct PaddedRows {
    private let source: UnsafeMutableRawPointer
    private let target: UnsafeMutableRawPointer
    private let count: Int
    /// The axes outside a row, as they lie in memory: their lengths, and where along them the source begins.
    private let lengths: [Int]
    private let begins: [Int]
    private let sourceLengths: [Int]
    private let sourceStrides: [Int]
    /// The length of a row, and the part of it that comes from the source.
    private let rowLength: Int
    private let inside: Range<Int>
    /// Where in a row of the source that part begins.
    private let first: Int

    /// - Parameter begin: for each axis how many elements are put before the source, or cut off it where negative.
    init(_ x: RuntimeTensor, _ y: RuntimeTensor, _ begin: [Int]) {
        // More than a whole length of padding, or cut off, makes no difference; unbounded it could overflow below.
        let begin = begin.indices.map { max(-x.shape[$0], min(y.shape[$0], begin[$0])) }
        let order = y.memoryOrder
        let own = x.strides
        (source, target, count) = (x.pointer, y.pointer, y.count)
        // A row takes in everything inside the last axis that changes.
        let split = order.lastIndex { x.shape[$0] != y.shape[$0] || begin[$0] != 0 } ?? 0
        let outer = order[..<split]
        let inner = order[split...].dropFirst().reduce(1) { $0 * y.shape[$1] }
        lengths = outer.map { y.shape[$0] }
        begins = outer.map { begin[$0] }
        sourceLengths = outer.map { x.shape[$0] }
        sourceStrides = outer.map { own[$0] }
        let axis = order.isEmpty ? nil : order[split]
        rowLength = (axis.map { y.shape[$0] } ?? 1) * inner
        let (start, length) = (axis.map { begin[$0] * inner } ?? 0, (axis.map { x.shape[$0] } ?? 1) * inner)
        let from = min(max(0, start), rowLength)
        inside = from..<max(from, min(rowLength, start + length))
        first = from - start
    }

    /// - Parameter value: what lies around the source; zeros where it is nil.
    func write<T: BitwiseCopyable>(_ type: T.Type, _ value: UnsafeMutableRawPointer?) {
        let (from, to) = (source.assumingMemoryBound(to: T.self), target.assumingMemoryBound(to: T.self))
        withUnsafeTemporaryAllocation(of: T.self, capacity: 1) { constant in
            guard let base = constant.baseAddress else { return }
            let raw = UnsafeMutableRawPointer(base)
            raw.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<T>.size)
            if let value { raw.copyMemory(from: value, byteCount: MemoryLayout<T>.size) }
            let around = base.pointee
            Streaming.forEachRange(count, into: to, isInPlace: false, unit: rowLength) { range, result in
                var row = range.lowerBound / rowLength
                var line = result
                for _ in 0..<(range.count / rowLength) {
                    if let offset = offset(of: row) {
                        line.update(repeating: around, count: inside.lowerBound)
                        (line + inside.lowerBound).update(from: from + (offset + first), count: inside.count)
                        (line + inside.upperBound).update(repeating: around, count: rowLength - inside.upperBound)
                    } else {
                        line.update(repeating: around, count: rowLength)
                    }
                    row += 1
                    line += rowLength
                }
            }
        }
    }

    /// Where the row of the source begins that lies in a row of the result; nil where none does.
    @inline(__always)
    private func offset(of row: Int) -> Int? {
        guard !inside.isEmpty else { return nil }
        var (rest, offset) = (row, 0)
        for axis in lengths.indices.reversed() {
            let place = rest % lengths[axis] - begins[axis]
            rest /= lengths[axis]
            guard place >= 0, place < sourceLengths[axis] else { return nil }
            offset += place * sourceStrides[axis]
        }
        return offset
    }
}

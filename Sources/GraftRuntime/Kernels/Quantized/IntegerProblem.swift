import GraftCore

/// The shapes of a product of two stacks of matrices.
struct IntegerProblem {
    let m: Int
    let k: Int
    let n: Int
    let stack: [Int]
    let result: [Int]
    let transA: Bool
    let transB: Bool
    /// Which matrices of either side meet, for each matrix of the result.
    let places: [(a: Int, b: Int)]
    /// The number of matrices on the right.
    let rightCount: Int
    /// Whether each matrix of the result has matrices of its own on both sides, in the same order.
    let isAligned: Bool

    init(_ x: RuntimeTensor, _ w: RuntimeTensor, transA: Bool, transB: Bool) throws {
        var (a, b) = (x.shape, w.shape)
        let failure = KernelFailure("shapes \(a) and \(b) cannot be multiplied")
        guard !a.isEmpty, !b.isEmpty, !(transA || transB) || (a.count == 2 && b.count == 2) else { throw failure }
        if a.count == 1 { a = [1] + a }
        if b.count == 1 { b += [1] }
        (m, k) = transA ? (a[1], a[0]) : (a[a.count - 2], a[a.count - 1])
        let depth = transB ? b[1] : b[b.count - 2]
        n = transB ? b[0] : b[b.count - 1]
        guard k == depth else { throw failure }
        (self.transA, self.transB) = (transA, transB)
        let (left, right) = (Array(a.dropLast(2)), Array(b.dropLast(2)))
        rightCount = right.reduce(1, *)
        isAligned = left == right
        let stack = try Broadcast.shape([left, right])
        self.stack = stack
        result = stack + (x.rank == 1 ? [] : [m]) + (w.rank == 1 ? [] : [n])
        let walk = Broadcast(
            [
                RuntimeTensor(.uint8, left, buffer: x.buffer), RuntimeTensor(.uint8, right, buffer: w.buffer),
            ], shape: stack, layout: .rowMajor)
        places = (0..<walk.count).map { position in
            let offsets = walk.offsets(of: position)
            return (offsets[0], offsets[1])
        }
    }

    /// Values that belong to the rows of the result: one for all, one for each row of a matrix, or one for each row.
    func rowValues<T>(_ values: [T]) throws -> (Int) -> T {
        let m = m
        switch values.count {
        case 1:
            let value = values[0]
            return { _ in value }
        case m: return { values[$0 % m] }
        case m * places.count: return { values[$0] }
        default: throw KernelFailure("\(values.count) scales or zero points for \(m) rows")
        }
    }

    /// Values that belong to the columns of the result, by row and column.
    func columnValues<T>(_ values: [T]) throws -> (Int, Int) -> T {
        let (m, n, places) = (m, n, places)
        switch values.count {
        case 1:
            let value = values[0]
            return { _, _ in value }
        case n: return { values[$1] }
        case n * rightCount: return { values[places[$0 / m].b * n + $1] }
        default: throw KernelFailure("\(values.count) scales or zero points for \(n) columns")
        }
    }
}

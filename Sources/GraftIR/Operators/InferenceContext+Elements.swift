import GraftCore

extension InferenceContext {
    /// Passes on known `int64` elements of the first input in another arrangement: shapes and paddings that exporters
    /// compute as matrices.
    ///
    /// - Parameters:
    ///   - counts: the shape of the result.
    ///   - offset: where the first element lies in the input.
    ///   - strides: how far the next element along each axis of the result lies.
    mutating func rearrange(_ counts: [Int], offset: Int, strides: [Int]) {
        guard elementType(0) == .int64, let total = Checked.product(counts), total <= KnownContent.countLimit,
            let elements = content(0)?.integers
        else { return }
        var result: [Int64] = []
        var position = [Int](repeating: 0, count: counts.count)
        for _ in 0..<total {
            let index = zip(position, strides).reduce(offset) { $0 + $1.0 * $1.1 }
            guard elements.indices.contains(index) else { return }
            result.append(Int64(elements[index]))
            for axis in counts.indices.reversed() {
                position[axis] += 1
                if position[axis] < counts[axis] { break }
                position[axis] = 0
            }
        }
        setContent(.tensor(Tensor(result, shape: counts)))
    }

    /// How far the next element along each axis of a tensor lies.
    static func strides(_ counts: [Int]) -> [Int]? {
        guard let total = Checked.product(counts), total > 0 else { return nil }
        var result = [Int](repeating: 1, count: counts.count)
        for axis in counts.indices.dropLast().reversed() { result[axis] = result[axis + 1] * counts[axis + 1] }
        return result
    }
}

import GraftCore

/// Heads of rows in memory: where element (batch, head, row, 0) lies; the elements of a row lie together.
struct HeadRows {
    let tensor: RuntimeTensor
    let batchStride: Int
    let headStride: Int
    let rowStride: Int

    /// A tensor of shape (batch, heads, rows, size).
    init(_ tensor: RuntimeTensor) throws {
        guard tensor.rank == 4 else { throw KernelFailure("a tensor of shape \(tensor.shape) where 4 axes are needed") }
        self.tensor = tensor
        rowStride = tensor.shape[3]
        // A tensor without elements may have any extents.
        headStride = tensor.shape[2] &* rowStride
        batchStride = tensor.shape[1] &* headStride
    }

    /// Heads inside the rows of a tensor of shape (batch, rows, width), from an element of the row on.
    init(_ tensor: RuntimeTensor, rows: Int, width: Int, size: Int, from start: Int = 0) {
        self.tensor = tensor.part(startingAt: start, [])
        rowStride = width
        headStride = size
        batchStride = rows &* width
    }

    init(_ tensor: RuntimeTensor, batch: Int, head: Int, row: Int) {
        self.tensor = tensor
        (batchStride, headStride, rowStride) = (batch, head, row)
    }
}

/// One computation of attention: `softmax(cap(scale Q K') + bias) V` for each batch and head.
struct AttentionProblem {
    var batch: Int
    var queryHeads: Int
    var keyHeads: Int
    var queries: Int
    var keys: Int
    var size: Int
    var valueSize: Int
    var q: HeadRows
    var k: HeadRows
    var v: HeadRows
    var y: HeadRows
    var scale: Float
    var softcap: Float = 0
    var bias = AttentionBias()
    /// Where scores are copied to, a tensor of shape (batch, heads, queries, keys), and at which stage.
    var capture: (target: RuntimeTensor, stage: Stage)?
    /// Added to the scores as they are, also where they are infinite or not a number.
    var addends: [ScoreAddend] = []

    /// How far scores are when they are given out.
    enum Stage: Int {
        case product = 0
        case capped = 1
        case biased = 2
        case weights = 3
    }
}

/// Numbers that are added to scores, broadcast to (batch, heads, queries, keys).
struct ScoreAddend {
    private let tensor: RuntimeTensor
    private let strides: [Int]

    /// - Throws: ``KernelFailure`` where the tensor does not broadcast to the scores.
    init(_ tensor: RuntimeTensor, _ scores: [Int]) throws {
        guard tensor.rank <= 4, try Broadcast.shape([tensor.shape, scores]) == scores else {
            throw KernelFailure("a mask of shape \(tensor.shape) does not fit scores of shape \(scores)")
        }
        self.tensor = tensor
        let own = tensor.strides
        let missing = 4 - tensor.rank
        strides = (0..<4).map { $0 < missing || tensor.shape[$0 - missing] == 1 ? 0 : own[$0 - missing] }
    }

    /// Adds to the scores of one query.
    @inline(__always) func add(
        to scores: UnsafeMutablePointer<Float>, batch: Int, head: Int, query: Int, keys: Int
    ) {
        let from = tensor.floats + (batch * strides[0] + head * strides[1] + query * strides[2])
        if strides[3] == 0 {
            let number = from[0]
            for key in 0..<keys { scores[key] += number }
        } else {
            for key in 0..<keys { scores[key] += from[key] }
        }
    }
}

/// Which keys a query sees, and what is added to the scores.
struct AttentionBias {
    /// Added to the scores, broadcast to (batch, heads, queries, keys); keys after the last are not seen.
    var mask: Mask?
    /// Whether a query sees no key after itself.
    var isCausal = false
    /// How many keys before itself and after itself a query sees; nil for all.
    var left: Int?
    var right: Int?
    /// How many keys precede the first query, for each sample.
    var offsets: [Int] = []
    /// How many keys there are, for each sample; all where empty.
    var lengths: [Int] = []

    struct Mask {
        let tensor: RuntimeTensor
        let batchStride: Int
        let headStride: Int
        let queryStride: Int
        /// How many keys the mask tells of.
        let count: Int

        /// A mask of numbers of the type of the scores, whose axes but the last broadcast.
        init(_ tensor: RuntimeTensor, _ full: [Int]) throws {
            guard tensor.rank >= 1, tensor.rank <= 4, tensor.shape[tensor.rank - 1] <= full[3] else {
                throw KernelFailure("a mask of shape \(tensor.shape) does not fit scores of shape \(full)")
            }
            let shape = Array(repeating: 1, count: 4 - tensor.rank) + tensor.shape
            for axis in 0..<3 where shape[axis] != 1 && shape[axis] != full[axis] {
                throw KernelFailure("a mask of shape \(tensor.shape) does not fit scores of shape \(full)")
            }
            self.tensor = tensor
            count = shape[3]
            queryStride = shape[2] == 1 ? 0 : count
            headStride = shape[1] == 1 ? 0 : shape[2] * count
            batchStride = shape[0] == 1 ? 0 : shape[1] * shape[2] * count
        }
    }

    /// Whether scores stay as they are.
    var isEmpty: Bool { mask == nil && !isCausal && left == nil && right == nil && lengths.isEmpty }

    /// The keys that a query may see, the mask aside.
    func range(batch: Int, query: Int, keys: Int) -> Range<Int> {
        let place = query + (offsets.isEmpty ? 0 : offsets[batch])
        var end = lengths.isEmpty ? keys : min(keys, max(0, lengths[batch]))
        if isCausal { end = min(end, place + 1) }
        if let right { end = min(end, place + right + 1) }
        let start = left.map { max(0, place - $0) } ?? 0
        return start < end ? start..<end : 0..<0
    }

    /// Adds the bias to the scores of one query, and tells whether it sees any key.
    func apply<T: RealNumber>(
        _ scores: UnsafeMutablePointer<T>, batch: Int, head: Int, query: Int, keys: Int
    ) -> Bool {
        var range = range(batch: batch, query: query, keys: keys)
        var isSeen = !range.isEmpty
        if let mask {
            range = range.clamped(to: 0..<mask.count)
            let base = mask.tensor.typed(T.self)
            let from = base + (batch * mask.batchStride + head * mask.headStride + query * mask.queryStride)
            isSeen = false
            for index in range {
                let value = from[index]
                // What is masked stays masked whatever the score is, infinite or not a number.
                let isMasked = value == -.infinity
                scores[index] = isMasked ? -T.infinity : scores[index] + value
                isSeen = isSeen || !isMasked
            }
        }
        for index in 0..<range.lowerBound { scores[index] = -T.infinity }
        for index in range.upperBound..<keys { scores[index] = -T.infinity }
        return isSeen
    }
}

/// Writes rows of heads behind those of the past into a tensor of shape (batch, heads, past + added, size).
func appendRows(_ own: HeadRows, to past: RuntimeTensor?, added: Int, size: Int, into whole: RuntimeTensor) {
    let (batch, heads, total) = (whole.shape[0], whole.shape[1], whole.shape[2])
    let width = whole.elementType.byteWidth
    let pastBytes = (total - added) * size * width
    Parallel.forEachRange(batch * heads, grain: max(1, 32768 / max(1, total * size))) { range in
        for plane in range {
            let target = whole.pointer + plane * total * size * width
            if let past { target.copyMemory(from: past.pointer + plane * pastBytes, byteCount: pastBytes) }
            let start = plane / heads * own.batchStride + plane % heads * own.headStride
            for row in 0..<added {
                (target + pastBytes + row * size * width).copyMemory(
                    from: own.tensor.pointer + (start + row * own.rowStride) * width, byteCount: size * width)
            }
        }
    }
}

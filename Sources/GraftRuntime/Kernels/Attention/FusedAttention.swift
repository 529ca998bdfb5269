import GraftCore
import GraftIR

/// The attention that a plan recognizes in several nodes.
enum FusedAttentionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [KernelDefinition("FusedAttention", domain: graftDomain) { try FusedAttentionKernel($0) }]
    }
}

/// `FusedAttention(Q, K, V, masks...; scale, rows_first, parts)`: `softmax(scale Q K' + masks) V` of operands of rank 3 or 4.
///
/// The operands broadcast like those of the nodes that it stands for. Where `rows_first` says so for Q, K, V or the result,
/// its shape is (batch, rows, heads, size) instead of (batch, heads, rows, size). Where `parts` has a number that is not
/// negative for Q, K or V, the operand is that part of a tensor of shape (batch, rows, parts, heads, size).
final class FusedAttentionKernel: Kernel {
    private let core: AttentionCore
    private let scale: Float
    private let rowsFirst: [Bool]
    private let parts: [Int]

    init(_ node: KernelNode) throws {
        core = AttentionCore(allowsBF16: node.options.allowsBF16)
        scale = node.attributes.float("scale") ?? 1
        rowsFirst = (node.attributes.ints("rows_first") ?? [0, 0, 0, 0]).map { $0 != 0 }
        parts = node.attributes.ints("parts") ?? [-1, -1, -1]
        guard rowsFirst.count == 4, parts.count == 3 else {
            throw KernelFailure("rows_first and parts have \(rowsFirst.count) and \(parts.count) entries, not 4 and 3")
        }
    }

    func run(_ context: KernelContext) throws {
        var (q, k, v) = (try operand(0, context), try operand(1, context), try operand(2, context))
        let rank = q.rank
        guard k.rank == rank, v.rank == rank, k.size == q.size, v.rows == k.rows else {
            throw KernelFailure(
                "Q, K and V of shapes \(try context.input(0).shape), \(try context.input(1).shape) and "
                    + "\(try context.input(2).shape) do not fit")
        }
        let masks = try (3..<max(3, context.inputCount)).map { try context.plain($0, .float32) }
        let scores = try Broadcast.shape(
            [[q.batch, q.heads, q.rows, k.rows], [k.batch, k.heads, 1, 1], [v.batch, v.heads, 1, 1]]
                + masks.map(\.shape))
        guard scores.count == 4, scores[3] == k.rows, rank == 4 || scores[0] == 1 else {
            throw KernelFailure("masks of shapes \(masks.map(\.shape)) do not fit \(k.rows) keys")
        }
        let (batch, heads, queries) = (scores[0], scores[1], scores[2])
        if q.heads != heads || q.rows != queries { q = try q.expanded(heads: heads, rows: queries, context) }
        if k.heads != v.heads {
            k = try k.expanded(heads: heads, rows: k.rows, context)
            v = try v.expanded(heads: heads, rows: v.rows, context)
        }
        let shape = rowsFirst[3] ? [batch, queries, heads, v.size] : [batch, heads, queries, v.size]
        let y = try context.output(0, .float32, rank == 3 ? Array(shape.dropFirst()) : shape)
        var problem = AttentionProblem(
            batch: batch, queryHeads: heads, keyHeads: k.heads, queries: queries, keys: k.rows, size: q.size,
            valueSize: v.size, q: q.placed, k: k.placed, v: v.placed, y: try Heads(y, rowsFirst[3]).placed, scale: scale
        )
        problem.addends = try masks.map { try ScoreAddend($0, scores) }
        try core.run(problem, context)
    }

    private func operand(_ index: Int, _ context: KernelContext) throws -> Heads {
        let tensor = try context.plain(index, .float32)
        return parts[index] < 0 ? try Heads(tensor, rowsFirst[index]) : try Heads(tensor, part: parts[index])
    }

    /// An operand whose heads stand before or behind its rows.
    private struct Heads {
        /// How many axes the operand has for the nodes that attention stands for.
        let rank: Int
        let batch: Int
        let heads: Int
        let rows: Int
        let size: Int
        /// Where the rows lie; a single sample serves all.
        let placed: HeadRows

        init(_ tensor: RuntimeTensor, _ isRowsFirst: Bool) throws {
            guard tensor.rank == 4 || tensor.rank == 3 && !isRowsFirst else {
                throw KernelFailure("an operand of shape \(tensor.shape) where 4 axes are needed")
            }
            let shape = tensor.rank == 3 ? [1] + tensor.shape : tensor.shape
            rank = tensor.rank
            (batch, size) = (shape[0], shape[3])
            (heads, rows) = isRowsFirst ? (shape[2], shape[1]) : (shape[1], shape[2])
            let step = batch == 1 ? 0 : heads &* rows &* size
            placed =
                isRowsFirst
                ? HeadRows(tensor, batch: step, head: size, row: heads &* size)
                : HeadRows(tensor, batch: step, head: rows &* size, row: size)
        }

        /// One part of a tensor of shape (batch, rows, parts, heads, size).
        init(_ tensor: RuntimeTensor, part: Int) throws {
            guard tensor.rank == 5, part < tensor.shape[2] else {
                throw KernelFailure("no part \(part) of a tensor of shape \(tensor.shape)")
            }
            rank = 4
            (batch, rows, heads, size) = (tensor.shape[0], tensor.shape[1], tensor.shape[3], tensor.shape[4])
            let width = heads &* size
            let row = tensor.shape[2] &* width
            // A tensor without elements has nothing from which a part could start.
            let start = tensor.count == 0 ? 0 : part * width
            placed = HeadRows(
                tensor.part(startingAt: start, []), batch: batch == 1 ? 0 : rows &* row, head: size, row: row)
        }

        /// A copy in which single heads and rows are repeated.
        func expanded(heads newHeads: Int, rows newRows: Int, _ context: KernelContext) throws -> Heads {
            if newHeads == heads, newRows == rows { return self }
            let copy = try context.temporary(.float32, [batch, newHeads, newRows, size])
            let source = placed
            let (from, to) = (placed.tensor.floats, copy.floats)
            Parallel.forEachRange(batch * newHeads * newRows, grain: max(1, 16384 / max(1, size))) { range in
                for index in range {
                    let (plane, row) = (index / newRows, index % newRows)
                    let head = heads == 1 ? 0 : plane % newHeads
                    let start =
                        plane / newHeads * source.batchStride + head * source.headStride
                        + (rows == 1 ? 0 : row) * source.rowStride
                    (to + index * size).update(from: from + start, count: size)
                }
            }
            return try Heads(copy, false)
        }
    }
}

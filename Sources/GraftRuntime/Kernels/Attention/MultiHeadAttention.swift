import GraftCore
import GraftIR

/// MultiHeadAttention of onnxruntime's domain: attention of projected queries, keys and values.
final class MultiHeadAttentionKernel: Kernel {
    private let settings: ContributedAttentionSettings
    private let core: AttentionCore

    init(_ node: KernelNode) throws {
        settings = try ContributedAttentionSettings(node)
        core = AttentionCore(allowsBF16: node.options.allowsBF16)
        if node.has(8) || node.has(9) { throw KernelFailure("a cache that past and present share") }
        if node.wants(3) { throw KernelFailure("scores as an output") }
        if node.has(6) != node.has(7) { throw KernelFailure("past_key and past_value must be given together") }
    }

    /// Queries, keys or values: where they lie, how many, and the size of a head.
    private struct Operand {
        var rows: HeadRows
        let count: Int
        let size: Int
    }

    func run(_ context: KernelContext) throws {
        let heads = settings.heads
        let first = try context.plain(0, .float32)
        let batch = first.shape.first ?? 0
        let (q, k, v) = try operands(first, batch, context)
        guard k.size == q.size, k.count == v.count else {
            throw KernelFailure("heads of \(q.size) and \(k.size), \(k.count) keys and \(v.count) values")
        }
        let keys = try cached(k, past: 6, output: 1, batch, context)
        let values = try cached(v, past: 7, output: 2, batch, context)
        guard keys.past == values.past else { throw KernelFailure("past_key and past_value differ in length") }
        let total = keys.past + k.count
        let y = try context.output(0, .float32, [batch, q.count, heads * v.size])
        var problem = AttentionProblem(
            batch: batch, queryHeads: heads, keyHeads: heads, queries: q.count, keys: total, size: q.size,
            valueSize: v.size, q: q.rows, k: keys.rows, v: values.rows,
            y: HeadRows(y, rows: q.count, width: heads * v.size, size: v.size),
            scale: settings.scale ?? 1 / Float(max(1, q.size)).squareRoot())
        problem.bias.isCausal = settings.isCausal
        problem.bias.offsets = Array(repeating: keys.past, count: batch)
        problem.bias.mask = try settings.mask(padding: 4, bias: 5, [batch, heads, q.count, total], context)
        try core.run(problem, context)
    }

    private func operands(
        _ first: RuntimeTensor, _ batch: Int, _ context: KernelContext
    ) throws -> (Operand, Operand, Operand) {
        let bias = context.has(3) ? try context.plain(3, .float32) : nil
        if !context.has(1) {
            let parts = try packed(first, 3, batch)
            guard bias == nil else { throw KernelFailure("a bias with packed queries, keys and values") }
            return (parts[0], parts[1], parts[2])
        }
        let q = try operand(first, batch, bias, from: 0, context)
        let second = try context.plain(1, .float32)
        let width = settings.heads * q.size
        if !context.has(2) {
            let parts = try packed(second, 2, batch)
            guard bias == nil else { throw KernelFailure("a bias with packed keys and values") }
            return (q, parts[0], parts[1])
        }
        let third = try context.plain(2, .float32)
        // Keys and values that come as heads are from a cache and have their bias.
        let k = try operand(second, batch, second.rank == 3 ? bias : nil, from: width, context)
        let v = try operand(third, batch, third.rank == 3 ? bias : nil, from: 2 * width, context)
        return (q, k, v)
    }

    /// The parts of a tensor of shape (batch, rows, heads, parts, size).
    private func packed(_ tensor: RuntimeTensor, _ count: Int, _ batch: Int) throws -> [Operand] {
        guard tensor.rank == 5, tensor.shape[0] == batch, tensor.shape[2] == settings.heads, tensor.shape[3] == count
        else { throw KernelFailure("packed operands of shape \(tensor.shape)") }
        let (rows, size) = (tensor.shape[1], tensor.shape[4])
        let width = settings.heads * count * size
        return (0..<count).map { part in
            Operand(
                rows: HeadRows(
                    tensor.part(startingAt: part * size, []), batch: rows * width, head: count * size, row: width),
                count: rows, size: size)
        }
    }

    /// Rows of heads, or heads of rows, with a part of the bias added.
    private func operand(
        _ tensor: RuntimeTensor, _ batch: Int, _ bias: RuntimeTensor?, from start: Int, _ context: KernelContext
    ) throws -> Operand {
        let heads = settings.heads
        if tensor.rank == 4, tensor.shape[0] == batch, tensor.shape[1] == heads {
            return Operand(rows: try HeadRows(tensor), count: tensor.shape[2], size: tensor.shape[3])
        }
        guard tensor.rank == 3, tensor.shape[0] == batch, tensor.shape[2] % heads == 0, tensor.shape[2] > 0 else {
            throw KernelFailure("an operand of shape \(tensor.shape) for \(heads) heads")
        }
        let (rows, width) = (tensor.shape[1], tensor.shape[2])
        var own = tensor
        if let bias {
            own = try context.temporary(.float32, tensor.shape)
            own.floats.update(from: tensor.floats, count: tensor.count)
            try addRow(bias, from: start, to: own)
        }
        return Operand(
            rows: HeadRows(own, rows: rows, width: width, size: width / heads), count: rows, size: width / heads)
    }

    private func cached(
        _ operand: Operand, past input: Int, output: Int, _ batch: Int, _ context: KernelContext
    ) throws -> (rows: HeadRows, past: Int) {
        let isWanted = context.outputCount > output
        guard isWanted || context.has(input) else { return (operand.rows, 0) }
        let before = context.has(input) ? try context.plain(input, .float32) : nil
        if let before,
            before.rank != 4 || before.shape[0] != batch || before.shape[1] != settings.heads
                || before.shape[3] != operand.size
        {
            throw KernelFailure("a cache of shape \(before.shape) for heads of size \(operand.size)")
        }
        let past = before?.shape[2] ?? 0
        let whole = try context.output(output, .float32, [batch, settings.heads, past + operand.count, operand.size])
        appendRows(operand.rows, to: before, added: operand.count, size: operand.size, into: whole)
        return (try HeadRows(whole), past)
    }
}

import GraftCore
import GraftIR

/// GroupQueryAttention of onnxruntime's domain: causal attention with rotary positions and a cache.
enum GroupQueryAttentionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("GroupQueryAttention", domain: contributedDomain, widens: true) {
                try GroupQueryAttentionKernel($0)
            }
        ]
    }
}

final class GroupQueryAttentionKernel: Kernel {
    private let core: AttentionCore
    private let heads: Int
    private let groups: Int
    private let scale: Float?
    private let softcap: Float
    private let window: Int?
    private let isCausal: Bool
    private let rotates: Bool
    private let isInterleaved: Bool

    init(_ node: KernelNode) throws {
        core = AttentionCore(allowsBF16: node.options.allowsBF16)
        let attributes = node.attributes
        heads = attributes.int("num_heads") ?? 0
        groups = attributes.int("kv_num_heads") ?? 0
        guard heads > 0, groups > 0, heads % groups == 0, heads < 1 << 32 else {
            throw KernelFailure("\(heads) query heads and \(groups) key heads")
        }
        scale = attributes.float("scale").flatMap { $0 == 0 ? nil : $0 }
        softcap = attributes.float("softcap") ?? 0
        window = attributes.int("local_window_size").flatMap { $0 > 0 ? min($0, 1 << 40) : nil }
        isCausal = attributes.int("causal") ?? 1 != 0
        rotates = attributes.int("do_rotary") ?? 0 != 0
        isInterleaved = attributes.int("rotary_interleaved") ?? 0 != 0
        if attributes.int("smooth_softmax") ?? 0 > 0 || node.has(11) { throw KernelFailure("a sink of attention") }
        if node.has(12) || node.has(13) || attributes.int("kv_cache_bit_width") ?? 0 != 0 {
            throw KernelFailure("a quantised cache")
        }
        if node.has(14) || node.has(15) { throw KernelFailure("normalised queries and keys") }
        if attributes.int("sliding_window_cache") ?? 0 != 0 { throw KernelFailure("a cache that slides") }
        if node.wants(3) { throw KernelFailure("scores as an output") }
        if rotates, !node.has(7) || !node.has(8) { throw KernelFailure("rotary positions without their tables") }
    }

    func run(_ context: KernelContext) throws {
        let first = try context.plain(0, .float32)
        guard first.rank == 3, context.has(1) == context.has(2) else {
            throw KernelFailure("a query of shape \(first.shape)")
        }
        let isPacked = !context.has(1)
        let (batch, queries) = (first.shape[0], first.shape[1])
        let parts = isPacked ? heads + 2 * groups : heads
        guard first.shape[2] % parts == 0, first.shape[2] > 0 else {
            throw KernelFailure("rows of \(first.shape[2]) do not divide into \(parts) heads")
        }
        let size = first.shape[2] / parts
        func operand(_ index: Int, start: Int) throws -> HeadRows {
            if isPacked {
                return HeadRows(first, rows: queries, width: parts * size, size: size, from: start * size)
            }
            let tensor = try context.plain(index, .float32)
            guard tensor.shape == [batch, queries, groups * size] else {
                throw KernelFailure("keys or values of shape \(tensor.shape) for a query of shape \(first.shape)")
            }
            return HeadRows(tensor, rows: queries, width: groups * size, size: size)
        }
        var q = HeadRows(first, rows: queries, width: parts * size, size: size)
        var k = try operand(1, start: heads)
        let v = try operand(2, start: heads + groups)

        let lengths = try context.integers(5)
        guard lengths.count == batch, let total = try context.integers(6).first, total >= queries else {
            throw KernelFailure("\(lengths.count) lengths for a batch of \(batch), or a total that is too small")
        }
        let cache = try [3, 4].map { context.has($0) ? try context.plain($0, .float32) : nil }
        let capacity = cache[0]?.shape.dropFirst(2).first ?? 0
        for tensor in cache {
            if let tensor, tensor.shape != [batch, groups, capacity, size] {
                throw KernelFailure("a cache of shape \(tensor.shape) for \(groups) heads of size \(size)")
            }
        }
        let keys = max(capacity, total)
        // A prompt fills the cache from its start; later queries follow what is there.
        let past = lengths.map { queries == total ? 0 : min(max($0, -1), keys) + 1 - queries }
        guard past.allSatisfy({ $0 >= 0 && $0 + queries <= keys && $0 <= max(capacity, 0) }) else {
            throw KernelFailure("lengths \(lengths.prefix(8)) do not fit a cache of \(capacity) and \(queries) queries")
        }
        if rotates { (q, k) = try rotated(q, k, past, batch, queries, size, context) }
        let present = try [(k, cache[0], 1), (v, cache[1], 2)].map { rows, before, output in
            try HeadRows(cached(rows, before, past, queries, [batch, groups, keys, size], output, context))
        }
        let y = try context.output(0, .float32, [batch, queries, heads * size])
        var problem = AttentionProblem(
            batch: batch, queryHeads: heads, keyHeads: groups, queries: queries, keys: keys, size: size,
            valueSize: size, q: q, k: present[0], v: present[1],
            y: HeadRows(y, rows: queries, width: heads * size, size: size),
            scale: scale ?? 1 / Float(size).squareRoot(), softcap: softcap)
        problem.bias.isCausal = isCausal
        problem.bias.left = window.map { $0 - 1 }
        problem.bias.offsets = past
        problem.bias.lengths = past.map { $0 + queries }
        if context.has(10) {
            problem.bias.mask = try AttentionBias.Mask(
                try context.plain(10, .float32), [batch, heads, queries, keys])
        }
        try core.run(problem, context)
    }

    private func rotated(
        _ q: HeadRows, _ k: HeadRows, _ past: [Int], _ batch: Int, _ queries: Int, _ size: Int,
        _ context: KernelContext
    ) throws -> (HeadRows, HeadRows) {
        let (cosines, sines) = (try context.plain(7, .float32), try context.plain(8, .float32))
        guard cosines.rank == 2, 2 * cosines.shape[1] <= size else {
            throw KernelFailure("tables of shape \(cosines.shape) for heads of size \(size)")
        }
        let positions =
            try context.optionalIntegers(9)
            ?? (0..<batch * queries).map { past[$0 / max(1, queries)] + $0 % max(1, queries) }
        let table = try RotaryTable(
            cosines, sines, positions: positions, batch: batch, length: queries, half: cosines.shape[1])
        return try (turn(q, heads), turn(k, groups))

        func turn(_ rows: HeadRows, _ count: Int) throws -> HeadRows {
            let turned = try context.temporary(.float32, [batch, queries, count * size])
            let target = HeadRows(turned, rows: queries, width: count * size, size: size)
            table.rotate(
                rows, target, batch: batch, heads: count, length: queries, size: size, isInterleaved: isInterleaved,
                sign: 1)
            return target
        }
    }

    /// The cache with the new rows behind what each sample has.
    private func cached(
        _ rows: HeadRows, _ before: RuntimeTensor?, _ past: [Int], _ added: Int, _ shape: [Int], _ output: Int,
        _ context: KernelContext
    ) throws -> RuntimeTensor {
        let whole = try context.output(output, .float32, shape)
        let (groups, keys, size) = (shape[1], shape[2], shape[3])
        let capacity = before?.shape[2] ?? 0
        Parallel.forEachRange(shape[0] * groups, grain: max(1, 32768 / max(1, keys * size))) { range in
            for plane in range {
                let (sample, head) = (plane / groups, plane % groups)
                let target = whole.floats + plane * keys * size
                target.update(repeating: 0, count: keys * size)
                if let before {
                    target.update(from: before.floats + plane * capacity * size, count: past[sample] * size)
                }
                for row in 0..<added {
                    (target + (past[sample] + row) * size).update(
                        from: rows.row(Float.self, sample, head, row), count: size)
                }
            }
        }
        return whole
    }
}

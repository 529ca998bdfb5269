import GraftCore
import GraftIR

/// Attention, MultiHeadAttention and RotaryEmbedding of onnxruntime's domain.
enum ContributedAttentionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("Attention", domain: contributedDomain, widens: true) { try PackedAttentionKernel($0) },
            KernelDefinition("MultiHeadAttention", domain: contributedDomain, widens: true) {
                try MultiHeadAttentionKernel($0)
            },
            .function(
                "RotaryEmbedding", domain: contributedDomain, widens: true, prepare: { try RotarySettings($0) },
                run: { try rotate($1, $0) }),
        ]
    }

    struct RotarySettings: Sendable {
        let heads: Int
        let width: Int
        let isInterleaved: Bool

        init(_ node: KernelNode) throws {
            heads = node.attributes.int("num_heads") ?? 0
            width = node.attributes.int("rotary_embedding_dim") ?? 0
            isInterleaved = node.attributes.int("interleaved") ?? 0 != 0
            if node.attributes.float("scale") ?? 1 != 1 { throw KernelFailure("a scale other than 1") }
            if node.attributes.int("is_packed_batching") ?? 0 != 0 { throw KernelFailure("packed batches") }
        }
    }

    private static func rotate(_ context: KernelContext, _ settings: RotarySettings) throws {
        let x = try context.plain(0, .float32)
        let (cosines, sines) = (try context.plain(2, .float32), try context.plain(3, .float32))
        guard x.rank == 3 || x.rank == 4, cosines.rank == 2 else {
            throw KernelFailure("an input of shape \(x.shape) and tables of shape \(cosines.shape)")
        }
        let half = cosines.shape[1]
        let isFlat = x.rank == 3
        let width = isFlat ? x.shape[2] : x.shape[3]
        let given = settings.heads > 0 ? settings.heads : width / max(1, 2 * half)
        let heads = isFlat ? given : x.shape[1]
        guard heads > 0, !isFlat || width % heads == 0 else {
            throw KernelFailure("\(heads) heads in rows of \(width)")
        }
        let size = isFlat ? width / heads : width
        guard 2 * half <= size, settings.width == 0 || settings.width == 2 * half else {
            throw KernelFailure("a rotation of \(2 * half) elements in heads of \(size)")
        }
        let (batch, length) = (x.shape[0], x.shape[isFlat ? 1 : 2])
        let table = try RotaryTable(
            cosines, sines, positions: try context.integers(1), batch: batch, length: length, half: half)
        let y = try context.output(0, .float32, x.shape)
        table.rotate(
            isFlat ? HeadRows(x, rows: length, width: width, size: size) : try HeadRows(x),
            isFlat ? HeadRows(y, rows: length, width: width, size: size) : try HeadRows(y), batch: batch, heads: heads,
            length: length, size: size, isInterleaved: settings.isInterleaved, sign: 1)
    }
}

/// What attention operators of onnxruntime's domain have in common.
struct ContributedAttentionSettings {
    let heads: Int
    let scale: Float?
    let filter: Float
    let isCausal: Bool

    init(_ node: KernelNode) throws {
        heads = node.attributes.int("num_heads") ?? 0
        guard heads > 0, heads < 1 << 32 else { throw KernelFailure("num_heads is \(heads)") }
        // Zero stands for the default.
        scale = node.attributes.float("scale").flatMap { $0 == 0 ? nil : $0 }
        filter = node.attributes.float("mask_filter_value") ?? -10000
        isCausal = node.attributes.int("unidirectional") ?? 0 != 0
    }

    /// The sum of a padding mask and a bias, either of which may be missing, for scores of a shape.
    func mask(
        padding: Int, bias: Int, _ full: [Int], _ context: KernelContext
    ) throws -> AttentionBias.Mask? {
        let own = context.has(padding) ? try paddingMask(context.plain(padding), full, context) : nil
        let given = context.has(bias) ? try context.plain(bias, .float32) : nil
        guard let own, let given else {
            return try (own ?? given).map { try AttentionBias.Mask($0, full) }
        }
        let (a, b) = (try AttentionBias.Mask(own, full), try AttentionBias.Mask(given, full))
        let sum = try context.temporary(.float32, full)
        let (queries, keys) = (full[2], full[3])
        guard b.count == keys, a.count == keys else {
            throw KernelFailure("a bias of shape \(given.shape) for scores of shape \(full)")
        }
        Parallel.forEachRange(full[0] * full[1] * queries, grain: max(1, 16384 / max(1, keys))) { range in
            for row in range {
                let (sample, head, query) = (row / queries / full[1], row / queries % full[1], row % queries)
                let x = a.tensor.floats + (sample * a.batchStride + head * a.headStride + query * a.queryStride)
                let y = b.tensor.floats + (sample * b.batchStride + head * b.headStride + query * b.queryStride)
                let to = sum.floats + row * keys
                for key in 0..<keys { to[key] = x[key] + y[key] }
            }
        }
        return try AttentionBias.Mask(sum, full)
    }

    /// Zero for keys that are seen, the filter value for others; from lengths, from ends and starts, or from a mask of
    /// zeros and ones.
    private func paddingMask(_ given: RuntimeTensor, _ full: [Int], _ context: KernelContext) throws -> RuntimeTensor {
        let (batch, queries, keys) = (full[0], full[2], full[3])
        let values = try context.numbers(of: given, as: Float.self, .float32)
        let rows = given.rank >= 3 ? queries : 1
        let mask = try context.temporary(.float32, [batch, 1, rows, keys])
        let isBounds = given.rank == 1 && [batch, 2 * batch, 3 * batch + 2].contains(given.count)
        let isSquare =
            given.rank == 4 && given.shape[0] == batch && given.shape[1] == 1 && given.shape[2] >= keys
            && given.shape[3] >= keys && keys >= queries
        guard isBounds || given.shape == [batch, keys] || given.shape == [batch, queries, keys] || isSquare else {
            throw KernelFailure("a mask of shape \(given.shape) for scores of shape \(full)")
        }
        for sample in 0..<batch {
            for row in 0..<rows {
                let to = mask.floats + (sample * rows + row) * keys
                if isBounds {
                    let end = values.floats[sample]
                    let start = given.count == 2 * batch ? values.floats[batch + sample] : 0
                    for key in 0..<keys { to[key] = Float(key) >= start && Float(key) < end ? 0 : filter }
                } else {
                    let from =
                        isSquare
                        ? values.floats + (sample * given.shape[2] + keys - queries + row) * given.shape[3]
                        : values.floats + (sample * rows + row) * keys
                    for key in 0..<keys { to[key] = from[key] > 0 ? 0 : filter }
                }
            }
        }
        return mask
    }
}

/// Self-attention with the projections of queries, keys and values inside.
final class PackedAttentionKernel: Kernel {
    private let settings: ContributedAttentionSettings
    private let sizes: [Int]?
    private let core: AttentionCore
    private let projection = GateProduct()

    init(_ node: KernelNode) throws {
        settings = try ContributedAttentionSettings(node)
        sizes = node.attributes.ints("qkv_hidden_sizes")
        core = AttentionCore(allowsBF16: node.options.allowsBF16)
        if node.attributes.int("do_rotary") ?? 0 != 0 { throw KernelFailure("rotary positions in Attention") }
        if node.has(6) { throw KernelFailure("a cache that past and present share") }
    }

    func run(_ context: KernelContext) throws {
        let (x, w) = (try context.plain(0, .float32), try context.plain(1, .float32))
        guard x.rank == 3, w.rank == 2, w.shape[0] == x.shape[2] else {
            throw KernelFailure("an input of shape \(x.shape) and weights of shape \(w.shape)")
        }
        let heads = settings.heads
        let widths = sizes ?? Array(repeating: w.shape[1] / 3, count: 3)
        guard widths.count == 3, widths.allSatisfy({ $0 > 0 && $0 % heads == 0 }), widths[0] == widths[1],
            widths.reduce(0, +) == w.shape[1]
        else { throw KernelFailure("sizes \(widths) for weights of shape \(w.shape) and \(heads) heads") }
        let (batch, length, width) = (x.shape[0], x.shape[1], w.shape[1])
        let (size, valueSize) = (widths[0] / heads, widths[2] / heads)
        let rows = try context.temporary(.float32, [batch, length, width])
        if rows.count > 0, x.shape[2] > 0 {
            try projection.prepare(
                w, byRow: true, version: context.version(1), rows: batch * length, as: Float.self, context)(
                    x.floats, rows.floats)
        }
        if context.has(2) { try addRow(try context.plain(2, .float32), to: rows) }
        func part(_ start: Int, _ size: Int) -> HeadRows {
            HeadRows(rows, rows: length, width: width, size: size, from: start)
        }
        var (k, v) = (part(widths[0], size), part(2 * widths[0], valueSize))
        var past = 0
        let cache = context.has(4) ? try context.plain(4, .float32) : nil
        if let cache {
            guard cache.rank == 5, cache.shape[0] == 2, cache.shape[1] == batch, cache.shape[2] == heads,
                cache.shape[4] == size, size == valueSize
            else { throw KernelFailure("a cache of shape \(cache.shape)") }
            past = cache.shape[3]
        }
        if cache != nil || context.outputCount > 1 {
            guard size == valueSize else { throw KernelFailure("a cache for keys and values of different sizes") }
            let present = try context.output(1, .float32, [2, batch, heads, past + length, size])
            let half = [batch, heads, past + length, size]
            let pastHalf = [batch, heads, past, size]
            for (index, rows) in [k, v].enumerated() {
                let whole = present.part(startingAt: index * present.count / 2, half)
                let before = cache.map { $0.part(startingAt: index * $0.count / 2, pastHalf) }
                appendRows(rows, to: before, added: length, size: size, into: whole)
                if index == 0 { k = try HeadRows(whole) } else { v = try HeadRows(whole) }
            }
        }
        let y = try context.output(0, .float32, [batch, length, heads * valueSize])
        var problem = AttentionProblem(
            batch: batch, queryHeads: heads, keyHeads: heads, queries: length, keys: past + length, size: size,
            valueSize: valueSize, q: part(0, size), k: k, v: v,
            y: HeadRows(y, rows: length, width: heads * valueSize, size: valueSize),
            scale: settings.scale ?? 1 / Float(size).squareRoot())
        problem.bias.isCausal = settings.isCausal
        problem.bias.offsets = Array(repeating: past, count: batch)
        problem.bias.mask = try settings.mask(padding: 3, bias: 5, [batch, heads, length, past + length], context)
        try core.run(problem, context)
    }
}

/// Adds one row to all rows of a tensor.
func addRow(_ row: RuntimeTensor, from start: Int = 0, to tensor: RuntimeTensor) throws {
    let length = tensor.shape.last ?? 0
    guard length > 0, start >= 0, row.count >= start + length else {
        throw KernelFailure("a bias of \(row.count) for rows of \(length)")
    }
    let (from, to) = (row.floats + start, tensor.floats)
    Parallel.forEachRange(tensor.count / length, grain: max(1, 16384 / length)) { range in
        for index in range { for column in 0..<length { to[index * length + column] += from[column] } }
    }
}

import CNumerics
import COneDNN
import GraftCore

/// Attention whose scores never leave the cache: each thread takes some queries of a head, from the scores to the result,
/// and packs the head's keys and values for itself.
struct HeadAttention {
    private let precision: cattention_precision
    private let problem: AttentionProblem

    private static let rows = Int(CATTENTION_ROWS)
    /// The most words of packed keys and values that stay in a core's cache.
    private static let cacheWords = 3 << 16

    /// nil where the processor lacks the instructions, a head is too large for the cache, or it would be packed for too
    /// few queries.
    init?(_ problem: AttentionProblem, allowsBF16: Bool) {
        precision =
            allowsBF16 && gdnn_has_bf16() != 0 && cattention_is_available(CATTENTION_BFLOAT16) != 0
            ? CATTENTION_BFLOAT16 : CATTENTION_FLOAT32
        self.problem = problem
        guard cattention_is_available(precision) != 0, problem.capture == nil, problem.softcap == 0,
            let queries = Checked.product([problem.queries, problem.queryHeads / problem.keyHeads]), queries >= 16,
            let words = Checked.product([problem.keys, problem.size + problem.valueSize]), words <= Self.cacheWords
        else { return nil }
    }

    /// Where the parts of a thread's scratch memory start, in 32-bit words.
    private struct Scratch {
        let values: Int
        let queries: Int
        let scores: Int
        let count: Int
        /// From one row of scores to the next; a multiple of a vector.
        let step: Int

        init(_ p: AttentionProblem, _ precision: cattention_precision) {
            values = cattention_packed_count(precision, p.size, p.keys)
            queries = values + cattention_packed_count(precision, p.keys, p.valueSize)
            scores = queries + HeadAttention.rows * cattention_row_count(precision, p.size)
            step = (p.keys + 15) / 16 * 16
            count = (scores + HeadAttention.rows * step + 15) / 16 * 16
        }
    }

    func run(_ context: KernelContext) throws {
        let p = problem
        let scratch = Scratch(p, precision)
        let blocks = (p.queries + Self.rows - 1) / Self.rows
        let units = p.batch * p.queryHeads * blocks
        let workers = min(Parallel.threads, units)
        let memory = try context.temporary(.float32, [workers, scratch.count]).floats
        Parallel.forEachRange(workers) { range in
            for worker in range {
                let own = memory + worker * scratch.count
                var packed: (sample: Int, head: Int) = (-1, -1)
                for unit in (units * worker / workers)..<(units * (worker + 1) / workers) {
                    let (plane, first) = (unit / blocks, unit % blocks * Self.rows)
                    let (sample, head) = (plane / p.queryHeads, plane % p.queryHeads)
                    let keyHead = head / (p.queryHeads / p.keyHeads)
                    if packed != (sample, keyHead) {
                        pack(sample, keyHead, own, scratch)
                        packed = (sample, keyHead)
                    }
                    run(sample, head, first..<min(first + Self.rows, p.queries), own, scratch)
                }
            }
        }
    }

    private func pack(_ sample: Int, _ head: Int, _ own: UnsafeMutablePointer<Float>, _ scratch: Scratch) {
        let p = problem
        cattention_pack_columns(
            precision, p.k.tensor.floats + (sample * p.k.batchStride + head * p.k.headStride), p.k.rowStride, p.size,
            p.keys, own)
        cattention_pack_rows(
            precision, p.v.tensor.floats + (sample * p.v.batchStride + head * p.v.headStride), p.v.rowStride, p.keys,
            p.valueSize, own + scratch.values)
    }

    /// The results of some queries of a head, whose keys and values are packed.
    private func run(
        _ sample: Int, _ head: Int, _ queries: Range<Int>, _ own: UnsafeMutablePointer<Float>, _ scratch: Scratch
    ) {
        let (p, rows, step) = (problem, queries.count, scratch.step)
        let scores = own + scratch.scores
        let first =
            p.q.tensor.floats
            + (sample * p.q.batchStride + head * p.q.headStride + queries.lowerBound * p.q.rowStride)
        var (left, leftStride) = (UnsafePointer(first), p.q.rowStride)
        if precision == CATTENTION_BFLOAT16 {
            let converted = own + scratch.queries
            leftStride = cattention_row_count(precision, p.size)
            cattention_convert_rows(precision, first, p.q.rowStride, rows, p.size, converted, leftStride)
            left = UnsafePointer(converted)
        }
        let target =
            p.y.tensor.floats
            + (sample * p.y.batchStride + head * p.y.headStride + queries.lowerBound * p.y.rowStride)
        withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.rows) { factors in
            guard let factors = factors.baseAddress else { return }
            factors.initialize(repeating: p.scale, count: Self.rows)
            cattention_multiply(precision, left, leftStride, rows, p.size, own, p.keys, factors, scores, step)
            var unseen: UInt32 = 0
            for row in 0..<rows {
                let (line, query) = (scores + row * step, queries.lowerBound + row)
                for addend in p.addends { addend.add(to: line, batch: sample, head: head, query: query, keys: p.keys) }
                if !p.bias.isEmpty, !p.bias.apply(line, batch: sample, head: head, query: query, keys: p.keys) {
                    unseen |= 1 << UInt32(row)
                }
            }
            cattention_exponentials(scores, step, rows, p.keys, factors)
            cattention_convert_rows(precision, scores, step, rows, p.keys, scores, step)
            cattention_multiply(
                precision, scores, step, rows, p.keys, own + scratch.values, p.valueSize, factors, target,
                p.y.rowStride)
            for row in 0..<rows where unseen & 1 << UInt32(row) != 0 {
                (target + row * p.y.rowStride).update(repeating: 0, count: p.valueSize)
            }
        }
    }
}

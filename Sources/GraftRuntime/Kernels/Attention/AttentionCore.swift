import COneDNN
import GraftCore

/// Computes attention of 32-bit floating-point numbers: a head at a time where it fits a core's cache
/// (``HeadAttention``), else products and softmax by oneDNN over blocks of queries, bias in between.
final class AttentionCore {
    private var products: [(key: [Int], primitive: Primitive)] = []
    private var softmaxes: [(rows: Int, length: Int, primitive: Primitive)] = []
    private let tanh = ElementwiseRunner(Activation(GDNN_TANH))
    private var capping: (softcap: Float, down: ElementwiseRunner, up: ElementwiseRunner)?
    private let allowsBF16: Bool

    /// About how many scores are computed at once.
    private static let blockScores = 1 << 20

    init(allowsBF16: Bool) { self.allowsBF16 = allowsBF16 }

    func run(_ problem: AttentionProblem, _ context: KernelContext) throws {
        let p = problem
        guard p.batch > 0, p.queryHeads > 0, p.queries > 0, p.valueSize > 0 else { return }
        guard p.keyHeads > 0, p.queryHeads % p.keyHeads == 0 else {
            throw KernelFailure("\(p.queryHeads) query heads do not divide into \(p.keyHeads) key heads")
        }
        guard p.keys > 0, p.size > 0 else {
            try fillWithoutScores(p)
            return
        }
        if let heads = HeadAttention(p, allowsBF16: allowsBF16) { return try heads.run(context) }
        if try runTogether(p, context) { return }
        // Blocks of queries first, then of heads: rows of one head share its keys and values.
        let perQuery = p.queryHeads * p.keys
        let block = min(p.queries, max(64, Self.blockScores / max(1, perQuery)))
        let scores = try context.temporary(.float32, [p.queryHeads, block, p.keys])
        var dead = [Bool](repeating: false, count: p.queryHeads * block)
        for batch in 0..<p.batch {
            var first = 0
            while first < p.queries {
                let count = min(block, p.queries - first)
                try runBlock(p, batch: batch, first: first, count: count, scores.floats, &dead, context)
                first += count
            }
        }
    }

    /// Computes several samples at once where one alone is little work, as for attention within windows.
    ///
    /// - Returns: whether the samples could be put together.
    private func runTogether(_ p: AttentionProblem, _ context: KernelContext) throws -> Bool {
        guard p.batch > 1, p.queryHeads == p.keyHeads, p.bias.isEmpty, p.softcap == 0, p.capture == nil,
            [p.q, p.k, p.v, p.y].allSatisfy({ $0.batchStride > 0 }),
            let perSample = Checked.product([p.queryHeads, p.queries, p.keys]), perSample <= Self.blockScores / 2
        else { return false }
        let group = min(p.batch, Self.blockScores / perSample)
        let scores = try context.temporary(.float32, [group, p.queryHeads, p.queries, p.keys]).floats
        let place = HeadRows(
            p.y.tensor, batch: p.queryHeads * p.queries * p.keys, head: p.queries * p.keys, row: p.keys)
        for first in stride(from: 0, to: p.batch, by: group) {
            let count = min(group, p.batch - first)
            func start(_ rows: HeadRows) -> UnsafeMutableRawPointer {
                UnsafeMutableRawPointer(rows.tensor.floats + first * rows.batchStride)
            }
            let inner = try stackedProduct(
                [count, p.queryHeads, p.queries, p.size, p.keys], p.q, p.k, isTransposed: true, place, scale: p.scale)
            try inner.run(
                context.arena, (GDNN_ARG_SRC, start(p.q)), (GDNN_ARG_WEIGHTS, start(p.k)),
                (GDNN_ARG_DST, UnsafeMutableRawPointer(scores)))
            for addend in p.addends {
                for sample in 0..<count {
                    add(addend, p, first + sample, 0, p.queries, scores + sample * place.batchStride)
                }
            }
            try normalize(scores, rows: count * p.queryHeads * p.queries, length: p.keys, context)
            let outer = try stackedProduct(
                [count, p.queryHeads, p.queries, p.keys, p.valueSize], place, p.v, isTransposed: false, p.y, scale: 1)
            try outer.run(
                context.arena, (GDNN_ARG_SRC, UnsafeMutableRawPointer(scores)), (GDNN_ARG_WEIGHTS, start(p.v)),
                (GDNN_ARG_DST, start(p.y)))
        }
        return true
    }

    private func runBlock(
        _ p: AttentionProblem, batch: Int, first: Int, count: Int, _ scores: UnsafeMutablePointer<Float>,
        _ dead: inout [Bool], _ context: KernelContext
    ) throws {
        try multiplyKeys(p, batch: batch, first: first, count: count, scores, context)
        capture(.product, p, batch, first, count, scores)
        if p.softcap > 0 { try cap(scores, p.queryHeads * count * p.keys, p.softcap, context) }
        capture(.capped, p, batch, first, count, scores)
        for addend in p.addends { add(addend, p, batch, first, count, scores) }
        var hasDead = false
        if !p.bias.isEmpty {
            hasDead = addBias(p, batch, first, count, scores, &dead)
        }
        capture(.biased, p, batch, first, count, scores)
        if hasDead { clear(p, count, scores, dead) }
        try normalize(scores, rows: p.queryHeads * count, length: p.keys, context)
        if hasDead { clear(p, count, scores, dead) }
        capture(.weights, p, batch, first, count, scores)

        try multiplyValues(p, batch: batch, first: first, count: count, scores, context)
    }

    /// How the rows of a block are handed to a product.
    private struct Rows {
        /// How many products are needed: one, or one for each query head of a key head.
        let steps: Int
        let count: Int
        let queryStride: Int
        let outputStride: Int

        init(_ p: AttentionProblem, count: Int) {
            let groups = p.queryHeads / p.keyHeads
            // The query heads of one key head are rows of one matrix where they lie at the distance of rows.
            let isSingle = p.queries == 1
            let isFolded =
                groups == 1 || isSingle
                || (count == p.queries && p.q.headStride == p.queries * p.q.rowStride
                    && p.y.headStride == p.queries * p.y.rowStride)
            steps = isFolded ? 1 : groups
            self.count = isFolded ? groups * count : count
            queryStride = isSingle ? p.q.headStride : p.q.rowStride
            outputStride = isSingle ? p.y.headStride : p.y.rowStride
        }
    }

    /// Scores of a block of queries: the scaled products with all keys, (heads, count, keys).
    func multiplyKeys(
        _ p: AttentionProblem, batch: Int, first: Int, count: Int, _ scores: UnsafeMutablePointer<Float>,
        _ context: KernelContext
    ) throws {
        let (groups, rows, q, k) = (p.queryHeads / p.keyHeads, Rows(p, count: count), p.q, p.k)
        let inner = try product(
            p.keyHeads, rows.count, p.size, p.keys, a: (groups * q.headStride, rows.queryStride),
            b: (k.headStride, 1, k.rowStride), c: (groups * count * p.keys, p.keys), scale: p.scale)
        let start = q.tensor.floats + (batch * q.batchStride + first * q.rowStride)
        let keys = k.tensor.floats + batch * k.batchStride
        for step in 0..<rows.steps {
            try inner.run(
                context.arena, (GDNN_ARG_SRC, UnsafeMutableRawPointer(start + step * q.headStride)),
                (GDNN_ARG_WEIGHTS, UnsafeMutableRawPointer(keys)),
                (GDNN_ARG_DST, UnsafeMutableRawPointer(scores + step * count * p.keys)))
        }
    }

    /// The results of a block of queries: the products of weights with all values.
    func multiplyValues(
        _ p: AttentionProblem, batch: Int, first: Int, count: Int, _ weights: UnsafeMutablePointer<Float>,
        _ context: KernelContext
    ) throws {
        let (groups, rows, v, y) = (p.queryHeads / p.keyHeads, Rows(p, count: count), p.v, p.y)
        let outer = try product(
            p.keyHeads, rows.count, p.keys, p.valueSize, a: (groups * count * p.keys, p.keys),
            b: (v.headStride, v.rowStride, 1), c: (groups * y.headStride, rows.outputStride), scale: 1)
        let start = y.tensor.floats + (batch * y.batchStride + first * y.rowStride)
        let values = v.tensor.floats + batch * v.batchStride
        for step in 0..<rows.steps {
            try outer.run(
                context.arena, (GDNN_ARG_SRC, UnsafeMutableRawPointer(weights + step * count * p.keys)),
                (GDNN_ARG_WEIGHTS, UnsafeMutableRawPointer(values)),
                (GDNN_ARG_DST, UnsafeMutableRawPointer(start + step * y.headStride)))
        }
    }

    /// The softmax of rows, in place.
    func normalize(
        _ scores: UnsafeMutablePointer<Float>, rows: Int, length: Int, _ context: KernelContext
    ) throws {
        try softmax(rows, length).run(
            context.arena, (GDNN_ARG_SRC, UnsafeMutableRawPointer(scores)),
            (GDNN_ARG_DST, UnsafeMutableRawPointer(scores)))
    }

    /// Scores that a hyperbolic tangent keeps between the negative cap and the cap.
    private func cap(
        _ scores: UnsafeMutablePointer<Float>, _ count: Int, _ softcap: Float, _ context: KernelContext
    ) throws {
        if capping?.softcap != softcap {
            capping = (
                softcap, ElementwiseRunner(Activation(GDNN_LINEAR, alpha: 1 / softcap)),
                ElementwiseRunner(Activation(GDNN_LINEAR, alpha: softcap))
            )
        }
        guard let capping else { return }
        for runner in [capping.down, tanh, capping.up] { try runner.run(scores, scores, count, context.arena) }
    }

    /// Adds the bias in parallel over rows, and notes the rows that see no key.
    private func addBias(
        _ p: AttentionProblem, _ batch: Int, _ first: Int, _ count: Int, _ scores: UnsafeMutablePointer<Float>,
        _ dead: inout [Bool]
    ) -> Bool {
        dead.withUnsafeMutableBufferPointer { dead in
            // Each thread writes the entries of its own rows.
            nonisolated(unsafe) let dead = dead
            Parallel.forEachRange(p.queryHeads * count, grain: max(1, 16384 / p.keys)) { range in
                for row in range {
                    let (head, query) = (row / count, first + row % count)
                    dead[row] = !p.bias.apply(
                        scores + row * p.keys, batch: batch, head: head, query: query, keys: p.keys)
                }
            }
        }
        return dead.prefix(p.queryHeads * count).contains(true)
    }

    private func add(
        _ addend: ScoreAddend, _ p: AttentionProblem, _ batch: Int, _ first: Int, _ count: Int,
        _ scores: UnsafeMutablePointer<Float>
    ) {
        Parallel.forEachRange(p.queryHeads * count, grain: max(1, 16384 / p.keys)) { range in
            for row in range {
                addend.add(
                    to: scores + row * p.keys, batch: batch, head: row / count, query: first + row % count,
                    keys: p.keys)
            }
        }
    }

    private func clear(_ p: AttentionProblem, _ count: Int, _ scores: UnsafeMutablePointer<Float>, _ dead: [Bool]) {
        for row in 0..<p.queryHeads * count where dead[row] {
            (scores + row * p.keys).update(repeating: 0, count: p.keys)
        }
    }

    private func capture(
        _ stage: AttentionProblem.Stage, _ p: AttentionProblem, _ batch: Int, _ first: Int, _ count: Int,
        _ scores: UnsafeMutablePointer<Float>
    ) {
        guard let capture = p.capture, capture.stage == stage else { return }
        for head in 0..<p.queryHeads {
            let target = capture.target.floats + ((batch * p.queryHeads + head) * p.queries + first) * p.keys
            target.update(from: scores + head * count * p.keys, count: count * p.keys)
        }
    }

    /// Without keys, or with keys of no elements, every query sees nothing or everything alike.
    private func fillWithoutScores(_ p: AttentionProblem) throws {
        guard p.keys == 0 else { throw KernelFailure("heads of size 0") }
        for batch in 0..<p.batch {
            for head in 0..<p.queryHeads {
                for query in 0..<p.queries {
                    let start = batch * p.y.batchStride + head * p.y.headStride + query * p.y.rowStride
                    (p.y.tensor.floats + start).update(repeating: 0, count: p.valueSize)
                }
            }
        }
    }

    // MARK: Primitives

    private func product(
        _ stack: Int, _ m: Int, _ k: Int, _ n: Int, a: (Int, Int), b: (Int, Int, Int), c: (Int, Int), scale: Float
    ) throws -> Primitive {
        let key = [stack, m, k, n, a.0, a.1, b.0, b.1, b.2, c.0, c.1, Int(scale.bitPattern)]
        if let found = products.first(where: { $0.key == key }) { return found.primitive }
        let left = try MemoryDescriptor.strided(.float32, [stack, m, k], strides: [a.0, a.1, 1])
        let right = try MemoryDescriptor.strided(.float32, [stack, k, n], strides: [b.0, b.1, b.2])
        let target = try MemoryDescriptor.strided(.float32, [stack, m, n], strides: [c.0, c.1, 1])
        return try makeProduct(left, right, target, scale: scale, key: key)
    }

    private func makeProduct(
        _ left: MemoryDescriptor, _ right: MemoryDescriptor, _ target: MemoryDescriptor, scale: Float, key: [Int]
    ) throws -> Primitive {
        let operations = scale == 1 ? [] : [PostOperation.activation(Activation(GDNN_LINEAR, alpha: scale))]
        let made = try withAttributes(operations, operand: nil, allowBF16: allowsBF16) { attributes in
            try Primitive.make { gdnn_matmul($0, left.handle, right.handle, nil, target.handle, attributes) }
        }
        guard let made else { throw KernelFailure("oneDNN has no product of stacked matrices of these sizes") }
        if products.count >= 32 { products.removeFirst() }
        products.append((key, made))
        return made
    }

    /// The products of matrices of rows: (samples, heads, m, k, n), with what lies where.
    private func stackedProduct(
        _ sizes: [Int], _ a: HeadRows, _ b: HeadRows, isTransposed: Bool, _ c: HeadRows, scale: Float
    ) throws -> Primitive {
        let operands = [a, b, c].map { [$0.batchStride, $0.headStride, $0.rowStride, 1] }
        let key = sizes + operands.flatMap { $0 } + [isTransposed ? 1 : 0, Int(scale.bitPattern)]
        if let found = products.first(where: { $0.key == key }) { return found.primitive }
        let (stack, m, k, n) = (Array(sizes.prefix(2)), sizes[2], sizes[3], sizes[4])
        var turned = operands[1]
        if isTransposed { turned.swapAt(2, 3) }
        let left = try MemoryDescriptor.strided(.float32, stack + [m, k], strides: operands[0])
        let right = try MemoryDescriptor.strided(.float32, stack + [k, n], strides: turned)
        let target = try MemoryDescriptor.strided(.float32, stack + [m, n], strides: operands[2])
        return try makeProduct(left, right, target, scale: scale, key: key)
    }

    private func softmax(_ rows: Int, _ length: Int) throws -> Primitive {
        if let found = softmaxes.first(where: { $0.rows == rows && $0.length == length }) { return found.primitive }
        let layout = try MemoryDescriptor.strided(.float32, [rows, length])
        let made = try Primitive.make {
            gdnn_softmax(
                $0, Int32(GDNN_FORWARD_INFERENCE.rawValue), Int32(GDNN_SOFTMAX.rawValue), layout.handle, layout.handle,
                1)
        }
        guard let made else { throw KernelFailure("oneDNN lacks softmax") }
        if softmaxes.count >= 16 { softmaxes.removeFirst() }
        softmaxes.append((rows, length, made))
        return made
    }
}

import GraftCore
import GraftIR

/// Attention of ONNX's own domain.
enum AttentionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("Attention", opsets: 23...KernelRegistry.newestOpset, widens: true) {
                try AttentionKernel($0)
            }
        ]
    }
}

/// Softmax attention with masks, windows, soft cap and caches.
///
/// Source of the semantics: Attention-23 to Attention-25 in ONNX's operator list; the causal frontier and windows are
/// aligned by the number of keys that precede the queries.
final class AttentionKernel: Kernel {
    private let core: AttentionCore
    private let queryHeads: Int?
    private let keyHeads: Int?
    private let scale: Float?
    private let softcap: Float
    private let isCausal: Bool
    private let left: Int?
    private let right: Int?
    private let stage: AttentionProblem.Stage?

    init(_ node: KernelNode) throws {
        core = AttentionCore(allowsBF16: node.options.allowsBF16)
        let attributes = node.attributes
        queryHeads = attributes.int("q_num_heads")
        keyHeads = attributes.int("kv_num_heads")
        scale = attributes.float("scale")
        softcap = attributes.float("softcap") ?? 0
        isCausal = attributes.int("is_causal") ?? 0 != 0
        left = try Self.window(attributes, "left_window_size", opset: node.opset)
        right = try Self.window(attributes, "right_window_size", opset: node.opset)
        let mode = attributes.int("qk_matmul_output_mode") ?? 0
        guard let stage = AttentionProblem.Stage(rawValue: mode) else {
            throw KernelFailure("qk_matmul_output_mode is \(mode); it must be 0 to 3")
        }
        self.stage = node.wants(3) ? stage : nil
        if node.has(4) != node.has(5) { throw KernelFailure("past_key and past_value must be given together") }
        if node.has(4), node.has(6) { throw KernelFailure("nonpad_kv_seqlen does not go with a cache of past keys") }
    }

    private static func window(_ attributes: Attributes, _ name: String, opset: Int) throws -> Int? {
        let size = opset < 25 ? -1 : attributes.int(name) ?? -1
        guard size >= -1 else { throw KernelFailure("\(name) is \(size); it must be -1 or more") }
        return size < 0 ? nil : min(size, 1 << 40)
    }

    func run(_ context: KernelContext) throws {
        let type = try context.input(0).elementType
        guard type == .float32 || type == .float64 else { throw KernelFailure("elements of type \(type.name)") }
        let (q, k, v) = (try context.plain(0, type), try context.plain(1, type), try context.plain(2, type))
        guard q.rank == k.rank, q.rank == v.rank, q.rank == 3 || q.rank == 4 else {
            throw KernelFailure("Q, K and V of shapes \(q.shape), \(k.shape) and \(v.shape)")
        }
        let isFlat = q.rank == 3
        let heads = isFlat ? queryHeads ?? 0 : q.shape[1]
        let groups = isFlat ? keyHeads ?? 0 : k.shape[1]
        guard heads > 0, groups > 0, heads % groups == 0 else {
            throw KernelFailure("\(heads) query heads and \(groups) key heads")
        }
        let last = q.rank - 1
        if isFlat {
            guard q.shape[2] % heads == 0, k.shape[2] % groups == 0, v.shape[2] % groups == 0 else {
                throw KernelFailure("rows of \(q.shape[2]), \(k.shape[2]) and \(v.shape[2]) do not divide into heads")
            }
        }
        let size = isFlat ? q.shape[2] / heads : q.shape[last]
        let keySize = isFlat ? k.shape[2] / groups : k.shape[last]
        let valueSize = isFlat ? v.shape[2] / groups : v.shape[last]
        let (batch, queries, added) = (q.shape[0], q.shape[last - 1], k.shape[last - 1])
        guard keySize == size, k.shape[0] == batch, v.shape[0] == batch, v.shape[last - 1] == added,
            isFlat || v.shape[1] == groups, let rowWidth = Checked.product([heads, valueSize])
        else { throw KernelFailure("Q, K and V of shapes \(q.shape), \(k.shape) and \(v.shape) do not fit") }

        let keyRows = try cache(k, past: 4, output: 1, batch, groups, added, size, context)
        let valueRows = try cache(v, past: 5, output: 2, batch, groups, added, valueSize, context)
        let (past, keys) = (keyRows.past, keyRows.past + added)
        guard valueRows.past == past else { throw KernelFailure("past_key and past_value differ in length") }

        let y = try context.output(
            0, type, isFlat ? [batch, queries, rowWidth] : [batch, heads, queries, valueSize])
        var problem = AttentionProblem(
            batch: batch, queryHeads: heads, keyHeads: groups, queries: queries, keys: keys, size: size,
            valueSize: valueSize,
            q: isFlat ? HeadRows(q, rows: queries, width: q.shape[2], size: size) : try HeadRows(q),
            k: keyRows.rows, v: valueRows.rows,
            y: isFlat ? HeadRows(y, rows: queries, width: rowWidth, size: valueSize) : try HeadRows(y),
            scale: scale ?? 1 / Float(max(1, size)).squareRoot(), softcap: softcap)
        problem.bias = try bias(batch, heads, queries, keys, past: past, type, context)
        if let stage {
            problem.capture = (try context.output(3, type, [batch, heads, queries, keys]), stage)
        }
        if type == .float64 { return try problem.attend(Double.self) }
        try core.run(problem, context)
    }

    private func bias(
        _ batch: Int, _ heads: Int, _ queries: Int, _ keys: Int, past: Int, _ type: ElementType,
        _ context: KernelContext
    ) throws -> AttentionBias {
        var bias = AttentionBias(isCausal: isCausal, left: left, right: right)
        bias.offsets = Array(repeating: past, count: batch)
        if context.has(3) {
            let given = try context.input(3)
            let mask =
                type == .float64
                ? try context.numbers(of: given, as: Double.self, type, isTrue: 0, isFalse: -.infinity)
                : try context.numbers(of: given, as: Float.self, type, isTrue: 0, isFalse: -.infinity)
            bias.mask = try AttentionBias.Mask(mask, [batch, heads, queries, keys])
        }
        if context.has(6) {
            let lengths = try context.integers(6)
            guard lengths.count == batch else {
                throw KernelFailure("nonpad_kv_seqlen has \(lengths.count) entries for a batch of \(batch)")
            }
            bias.lengths = lengths.map { min(max($0, 0), keys) }
            bias.offsets = bias.lengths.map { $0 - queries }
        }
        return bias
    }

    /// The rows of keys or values, behind those of the past where there are some; gives them out where wanted.
    private func cache(
        _ tensor: RuntimeTensor, past input: Int, output: Int, _ batch: Int, _ heads: Int, _ added: Int, _ size: Int,
        _ context: KernelContext
    ) throws -> (rows: HeadRows, past: Int) {
        let own =
            tensor.rank == 3
            ? HeadRows(tensor, rows: added, width: heads * size, size: size) : try HeadRows(tensor)
        let isWanted = context.outputCount > output
        guard context.has(input) || (isWanted && tensor.rank == 3) else {
            if isWanted { context.set(output, tensor) }
            return (own, 0)
        }
        let before = context.has(input) ? try context.plain(input, tensor.elementType) : nil
        if let before,
            before.rank != 4 || before.shape[0] != batch || before.shape[1] != heads || before.shape[3] != size
        {
            throw KernelFailure("a cache of shape \(before.shape) does not fit \(heads) heads of size \(size)")
        }
        let past = before?.shape[2] ?? 0
        let shape = [batch, heads, past + added, size]
        let whole =
            isWanted
            ? try context.output(output, tensor.elementType, shape)
            : try context.temporary(tensor.elementType, shape)
        appendRows(own, to: before, added: added, size: size, into: whole)
        return (try HeadRows(whole), past)
    }
}

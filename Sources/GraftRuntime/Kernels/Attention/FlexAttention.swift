import GraftCore
import GraftIR

/// FlexAttention: attention whose scores and weights pass through bodies of the node.
enum FlexAttentionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [KernelDefinition("FlexAttention", domain: "ai.onnx.preview", isPure: false) { try FlexAttentionKernel($0) }]
    }
}

final class FlexAttentionKernel: Kernel {
    private let core: AttentionCore
    private let scoreBody: BodyRunner?
    private let weightBody: BodyRunner?
    private let scale: Float?
    private let precision: ElementType?

    init(_ node: KernelNode) throws {
        core = AttentionCore(allowsBF16: node.options.allowsBF16)
        scoreBody = node.attributes["score_mod"] == nil ? nil : try node.body("score_mod")
        weightBody = node.attributes["prob_mod"] == nil ? nil : try node.body("prob_mod")
        scale = node.attributes.float("scale")
        precision = try node.attributes.int("softmax_precision").flatMap { code in
            guard code != 0 else { return nil }
            guard let narrow = Int32(exactly: code), let type = ElementType(rawValue: narrow),
                [.float32, .float64, .float16, .bfloat16].contains(type)
            else { throw KernelFailure("softmax_precision is \(code), which is no floating-point type") }
            return type
        }
        for body in [scoreBody, weightBody] {
            if let body, body.inputCount != 1 || body.outputCount != 1 {
                throw KernelFailure("a body takes \(body.inputCount) values and gives \(body.outputCount); each is one")
            }
        }
    }

    func run(_ context: KernelContext) throws {
        let type = try context.input(0).elementType
        if type == .float64 || precision == .float64 {
            try run(Double.self, .float64, type, context)
        } else {
            try run(Float.self, .float32, type, context)
        }
    }

    private func run<T: RealNumber>(
        _ kind: T.Type, _ elementType: ElementType, _ given: ElementType, _ context: KernelContext
    ) throws {
        let operands = try (0..<3).map { try context.numbers(of: context.input($0), as: kind, elementType) }
        let (q, k, v) = (operands[0], operands[1], operands[2])
        guard q.rank == 4, k.rank == 4, v.rank == 4, q.shape[0] == k.shape[0], k.shape[..<3] == v.shape[..<3],
            q.shape[3] == k.shape[3], k.shape[1] > 0, q.shape[1] % k.shape[1] == 0
        else { throw KernelFailure("Q, K and V of shapes \(q.shape), \(k.shape) and \(v.shape)") }
        let y = try context.temporary(elementType, Array(q.shape[..<3]) + [v.shape[3]])
        let problem = AttentionProblem(
            batch: q.shape[0], queryHeads: q.shape[1], keyHeads: k.shape[1], queries: q.shape[2], keys: k.shape[2],
            size: q.shape[3], valueSize: v.shape[3], q: try HeadRows(q), k: try HeadRows(k), v: try HeadRows(v),
            y: try HeadRows(y), scale: scale ?? 1 / Float(max(1, q.shape[3])).squareRoot())
        if scoreBody == nil, weightBody == nil, elementType == .float32 {
            try core.run(problem, context)
        } else if y.count > 0 {
            try runBodies(problem, kind, elementType, given, context)
        }
        context.set(0, try context.narrowed(y, given))
    }

    /// All scores at once, as the bodies see them.
    private func runBodies<T: RealNumber>(
        _ p: AttentionProblem, _ kind: T.Type, _ elementType: ElementType, _ given: ElementType,
        _ context: KernelContext
    ) throws {
        let shape = [p.batch, p.queryHeads, p.queries, p.keys]
        let isSingle = elementType == .float32 && p.size > 0 && p.keys > 0
        var scores = try context.temporary(elementType, shape)
        let plane = p.queryHeads * p.queries * p.keys
        if isSingle {
            for sample in 0..<p.batch {
                try core.multiplyKeys(
                    p, batch: sample, first: 0, count: p.queries, scores.floats + sample * plane, context)
            }
        } else {
            p.multiplyKeys(into: scores.typed(T.self))
        }
        let seen = precision ?? (given == .float64 ? .float64 : .float32)
        scores = try apply(scoreBody, scores, as: kind, elementType, seen, context)
        AttentionProblem.normalize(scores.typed(T.self), rows: p.batch * p.queryHeads * p.queries, length: p.keys)
        scores = try apply(weightBody, scores, as: kind, elementType, seen, context)
        if isSingle {
            for sample in 0..<p.batch {
                try core.multiplyValues(
                    p, batch: sample, first: 0, count: p.queries, scores.floats + sample * plane, context)
            }
        } else {
            p.multiplyValues(UnsafePointer(scores.typed(T.self)))
        }
    }

    /// What a body makes of the scores, in memory that may be written.
    private func apply<T: RealNumber>(
        _ body: BodyRunner?, _ scores: RuntimeTensor, as kind: T.Type, _ elementType: ElementType,
        _ seen: ElementType, _ context: KernelContext
    ) throws -> RuntimeTensor {
        guard let body else { return scores }
        var inputs: [RuntimeValue?] = [.tensor(try context.narrowed(scores, seen))]
        var results: [RuntimeValue?] = [nil]
        try body.begin(context)
        defer { body.end() }
        try body.run(&inputs, &results)
        guard case .tensor(let result)? = results[0], result.shape == scores.shape else {
            throw KernelFailure("a body gives no tensor of shape \(scores.shape)")
        }
        let numbers = try context.numbers(of: result, as: kind, elementType)
        let own = try context.temporary(elementType, scores.shape)
        own.pointer.copyMemory(from: numbers.pointer, byteCount: own.byteCount)
        return own
    }
}

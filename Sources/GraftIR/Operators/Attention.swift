import GraftCore

/// Attention, rotary positions, and the recurrences that stand in for attention.
enum Attention: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Attention", versions: [23, 24, 25], inputs: 3...7, outputs: 1...4, gradient: .rule(AttentionGradient.rule),
            cost: cost, inference: inferAttention),
        OperatorSchema(
            OperatorName("FlexAttention", domain: "ai.onnx.preview"), inputs: 3...3,
            gradient: .unsupported(reason: "attention with bodies of its own has no gradient rule"),
            inference: inferFlexAttention),
        OperatorSchema(
            "RotaryEmbedding", versions: [23], inputs: 3...4, gradient: .rule(rotaryGradient),
            inference: CommonInference.likeFirst),
        OperatorSchema(
            OperatorName("RotaryEmbeddingGrad", domain: graftDomain), inputs: 3...4,
            gradient: .unsupported(reason: "second derivatives are not computed"), inference: CommonInference.likeFirst),
        OperatorSchema(
            "LinearAttention", versions: [27], inputs: 3...6, outputs: 1...2,
            gradient: .unsupported(reason: "linear attention has no gradient rule"), inference: inferLinear),
        OperatorSchema(
            "CausalConvWithState", versions: [27], inputs: 2...4, outputs: 1...2,
            gradient: .unsupported(reason: "convolutions with a state have no gradient rule"),
            inference: inferCausalConvolution),
    ]

    /// The extent of `x` heads together divided by their number, where both are known.
    private static func perHead(_ extent: Extent, _ heads: Int?) -> Extent {
        guard let heads, heads > 0 else { return .unknown }
        return extent.floorDivided(by: .fixed(heads))
    }

    private static func inferAttention(_ context: inout InferenceContext) throws {
        let type = context.elementType(0)
        let valueType = context.elementType(2) ?? type
        guard let q = context.shape(0), let k = context.shape(1), let v = context.shape(2) else {
            return context.setTensor(type, nil)
        }
        guard q.rank == k.rank, q.rank == v.rank, q.rank == 3 || q.rank == 4 else {
            throw context.failure("Q, K and V of shapes \(q), \(k) and \(v) must all have rank 3 or all rank 4")
        }
        let (queryHeads, keyHeads) = (try context.reader.int("q_num_heads"), try context.reader.int("kv_num_heads"))
        let queries: Extent
        let (heads, groups): (Extent, Extent)
        let (size, valueSize, added): (Extent, Extent, Extent)
        if q.rank == 3 {
            (heads, groups) = (queryHeads.map { .fixed($0) } ?? .unknown, keyHeads.map { .fixed($0) } ?? .unknown)
            (queries, added) = (q[1].extent, k[1].extent)
            (size, valueSize) = (perHead(k[2].extent, keyHeads), perHead(v[2].extent, keyHeads))
            context.setTensor(type, SymbolicShape(extents: [q[0].extent, queries, heads * valueSize]))
        } else {
            (heads, groups, queries, added) = (q[1].extent, k[1].extent, q[2].extent, k[2].extent)
            (size, valueSize) = (k[3].extent, v[3].extent)
            context.setTensor(type, SymbolicShape(extents: [q[0].extent, heads, queries, valueSize]))
        }
        var total = added
        if context.has(4) {
            total = context.shape(4).flatMap { $0.rank == 4 ? $0[2].extent + added : nil } ?? .unknown
        }
        context.setTensor(type, SymbolicShape(extents: [q[0].extent, groups, total, size]), of: 1)
        context.setTensor(valueType, SymbolicShape(extents: [q[0].extent, groups, total, valueSize]), of: 2)
        context.setTensor(type, SymbolicShape(extents: [q[0].extent, heads, queries, total]), of: 3)
    }

    private static func inferFlexAttention(_ context: inout InferenceContext) throws {
        for (input, name) in ["Q", "K", "V"].enumerated() { try context.require(rank: 4, of: input, named: name) }
        guard let q = context.shape(0), let v = context.shape(2) else {
            return context.setTensor(context.elementType(0), nil)
        }
        context.setTensor(
            context.elementType(0), SymbolicShape(extents: Array(q.extents.dropLast()) + [v[3].extent]))
    }

    private static func inferLinear(_ context: inout InferenceContext) throws {
        for (input, name) in ["query", "key", "value"].enumerated() {
            try context.require(rank: 3, of: input, named: name)
        }
        let queryHeads = try context.reader.requiredInt("q_num_heads")
        let keyHeads = try context.reader.requiredInt("kv_num_heads")
        guard queryHeads > 0, keyHeads > 0, queryHeads % keyHeads == 0 else {
            throw context.failure("\(queryHeads) query heads do not divide into \(keyHeads) key heads")
        }
        guard let q = context.shape(0), let v = context.shape(2) else {
            return context.setTensor(context.elementType(0), nil)
        }
        let valueSize = perHead(v[2].extent, keyHeads)
        context.setTensor(
            context.elementType(0),
            SymbolicShape(extents: [q[0].extent, q[1].extent, valueSize * .fixed(queryHeads)]))
        let state = [q[0].extent, .fixed(keyHeads), perHead(q[2].extent, queryHeads), valueSize]
        context.setTensor(context.elementType(3) ?? context.elementType(0), SymbolicShape(extents: state), of: 1)
    }

    private static func inferCausalConvolution(_ context: inout InferenceContext) throws {
        try context.require(rank: 3, of: 0, named: "the input")
        try context.require(rank: 3, of: 1, named: "the weight")
        context.setLike(0)
        guard let x = context.shape(0), let w = context.shape(1) else { return }
        context.setTensor(
            context.elementType(0), SymbolicShape(extents: [x[0].extent, x[1].extent, w[2].extent - .fixed(1)]), of: 1)
    }

    /// The products of queries with keys, and of weights with values.
    private static func cost(_ node: Node, _ inputs: [[Int]?], _ outputs: [[Int]?]) -> Int? {
        guard inputs.count > 2, let q = inputs[0], let k = inputs[1], let y = outputs.first ?? nil, q.count == k.count,
            q.count >= 3, let first = Checked.product(q), let second = Checked.product(y)
        else { return nil }
        let keys = k[k.count - 2] + (inputs.count > 4 ? inputs[4].flatMap { $0.count == 4 ? $0[2] : nil } ?? 0 : 0)
        return Checked.sum(first, second).flatMap { Checked.product([$0, keys]) }
    }

    /// The rotation back: the gradient turned by the negative angles.
    private static func rotaryGradient(_ context: inout GradientContext) throws {
        guard !context.needs(1), !context.needs(2) else {
            throw context.failure("the tables of a rotary embedding have no gradient rule")
        }
        context.setByOperator(
            "RotaryEmbeddingGrad",
            [try context.requiredGradient(), context.input(1), context.input(2), context.input(3)],
            attributes: context.attributes)
    }
}

import GraftCore

/// The domain of the operators that onnxruntime's optimiser and exporters for it write.
public let contributedDomain = "com.microsoft"

/// Operators of onnxruntime's own domain that real exports contain.
///
/// Source of inputs, outputs and attributes: onnxruntime's ContribOperators.md.
enum Contributed: OperatorFamily {
    private static let reason = GradientRule.unsupported(reason: "onnxruntime's fused operators have no gradient rules")

    static let schemas: [OperatorSchema] = [
        contributed(
            "FusedMatMul", 2...2,
            inference: { context in
                context.setTensor(context.elementType(0), try fusedMatMulShape(context))
            }),
        contributed(
            "FusedGemm", 2...3,
            inference: { context in
                let (a, b) = (context.shape(0), context.shape(1))
                let rows = a.flatMap {
                    $0.rank == 2 ? $0[context.attributes.int("transA") ?? 0 != 0 ? 1 : 0].extent : nil
                }
                let columns = b.flatMap {
                    $0.rank == 2 ? $0[context.attributes.int("transB") ?? 0 != 0 ? 0 : 1].extent : nil
                }
                context.setTensor(
                    context.elementType(0), SymbolicShape(extents: [rows ?? .unknown, columns ?? .unknown]))
            }),
        contributed("FusedConv", 2...4, inference: inferConvolution),
        contributed("Gelu", 1...1, inference: CommonInference.likeFirst),
        contributed("BiasGelu", 2...2, inference: CommonInference.likeFirst),
        contributed("FastGelu", 1...2, inference: CommonInference.likeFirst),
        contributed("QuickGelu", 1...1, inference: CommonInference.likeFirst),
        contributed("BiasAdd", 3...3, inference: CommonInference.likeFirst),
        contributed(
            "BiasSplitGelu", 2...2,
            inference: { context in
                var shape = context.shape(0)?.plain
                if let last = shape.map({ $0.rank - 1 }), last >= 0, let extent = shape?[last].extent {
                    shape?[last].extent = extent.floorDivided(by: .fixed(2))
                }
                context.setTensor(context.elementType(0), shape)
            }),
        contributed("LayerNormalization", 2...3, outputs: 1...3, inference: inferRows),
        contributed("SimplifiedLayerNormalization", 2...2, outputs: 1...2, inference: inferRows),
        OperatorSchema(
            "SimplifiedLayerNormalization", inputs: 2...2, outputs: 1...2, gradient: reason, inference: inferRows),
        contributed("SkipLayerNormalization", 3...5, outputs: 1...4, inference: inferSkip),
        contributed("SkipSimplifiedLayerNormalization", 3...4, outputs: 1...4, inference: inferSkip),
        contributed("EmbedLayerNormalization", 7...9, outputs: 1...3, inference: inferEmbedding),
        contributed("Attention", 2...7, outputs: 1...2, inference: inferAttention),
        contributed("MultiHeadAttention", 1...10, outputs: 1...4, inference: inferMultiHead),
        contributed("GroupQueryAttention", 7...16, outputs: 1...4, inference: inferGroupQuery),
        contributed("RotaryEmbedding", 4...4, inference: CommonInference.likeFirst),
    ]

    private static func contributed(
        _ type: String, _ inputs: ClosedRange<Int>, outputs: ClosedRange<Int> = 1...1,
        inference: @escaping OperatorSchema.InferenceRule
    ) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type, domain: contributedDomain), inputs: inputs, outputs: outputs, gradient: reason,
            inference: inference)
    }

    private static func fusedMatMulShape(_ context: InferenceContext) throws -> SymbolicShape? {
        func operand(_ input: Int, _ name: String) -> SymbolicShape? {
            guard let shape = context.shape(input)?.plain, shape.rank >= 2 else { return context.shape(input)?.plain }
            guard context.attributes.int(name) ?? 0 != 0 else { return shape }
            return SymbolicShape(
                extents: Array(shape.extents.dropLast(2)) + [
                    shape.extents[shape.rank - 1], shape.extents[shape.rank - 2],
                ])
        }
        guard let a = operand(0, "transA"), let b = operand(1, "transB"), a.rank >= 2, b.rank >= 2,
            context.attributes.int("transBatchA") ?? 0 == 0, context.attributes.int("transBatchB") ?? 0 == 0
        else { return nil }
        let (left, right) = (Array(a.extents.dropLast(2)), Array(b.extents.dropLast(2)))
        guard let stack = SymbolicShape(extents: left).broadcast(with: SymbolicShape(extents: right)) else {
            throw context.failure("the shapes \(a) and \(b) do not broadcast")
        }
        return SymbolicShape(extents: stack.extents + [a.extents[a.rank - 2], b.extents[b.rank - 1]])
    }

    private static func inferConvolution(_ context: inout InferenceContext) throws {
        guard let x = context.shape(0), let w = context.shape(1), x.rank >= 3, w.rank == x.rank else {
            return context.setTensor(context.elementType(0), nil)
        }
        let kernel = SymbolicShape(extents: Array(w.extents.dropFirst(2))).counts
        let window = try WindowAttributes(context.node)
        let spatial = try window.outputExtents(input: Array(x.extents.dropFirst(2)), kernel: kernel)
        context.setTensor(context.elementType(0), SymbolicShape(extents: [x[0].extent, w[0].extent] + spatial))
    }

    private static func inferRows(_ context: inout InferenceContext) throws {
        context.setLike(0)
        guard let x = context.shape(0) else { return }
        let axis = try context.normalized(axis: try context.reader.int("axis", default: -1), rank: x.rank)
        let extents = x.extents.enumerated().map { $0.offset < axis ? $0.element : .fixed(1) }
        for output in 1..<max(1, context.node.outputs.count) {
            context.setTensor(.float32, SymbolicShape(extents: extents), of: output)
        }
    }

    private static func inferSkip(_ context: inout InferenceContext) throws {
        context.setLike(0)
        context.setLike(0, of: 3)
        guard let x = context.shape(0), x.rank > 0 else { return }
        let extents = Array(x.extents.dropLast()) + [.fixed(1)]
        for output in 1...2 { context.setTensor(.float32, SymbolicShape(extents: extents), of: output) }
    }

    private static func inferEmbedding(_ context: inout InferenceContext) throws {
        let type = context.elementType(2)
        guard let ids = context.shape(0), ids.rank == 2, let words = context.shape(2), words.rank == 2 else {
            return context.setTensor(type, nil)
        }
        let shape = SymbolicShape(extents: ids.extents + [words[1].extent])
        context.setTensor(type, shape)
        context.setTensor(.int32, SymbolicShape(extents: [ids[0].extent]), of: 1)
        context.setTensor(type, shape, of: 2)
    }

    private static func inferAttention(_ context: inout InferenceContext) throws {
        let type = context.elementType(0)
        guard let x = context.shape(0), x.rank == 3, let w = context.shape(1), w.rank == 2 else {
            return context.setTensor(type, nil)
        }
        let sizes = try context.reader.ints("qkv_hidden_sizes") ?? []
        let width = sizes.count == 3 ? Extent.fixed(sizes[2]) : w[1].extent.floorDivided(by: .fixed(3))
        context.setTensor(type, SymbolicShape(extents: [x[0].extent, x[1].extent, width]))
        let heads = try context.reader.int("num_heads", default: 0)
        let past = context.has(4) ? context.shape(4).flatMap { $0.rank == 5 ? $0[3].extent : nil } : .fixed(0)
        let size = heads > 0 ? width.floorDivided(by: .fixed(heads)) : .unknown
        context.setTensor(
            type,
            SymbolicShape(extents: [.fixed(2), x[0].extent, .fixed(heads), x[1].extent + (past ?? .unknown), size]),
            of: 1)
    }

    private static func inferMultiHead(_ context: inout InferenceContext) throws {
        let type = context.elementType(0)
        guard let q = context.shape(0), q.rank == 3 || q.rank == 5 else { return context.setTensor(type, nil) }
        let heads = try context.reader.int("num_heads", default: 0)
        var width: Extent = q.rank == 5 ? q[2].extent * q[4].extent : q[2].extent
        if let v = context.shape(2) {
            width = v.rank == 3 ? v[2].extent : v.rank == 4 ? v[1].extent * v[3].extent : .unknown
        }
        context.setTensor(type, SymbolicShape(extents: [q[0].extent, q[1].extent, width]))
        let cache = SymbolicShape(extents: [q[0].extent, .fixed(heads), .unknown, .unknown])
        for output in 1...2 { context.setTensor(type, cache, of: output) }
    }

    private static func inferGroupQuery(_ context: inout InferenceContext) throws {
        let type = context.elementType(0)
        let heads = try context.reader.int("num_heads", default: 0)
        let groups = try context.reader.int("kv_num_heads", default: 0)
        guard let q = context.shape(0), q.rank == 3, heads > 0, heads < 1 << 32, groups > 0, groups < 1 << 32 else {
            return context.setTensor(type, nil)
        }
        let size = q[2].extent.floorDivided(by: .fixed(context.has(1) ? heads : heads + 2 * groups))
        context.setTensor(type, SymbolicShape(extents: [q[0].extent, q[1].extent, size * .fixed(heads)]))
        let cache = SymbolicShape(extents: [q[0].extent, .fixed(groups), .unknown, size])
        for output in 1...2 { context.setTensor(type, cache, of: output) }
    }
}

import GraftCore

/// Operators on quantised tensors that onnxruntime added, in the domain `com.microsoft`.
enum QuantizationContributed: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        schema("QuantizeLinear", 2...3) { context in
            context.setLike(0, elementType: context.has(2) ? context.elementType(2) : .uint8)
        },
        schema("DequantizeLinear", 2...3) { context in
            context.setTensor(context.elementType(1), context.shape(0)?.plain)
        },
        schema("QLinearAdd", 7...8) { context in
            context.setTensor(context.elementType(0), try context.broadcast([0, 3]))
        },
        schema("QLinearMul", 7...8) { context in
            context.setTensor(context.elementType(0), try context.broadcast([0, 3]))
        },
        schema("QLinearSigmoid", 4...5, inference: CommonInference.like(0)),
        schema("QLinearLeakyRelu", 4...5, inference: CommonInference.like(0)),
        schema("QLinearSoftmax", 5...5, inference: CommonInference.like(0)),
        schema("QLinearWhere", 9...9) { context in
            context.setTensor(context.elementType(1), try context.broadcast([0, 1, 4]))
        },
        schema("QLinearAveragePool", 4...5, inference: inferPool),
        schema("QLinearGlobalAveragePool", 5...5, inference: inferGlobalPool),
        schema("QLinearConcat", 5...OperatorSchema.many, inference: inferConcat),
        schema("QGemm", 6...9) { context in
            let a = try context.reader.flag("transA") ? 1 : 0
            let b = try context.reader.flag("transB") ? 0 : 1
            try context.require(rank: 2, of: 0, named: "A")
            try context.require(rank: 2, of: 3, named: "B")
            let shape = SymbolicShape(extents: [
                context.shape(0)?[a].extent ?? .unknown, context.shape(3)?[b].extent ?? .unknown,
            ])
            context.setTensor(context.has(7) ? context.elementType(8) ?? .uint8 : .float32, shape)
        },
        schema("DynamicQuantizeMatMul", 3...5) { context in
            context.setTensor(.float32, try MatrixProduct.matMulShape(context, 0, 1))
        },
        schema("MatMulIntegerToFloat", 4...7) { context in
            context.setTensor(context.elementType(2), try MatrixProduct.matMulShape(context, 0, 1))
        },
        schema("MatMulNBits", 3...6) { context in
            let columns = try context.reader.int("N", default: 0)
            context.setTensor(
                context.elementType(0),
                context.shape(0).map { SymbolicShape(extents: $0.extents.dropLast() + [.fixed(columns)]) })
        },
    ]

    private static func schema(
        _ type: String, _ inputs: ClosedRange<Int>, inference: @escaping OperatorSchema.InferenceRule
    ) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type, domain: "com.microsoft"), inputs: inputs,
            gradient: .unsupported(reason: "rounds to few levels; a quantised model cannot be trained as it is"),
            inference: inference)
    }

    private static func inferPool(_ context: inout InferenceContext) throws {
        // Its attributes are those that AveragePool has from opset 10 on.
        let attributes = try PoolingAttributes(context.node, opset: 10)
        var shape: SymbolicShape?
        if let x = context.shape(0), x.rank >= 3 {
            let isLast = try context.reader.flag("channels_last")
            let inner = isLast ? Array(x.extents[1..<(x.rank - 1)]) : Array(x.extents.dropFirst(2))
            let spatial = try attributes.window.outputExtents(input: inner, kernel: nil)
            let channels = x[isLast ? x.rank - 1 : 1].extent
            shape = SymbolicShape(
                extents: isLast ? [x[0].extent] + spatial + [channels] : [x[0].extent, channels] + spatial)
        }
        context.setTensor(context.elementType(0), shape)
    }

    private static func inferGlobalPool(_ context: inout InferenceContext) throws {
        let isLast = try context.reader.flag("channels_last")
        let shape = context.shape(0).map { x in
            SymbolicShape(
                extents: x.extents.enumerated().map { axis, extent in
                    axis == 0 || axis == (isLast ? x.rank - 1 : 1) ? extent : .fixed(1)
                })
        }
        context.setTensor(context.elementType(0), shape)
    }

    private static func inferConcat(_ context: inout InferenceContext) throws {
        let type = context.elementType(1)
        let inputs = Array(stride(from: 2, to: context.node.inputs.count, by: 3))
        let shapes = inputs.compactMap { context.shape($0) }
        guard let first = shapes.first, shapes.count == inputs.count, first.rank > 0,
            shapes.allSatisfy({ $0.rank == first.rank })
        else {
            context.setTensor(type, nil)
            return
        }
        let axis = try context.normalized(axis: context.reader.int("axis", default: 0), rank: first.rank)
        var extents = first.extents
        extents[axis] = shapes.dropFirst().reduce(extents[axis]) { $0 + $1[axis].extent }
        context.setTensor(type, SymbolicShape(extents: extents))
    }
}

import GraftCore

/// Sequences of tensors, and values that may be absent.
enum Sequences: OperatorFamily {
    private static let reason = GradientRule.unsupported(reason: "sequences have no gradient rule")

    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "SequenceConstruct", versions: [11], inputs: 1...OperatorSchema.many, gradient: reason,
            inference: { context in
                let all = (0..<context.node.inputs.count).map { context.type($0) }
                context.setType(ValueType(.sequence(merged(all))))
            }),
        OperatorSchema(
            "SequenceEmpty", versions: [11], inputs: 0...0, gradient: .none,
            inference: { context in
                let element = try context.reader.elementType("dtype") ?? .float32
                context.setType(ValueType(.sequence(.tensor(element))))
            }),
        OperatorSchema(
            "SequenceInsert", versions: [11], inputs: 2...3, gradient: reason,
            inference: { context in
                guard case .sequence(let element)? = context.type(0)?.kind else { return }
                context.setType(ValueType(.sequence(merged([element, context.type(1)]))))
            }),
        OperatorSchema(
            "SequenceErase", versions: [11], inputs: 1...2, gradient: reason,
            inference: { $0.setType($0.type(0)) }),
        OperatorSchema(
            "SequenceAt", versions: [11], inputs: 2...2, gradient: reason,
            inference: { context in
                if case .sequence(let element)? = context.type(0)?.kind { context.setType(element) }
            }),
        OperatorSchema(
            "SequenceLength", versions: [11], inputs: 1...1, gradient: .none,
            inference: { $0.setTensor(.int64, []) }),
        OperatorSchema(
            "SplitToSequence", versions: [11, 24], inputs: 1...2, gradient: reason, inference: inferSplit),
        OperatorSchema(
            "ConcatFromSequence", versions: [11], inputs: 1...1, gradient: reason, inference: inferConcat),
        OperatorSchema(
            "SequenceMap", versions: [17], inputs: 1...OperatorSchema.many, outputs: 1...OperatorSchema.many,
            gradient: reason,
            inference: { context in
                let inputs = (0..<context.node.inputs.count).map { index -> ValueType? in
                    if case .sequence(let element)? = context.type(index)?.kind { return element }
                    return context.type(index)
                }
                let (body, types) = try context.infer(body: "body", given: inputs)
                for (index, output) in body.outputs.enumerated() {
                    context.setType(ValueType(.sequence(types.type(of: output))), of: index)
                }
            }),
        OperatorSchema(
            "Optional", versions: [15, 28], inputs: 0...1, gradient: reason,
            inference: { context in
                if case .type(let type)? = context.attributes["type"] {
                    context.setType(ValueType(.optional(type)))
                } else {
                    context.setType(ValueType(.optional(context.type(0))))
                }
            }),
        OperatorSchema(
            "OptionalGetElement", versions: [15, 18, 28], inputs: 1...1, gradient: reason,
            inference: { context in
                if case .optional(let element)? = context.type(0)?.kind {
                    context.setType(element)
                } else {
                    context.setType(context.type(0))
                }
            }),
        OperatorSchema(
            "OptionalHasElement", versions: [15, 18, 28], inputs: 0...1, gradient: .none,
            inference: { $0.setTensor(.bool, []) }),
    ]

    /// What several elements have in common.
    private static func merged(_ types: [ValueType?]) -> ValueType? {
        guard let first = types.first ?? nil else { return nil }
        return types.dropFirst().reduce(first) { common, next in
            guard case .tensor(let element, let shape) = common.kind else { return common }
            guard case .tensor(let other, let otherShape)? = next?.kind else { return .tensor(element, nil) }
            return .tensor(element ?? other, ControlFlow.common(shape, otherShape))
        }
    }

    private static func inferSplit(_ context: inout InferenceContext) throws {
        let axis = try context.reader.int("axis", default: 0)
        let keeps = try context.reader.flag("keepdims", default: true)
        var shape = context.shape(0)?.plain
        if let rank = shape?.rank {
            let position = try context.normalized(axis: axis, rank: rank)
            if !context.has(1), !keeps {
                shape?.dimensions.remove(at: position)
            } else if !context.has(1) {
                shape?[position].extent = .fixed(1)
            } else {
                shape?[position].extent = .unknown
            }
        }
        context.setType(ValueType(.sequence(.tensor(context.elementType(0), shape))))
    }

    private static func inferConcat(_ context: inout InferenceContext) throws {
        guard case .sequence(let element)? = context.type(0)?.kind else { return }
        let axis = try context.reader.requiredInt("axis")
        let isNew = try context.reader.flag("new_axis")
        var shape = element?.shape?.plain
        if let rank = shape?.rank {
            let position = try context.normalized(axis: axis, rank: isNew ? rank + 1 : rank)
            if isNew {
                shape?.dimensions.insert(Dimension(.unknown), at: position)
            } else {
                shape?[position].extent = .unknown
            }
        }
        context.setTensor(element?.elementType, shape)
    }
}

import GraftCore

/// Repeating tensors along axes, and the two operators that gradients of broadcasting are made of.
enum Expansion: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Expand", versions: [8, 13], inputs: 2...2,
            gradient: .rule { context in
                guard context.needs(0) else { return }
                context.setGradient(
                    ofInput: 0, context.reduced(try context.requiredGradient(), to: try context.requiredInput(0)))
            }, inference: inferExpand),
        OperatorSchema(
            "Tile", versions: [1, 6, 13], inputs: 2...3, gradient: .rule(tileGradient), inference: inferTile),
        // (X, like) -> X summed over the axes that broadcasting from the shape of `like` added or widened.
        OperatorSchema(
            OperatorName("ReduceTo", domain: graftDomain), inputs: 2...2,
            gradient: .rule { context in
                context.readsOnlyShape(ofInput: 1)
                guard context.needs(0) else { return }
                context.setGradient(
                    ofInput: 0, context.expanded(try context.requiredGradient(), to: try context.requiredInput(0)))
            },
            inference: { context in context.setTensor(context.elementType(0), context.shape(1)?.plain) }),
        // (X, like) -> X broadcast to the shape of `like`.
        OperatorSchema(
            OperatorName("ExpandLike", domain: graftDomain), inputs: 2...2,
            gradient: .rule { context in
                context.readsOnlyShape(ofInput: 1)
                guard context.needs(0) else { return }
                context.setGradient(
                    ofInput: 0, context.reduced(try context.requiredGradient(), to: try context.requiredInput(0)))
            },
            inference: { context in context.setTensor(context.elementType(0), context.shape(1)?.plain) }),
    ]

    private static func inferExpand(_ context: inout InferenceContext) throws {
        guard let x = context.shape(0)?.plain, let target = context.extents(1) else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        guard let shape = x.broadcast(with: SymbolicShape(extents: target)) else {
            throw context.failure("the shape \(x) does not broadcast to \(SymbolicShape(extents: target))")
        }
        context.setTensor(context.elementType(0), shape)
        if let content = context.content(0)?.extents, shape.rank <= 1, content.count == 1,
            let count = shape.counts.flatMap({ Checked.product($0) }), count <= KnownContent.countLimit
        {
            context.setExtents(Array(repeating: content[0], count: count), isScalar: shape.rank == 0)
        }
    }

    private static func inferTile(_ context: inout InferenceContext) throws {
        guard let x = context.shape(0)?.plain else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        guard context.opset >= 6, let repeats = context.extents(1) else {
            context.setTensor(context.elementType(0), SymbolicShape(extents: x.extents.map { _ in .unknown }))
            return
        }
        guard repeats.count == x.rank else {
            throw context.failure("\(repeats.count) repeats do not fit the shape \(x)")
        }
        context.setTensor(context.elementType(0), SymbolicShape(extents: zip(x.extents, repeats).map { $0 * $1 }))
    }

    /// Each repeat gets an axis of its own, and the gradients are summed over these.
    private static func tileGradient(_ context: inout GradientContext) throws {
        guard context.needs(0) else { return }
        let dy = try context.requiredGradient()
        let x = try context.requiredInput(0)
        guard context.opset >= 6, let repeats = context.content(ofInput: 1)?.integers,
            let shape = context.shape(of: x), repeats.count == shape.rank
        else { throw context.failure("the gradient needs repeats that are known before the graph runs") }
        // [r0, e0, r1, e1, ...]; the extents are read from the tensor, so that they need not be known.
        var parts: [ValueID] = []
        let extents = context.emit("Shape", [x])
        for axis in 0..<shape.rank {
            parts.append(context.integers([repeats[axis]]))
            parts.append(context.emit("Gather", [extents, context.integers([axis])]))
        }
        guard !parts.isEmpty else {
            context.setGradient(ofInput: 0, dy)
            return
        }
        let target = context.emit("Concat", parts, attributes: ["axis": .int(0)])
        let apart = context.emit("Reshape", [dy, target])
        context.setGradient(
            ofInput: 0, context.sum(apart, axes: (0..<shape.rank).map { 2 * $0 }, keepDimensions: false))
    }
}

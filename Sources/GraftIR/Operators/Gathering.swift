import GraftCore

/// The settings of the operators that scatter.
public struct ScatterAttributes: Sendable {
    /// What happens where an element is already written.
    public enum Reduction: String, Sendable, CaseIterable {
        /// The update replaces the element.
        case none
        /// Sum.
        case add
        /// Product.
        case mul
        /// The larger one.
        case max
        /// The smaller one.
        case min
    }

    /// The axis; negative counts from the end.
    public let axis: Int
    /// How updates and elements combine.
    public let reduction: Reduction

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an unknown reduction or an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        axis = try AttributeReader(node).int("axis", default: 0)
        reduction = try AttributeReader(node).choice("reduction", default: .none)
    }
}

/// Picking elements by index, and writing them by index.
enum Gathering: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Gather", versions: [1, 11, 13], inputs: 2...2,
            gradient: .rule { context in
                let axis = try context.reader.int("axis", default: 0)
                context.setByOperator(
                    "GatherGrad",
                    [try context.requiredGradient(), try context.requiredInput(0), try context.requiredInput(1)],
                    attributes: ["axis": .int(axis)])
            }, inference: inferGather),
        OperatorSchema(
            "GatherElements", versions: [11, 13], inputs: 2...2,
            gradient: .rule { context in
                let axis = try context.reader.int("axis", default: 0)
                context.setByOperator(
                    "GatherElementsGrad",
                    [try context.requiredGradient(), try context.requiredInput(0), try context.requiredInput(1)],
                    attributes: ["axis": .int(axis)])
            },
            inference: { context in context.setTensor(context.elementType(0), context.shape(1)?.plain) }),
        OperatorSchema(
            "GatherND", versions: [11, 12, 13], inputs: 2...2,
            gradient: .rule { context in
                let axes = try context.reader.int("batch_dims", default: 0)
                context.setByOperator(
                    "GatherNDGrad",
                    [try context.requiredGradient(), try context.requiredInput(0), try context.requiredInput(1)],
                    attributes: ["batch_dims": .int(axes)])
            }, inference: inferGatherND),
        // (dY, X, indices) -> dX: zeros of the shape of X, to which each element of dY is added where it was read.
        gradientSchema("GatherGrad"), gradientSchema("GatherElementsGrad"), gradientSchema("GatherNDGrad"),
        scatter("Scatter", [9, 11]), scatter("ScatterElements", [11, 13, 16, 18]),
        OperatorSchema(
            "ScatterND", versions: [11, 13, 16, 18], inputs: 3...3, gradient: .rule(scatterNDGradient),
            inference: CommonInference.likeFirst),
        OperatorSchema(
            "TensorScatter", versions: [24], inputs: 2...3,
            gradient: .unsupported(reason: "writing into a cache has no gradient rule"),
            inference: CommonInference.likeFirst),
        OperatorSchema(
            "Compress", versions: [9, 11, 28], inputs: 2...2,
            gradient: .unsupported(reason: "choosing elements by a mask has no gradient rule"),
            inference: { context in
                guard let axis = try context.reader.int("axis") else {
                    context.setTensor(context.elementType(0), [Dimension(.unknown)])
                    return
                }
                guard var shape = context.shape(0)?.plain else {
                    context.setTensor(context.elementType(0), nil)
                    return
                }
                shape[try context.normalized(axis: axis, rank: shape.rank)].extent = .unknown
                context.setTensor(context.elementType(0), shape)
            }),
        OperatorSchema(
            "NonZero", versions: [9, 13], inputs: 1...1, gradient: .none,
            inference: { context in
                let rank = context.shape(0).map { Extent.fixed($0.rank) } ?? .unknown
                context.setTensor(.int64, SymbolicShape(extents: [rank, .unknown]))
            }),
        OperatorSchema(
            "TopK", versions: [1, 10, 11, 24], inputs: 1...2, outputs: 2...2, gradient: .rule(topKGradient),
            inference: inferTopK),
        OperatorSchema(
            "Unique", versions: [11, 28], inputs: 1...1, outputs: 1...4, gradient: .none, inference: inferUnique),
        OperatorSchema(
            "NonMaxSuppression", versions: [10, 11], inputs: 2...5, gradient: .none,
            inference: { $0.setTensor(.int64, SymbolicShape(extents: [.unknown, .fixed(3)])) }),
    ]

    private static func gradientSchema(_ type: String) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type, domain: graftDomain), inputs: 3...3,
            gradient: .unsupported(reason: "second derivatives are not computed"), inference: CommonInference.like(1))
    }

    private static func inferGather(_ context: inout InferenceContext) throws {
        let axis = try context.reader.int("axis", default: 0)
        guard let x = context.shape(0), let indices = context.shape(1) else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        guard x.rank > 0 else { throw context.failure("nothing can be gathered from a scalar") }
        let position = try context.normalized(axis: axis, rank: x.rank)
        context.setTensor(
            context.elementType(0),
            SymbolicShape(
                extents: Array(x.extents.prefix(position)) + indices.extents + Array(x.extents.dropFirst(position + 1)))
        )
        guard x.rank == 1, indices.rank <= 1, let content = context.content(0)?.extents,
            let chosen = context.integers(1)
        else { return }
        let positions = chosen.map { $0 < 0 ? $0 + content.count : $0 }
        guard positions.allSatisfy({ content.indices.contains($0) }) else {
            throw context.failure("the indices \(chosen) are outside a list of \(content.count)")
        }
        context.setExtents(positions.map { content[$0] }, isScalar: indices.rank == 0)
    }

    private static func inferGatherND(_ context: inout InferenceContext) throws {
        let batch = try context.reader.int("batch_dims", default: 0)
        guard let x = context.shape(0), let indices = context.shape(1), let depth = indices.dimensions.last?.count
        else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        guard batch >= 0, batch < indices.rank, depth <= x.rank - batch else {
            throw context.failure("indices of shape \(indices) do not fit the data of shape \(x)")
        }
        context.setTensor(
            context.elementType(0),
            SymbolicShape(extents: Array(indices.extents.dropLast()) + Array(x.extents.dropFirst(batch + depth))))
    }

    private static func scatter(_ type: String, _ versions: [Int]) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: 3...3,
            gradient: .rule { context in
                let attributes = try ScatterAttributes(context.node, opset: context.opset)
                let dy = try context.requiredGradient()
                let indices = try context.requiredInput(1)
                let updates = try context.requiredInput(2)
                let axis: Attributes = ["axis": .int(attributes.axis)]
                guard attributes.reduction == .none || attributes.reduction == .add else {
                    throw context.failure("scattering by \(attributes.reduction.rawValue) has no gradient rule")
                }
                if context.needs(0) {
                    var gradient = dy
                    if attributes.reduction == .none {
                        // What was overwritten has no gradient.
                        let zeros = context.expanded(try context.scalar(0, like: updates), to: updates)
                        gradient = context.emit("ScatterElements", [dy, indices, zeros], attributes: axis)
                    }
                    context.setGradient(ofInput: 0, gradient)
                }
                if context.needs(2) {
                    context.setGradient(
                        ofInput: 2, context.emit("GatherElements", [dy, indices], attributes: axis))
                }
            }, inference: CommonInference.likeFirst)
    }

    private static func scatterNDGradient(_ context: inout GradientContext) throws {
        let attributes = try ScatterAttributes(context.node, opset: context.opset)
        let dy = try context.requiredGradient()
        let indices = try context.requiredInput(1)
        let updates = try context.requiredInput(2)
        guard attributes.reduction == .none || attributes.reduction == .add else {
            throw context.failure("scattering by \(attributes.reduction.rawValue) has no gradient rule")
        }
        if context.needs(0) {
            var gradient = dy
            if attributes.reduction == .none {
                let zeros = context.expanded(try context.scalar(0, like: updates), to: updates)
                gradient = context.emit("ScatterND", [dy, indices, zeros])
            }
            context.setGradient(ofInput: 0, gradient)
        }
        if context.needs(2) { context.setGradient(ofInput: 2, context.emit("GatherND", [dy, indices])) }
    }

    private static func inferTopK(_ context: inout InferenceContext) throws {
        let axis = try context.reader.int("axis", default: -1)
        let k =
            context.opset < 10
            ? Extent.fixed(try context.reader.requiredInt("k")) : context.content(1)?.extents?.first ?? .unknown
        var shape = context.shape(0)?.plain
        if let rank = shape?.rank { shape?[try context.normalized(axis: axis, rank: rank)].extent = k }
        context.setTensor(context.elementType(0), shape)
        context.setTensor(.int64, shape, of: 1)
    }

    private static func topKGradient(_ context: inout GradientContext) throws {
        let axis = try context.reader.int("axis", default: -1)
        guard let indices = context.output(1) else {
            throw context.failure("the gradient needs the indices, which the node does not give out")
        }
        context.setByOperator(
            "GatherElementsGrad", [try context.requiredGradient(), try context.requiredInput(0), indices],
            attributes: ["axis": .int(axis)])
    }

    private static func inferUnique(_ context: inout InferenceContext) throws {
        var shape: SymbolicShape? = [Dimension(.unknown)]
        if let axis = try context.reader.int("axis") {
            shape = context.shape(0)?.plain
            if let rank = shape?.rank { shape?[try context.normalized(axis: axis, rank: rank)].extent = .unknown }
        }
        context.setTensor(context.elementType(0), shape)
        for output in 1..<4 { context.setTensor(.int64, [Dimension(.unknown)], of: output) }
    }
}

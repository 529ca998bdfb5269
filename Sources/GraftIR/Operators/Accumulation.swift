import GraftCore

/// The settings of CumSum and CumProd.
public struct CumulationAttributes: Sendable {
    /// Whether the element itself does not count.
    public let isExclusive: Bool
    /// Whether elements are gone through from the end.
    public let isReverse: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        isExclusive = try AttributeReader(node).flag("exclusive")
        isReverse = try AttributeReader(node).flag("reverse")
    }
}

/// Running sums and products, determinants, and the inverse of cutting into columns.
enum Accumulation: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "CumSum", versions: [11, 14], inputs: 2...2,
            gradient: .rule { context in
                // Each element counts in the sums after it: the running sum of dY in the other direction.
                guard context.needs(0) else { return }
                let attributes = try CumulationAttributes(context.node, opset: context.opset)
                context.setGradient(
                    ofInput: 0,
                    context.emit(
                        "CumSum", [try context.requiredGradient(), try context.requiredInput(1)],
                        attributes: [
                            "exclusive": .int(attributes.isExclusive ? 1 : 0),
                            "reverse": .int(attributes.isReverse ? 0 : 1),
                        ]))
            }, inference: CommonInference.likeFirst),
        OperatorSchema(
            "CumProd", versions: [26], inputs: 2...2,
            gradient: .unsupported(reason: "running products have no gradient rule"),
            inference: CommonInference.likeFirst),
        OperatorSchema(
            "Det", versions: [11, 22], inputs: 1...1,
            gradient: .unsupported(reason: "determinants have no gradient rule"),
            inference: { context in
                guard let x = context.shape(0) else {
                    context.setTensor(context.elementType(0), nil)
                    return
                }
                guard x.rank >= 2, x[x.rank - 1].extent.unified(with: x[x.rank - 2].extent) != nil else {
                    throw context.failure("the shape \(x) is not one of square matrices")
                }
                context.setTensor(context.elementType(0), SymbolicShape(extents: Array(x.extents.dropLast(2))))
            }),
        OperatorSchema(
            "Col2Im", versions: [18], inputs: 3...3,
            gradient: .unsupported(reason: "placing columns into images has no gradient rule"),
            inference: { context in
                guard let x = context.shape(0), x.rank == 3, let size = context.extents(1) else {
                    context.setTensor(context.elementType(0), nil)
                    return
                }
                let block = context.integers(2).map { Extent.product($0.map { .fixed($0) }) } ?? .unknown
                context.setTensor(
                    context.elementType(0),
                    SymbolicShape(extents: [x[0].extent, x[1].extent.dividedExactly(by: block)] + size))
            }),
    ]
}

import GraftCore

/// The settings of Softmax, LogSoftmax and Hardmax.
///
/// Before opset 13 the input counts as a matrix whose rows are all axes before `axis` and whose columns are all axes
/// from it on; since then only the one axis counts.
public struct SoftmaxAttributes: Sendable {
    /// The axis; negative counts from the end.
    public let axis: Int
    /// Whether all axes from ``axis`` on are normalised together (before opset 13).
    public let flattens: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        flattens = opset < 13 && node.op.canonicalDomain.isEmpty
        axis = try AttributeReader(node).int("axis", default: flattens ? 1 : -1)
    }
}

/// Softmax and its relatives.
enum Softmax: OperatorFamily {
    static let schemas: [OperatorSchema] =
        [
            softmax("Softmax"), softmax("LogSoftmax"),
            OperatorSchema(
                "Hardmax", versions: [1, 11, 13], inputs: 1...1, gradient: .none, inference: infer),
        ]
        + ["SoftmaxGrad", "LogSoftmaxGrad"].map { type in
            // (dY, Y; axis) -> dX
            OperatorSchema(
                OperatorName(type, domain: graftDomain), inputs: 2...2,
                gradient: .unsupported(reason: "second derivatives are not computed"),
                inference: CommonInference.like(1))
        }

    private static func softmax(_ type: String) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: [1, 11, 13], inputs: 1...1,
            gradient: .rule { context in
                guard context.needs(0) else { return }
                let attributes = try SoftmaxAttributes(context.node, opset: context.opset)
                let dy = try context.requiredGradient()
                let y = try context.requiredOutput()
                let rank = context.shape(of: y)?.rank
                let isLast = attributes.axis == -1 || rank.map { attributes.axis == $0 - 1 } ?? false
                if !attributes.flattens || isLast {
                    context.setByOperator(
                        "\(type)Grad", [dy, y],
                        attributes: ["axis": .int(attributes.flattens ? -1 : attributes.axis)])
                    return
                }
                let matrix: Attributes = ["axis": .int(attributes.axis)]
                let flat = context.emitGraft(
                    "\(type)Grad",
                    [
                        context.emit("Flatten", [dy], attributes: matrix),
                        context.emit("Flatten", [y], attributes: matrix),
                    ], attributes: ["axis": .int(1)])
                context.setGradient(ofInput: 0, context.reshaped(flat, to: y))
            }, inference: infer)
    }

    private static func infer(_ context: inout InferenceContext) throws {
        let attributes = try SoftmaxAttributes(context.node, opset: context.opset)
        if let shape = context.shape(0), shape.rank > 0 {
            if !attributes.flattens || attributes.axis != shape.rank {
                _ = try context.normalized(axis: attributes.axis, rank: shape.rank)
            }
        }
        context.setLike(0)
    }
}

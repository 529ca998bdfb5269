import GraftCore

/// The settings of a Cast.
public struct CastAttributes: Sendable {
    /// The type of the result.
    public let target: ElementType
    /// Whether numbers beyond an 8-bit floating-point type become its largest.
    public let saturates: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for a target that is no element type.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        saturates = try reader.flag("saturate", default: true)
        if opset < 6, let name = try reader.string("to") {
            guard let type = ElementType(name: name) else { throw reader.failure("to", "is \"\(name)\"") }
            target = type
            return
        }
        guard let type = try reader.elementType("to") else { throw reader.failure("to", "is missing") }
        target = type
    }
}

/// Changing the element type.
enum Casting: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Cast", versions: [1, 6, 9, 13, 19, 21, 23, 24, 25, 28], inputs: 1...1, gradient: .rule(castGradient),
            inference: { context in
                let target = try CastAttributes(context.node, opset: context.opset).target
                context.setLike(0, elementType: target)
                follow(&context, target)
            }),
        OperatorSchema(
            "CastLike", versions: [15, 19, 21, 23, 24, 25], inputs: 2...2, gradient: .rule(castGradient),
            inference: { context in
                context.setTensor(context.elementType(1), context.shape(0)?.plain)
                if let target = context.elementType(1) { follow(&context, target) }
            }),
        OperatorSchema(
            "BitCast", versions: [26], inputs: 1...1, gradient: .none,
            inference: { context in
                context.setLike(0, elementType: try CastAttributes(context.node, opset: context.opset).target)
            }),
    ]

    /// Whole numbers stay what they are in every type that holds them; other numbers lose their fraction.
    private static func follow(_ context: inout InferenceContext, _ target: ElementType) {
        guard let content = context.content(0) else { return }
        if let extents = content.extents, target != .string {
            if target == .bool {
                context.mapExtents { if case .fixed(let value) = $0 { .fixed(value == 0 ? 0 : 1) } else { .unknown } }
            } else {
                context.setExtents(extents, isScalar: content.isScalar)
            }
        } else if let numbers = content.numbers, let shape = context.shape(0), shape.rank <= 1, target.isInteger {
            let whole = numbers.compactMap { Int(exactly: $0.rounded(.towardZero)) }
            if whole.count == numbers.count {
                context.setExtents(whole.map { .fixed($0) }, isScalar: shape.rank == 0)
            }
        }
    }

    private static func castGradient(_ context: inout GradientContext) throws {
        guard context.needs(0) else { return }
        context.setGradient(
            ofInput: 0, context.cast(try context.requiredGradient(), like: try context.requiredInput(0)))
    }
}

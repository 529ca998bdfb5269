import GraftCore

/// The settings of a reduction: the axes are an attribute in old versions and an input in later ones.
public struct ReductionAttributes: Sendable {
    /// Whether the reduced axes stay, with extent 1.
    public let keepsDimensions: Bool
    /// The axes where they are an attribute; nil where they are an input or left out.
    public let axes: [Int]?
    /// The input that holds the axes; nil where they are an attribute.
    public let axesInput: Int?
    /// Whether no axes means that nothing is reduced, instead of everything.
    public let emptyAxesReduceNothing: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        keepsDimensions = try reader.flag("keepdims", default: true)
        let changed = node.op.type == "ReduceSum" ? 13 : 18
        axes = opset < changed ? try reader.ints("axes") : nil
        axesInput = opset < changed ? nil : 1
        emptyAxesReduceNothing = opset < changed ? false : try reader.flag("noop_with_empty_axes")
    }

    /// The axes that are reduced, in ascending order.
    ///
    /// - Parameters:
    ///   - rank: the rank of the reduced tensor.
    ///   - given: the content of the input that holds the axes; nil where it is left out.
    /// - Returns: nil where an axis is outside the tensor.
    public func resolvedAxes(rank: Int, given: [Int]?) -> [Int]? {
        let listed = axes ?? given ?? []
        if listed.isEmpty { return emptyAxesReduceNothing ? [] : Array(0..<rank) }
        let positive = listed.map { $0 < 0 ? $0 + rank : $0 }
        guard positive.allSatisfy({ $0 >= 0 && $0 < rank }) else { return nil }
        return Set(positive).sorted()
    }
}

/// The settings of ArgMax and ArgMin.
public struct ArgumentReductionAttributes: Sendable {
    /// The axis; negative counts from the end.
    public let axis: Int
    /// Whether the axis stays, with extent 1.
    public let keepsDimensions: Bool
    /// Whether the last of several equal elements is taken.
    public let selectsLast: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        axis = try reader.int("axis", default: 0)
        keepsDimensions = try reader.flag("keepdims", default: true)
        selectsLast = try reader.flag("select_last_index")
    }
}

/// Reductions over axes.
enum Reduction: OperatorFamily {
    /// From the context, X, Y and dY both in the shape with reduced axes kept: the gradient of X.
    private typealias Derivative =
        @Sendable (_ context: inout GradientContext, _ x: ValueID, _ y: ValueID, _ dy: ValueID) throws -> ValueID

    static let schemas: [OperatorSchema] =
        [
            reduction("ReduceSum", [1, 11, 13]) { c, x, _, dy in c.expanded(dy, to: x) },
            reduction("ReduceMean", [1, 11, 13, 18]) { c, x, y, dy in
                let count = c.cast(c.emit("Div", [c.emit("Size", [x]), c.emit("Size", [y])]), like: x)
                return c.expanded(c.divide(dy, count), to: x)
            },
            reduction("ReduceMax", [1, 11, 12, 13, 18, 20]) { try extremeGradient(&$0, $1, $2, $3) },
            reduction("ReduceMin", [1, 11, 12, 13, 18, 20]) { try extremeGradient(&$0, $1, $2, $3) },
            reduction("ReduceL1", [1, 11, 13, 18]) { c, x, _, dy in c.multiply(dy, c.emit("Sign", [x])) },
            reduction("ReduceL2", [1, 11, 13, 18]) { c, x, y, dy in c.multiply(x, c.divide(dy, y)) },
            reduction("ReduceSumSquare", [1, 11, 13, 18]) { c, x, _, dy in c.multiply(dy, c.add(x, x)) },
            reduction("ReduceLogSum", [1, 11, 13, 18, 28]) { c, x, y, dy in
                // d log(sum x) = dy / sum x
                c.expanded(c.divide(dy, c.emit("Exp", [y])), to: x)
            },
            reduction("ReduceLogSumExp", [1, 11, 13, 18, 28]) { c, x, y, dy in
                c.multiply(dy, c.emit("Exp", [c.subtract(x, y)]))
            },
            reduction("ReduceProd", [1, 11, 13, 18]) { try productGradient(&$0, $1, $3) },
            argument("ArgMax"), argument("ArgMin"),
        ]

    private static func reduction(
        _ type: String, _ versions: [Int], _ derivative: @escaping Derivative
    ) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: 1...2,
            gradient: .rule { context in
                guard context.needs(0) else { return }
                let attributes = try ReductionAttributes(context.node, opset: context.opset)
                let x = try context.requiredInput(0)
                var y = try context.requiredOutput()
                var dy = try context.requiredGradient()
                let given = attributes.axesInput.flatMap { context.content(ofInput: $0)?.integers }
                if let input = attributes.axesInput, context.input(input) != nil, given == nil {
                    throw context.failure("the gradient needs axes that are known before the graph runs")
                }
                let listed = attributes.axes ?? given ?? []
                if !attributes.keepsDimensions, !listed.isEmpty {
                    y = context.unsqueezed(y, axes: listed)
                    dy = context.unsqueezed(dy, axes: listed)
                }
                if attributes.emptyAxesReduceNothing, listed.isEmpty {
                    throw context.failure("reduces nothing (noop_with_empty_axes), which has no gradient rule")
                }
                context.setGradient(ofInput: 0, try derivative(&context, x, y, dy))
            }, inference: infer)
    }

    private static func infer(_ context: inout InferenceContext) throws {
        let attributes = try ReductionAttributes(context.node, opset: context.opset)
        let given = attributes.axesInput.flatMap { context.integers($0) }
        guard let x = context.shape(0) else {
            let all = attributes.axesInput.map { !context.has($0) } ?? (attributes.axes ?? []).isEmpty
            context.setTensor(
                context.elementType(0),
                all && !attributes.keepsDimensions && !attributes.emptyAxesReduceNothing ? [] : nil)
            return
        }
        if let input = attributes.axesInput, context.has(input), given == nil {
            let rankStays = attributes.keepsDimensions
            context.setTensor(
                context.elementType(0),
                rankStays ? SymbolicShape(extents: Array(repeating: .unknown, count: x.rank)) : nil)
            return
        }
        guard let axes = attributes.resolvedAxes(rank: x.rank, given: given) else {
            throw context.failure("the axes \(attributes.axes ?? given ?? []) are outside a tensor of shape \(x)")
        }
        context.setTensor(context.elementType(0), reduced(x, axes, keep: attributes.keepsDimensions))
        follow(&context, axes, rank: x.rank)
    }

    private static func reduced(_ shape: SymbolicShape, _ axes: [Int], keep: Bool) -> SymbolicShape {
        var extents: [Extent] = []
        for (index, extent) in shape.extents.enumerated() {
            if !axes.contains(index) {
                extents.append(extent)
            } else if keep {
                extents.append(.fixed(1))
            }
        }
        return SymbolicShape(extents: extents)
    }

    /// Products, sums and extremes of extents.
    private static func follow(_ context: inout InferenceContext, _ axes: [Int], rank: Int) {
        guard rank == 1, axes == [0], let extents = context.content(0)?.extents, let first = extents.first else {
            return
        }
        let rest = extents.dropFirst()
        let result: Extent
        switch context.node.op.type {
        case "ReduceProd": result = rest.reduce(first, *)
        case "ReduceSum": result = rest.reduce(first, +)
        case "ReduceMax": result = rest.reduce(first, Extent.maximum)
        case "ReduceMin": result = rest.reduce(first, Extent.minimum)
        default: return
        }
        context.setExtents([result], isScalar: context.outputTypes[0]?.shape?.rank == 0)
    }

    /// Elements that are the extreme share the gradient.
    private static func extremeGradient(
        _ context: inout GradientContext, _ x: ValueID, _ y: ValueID, _ dy: ValueID
    ) throws -> ValueID {
        let mask = context.cast(context.emit("Equal", [x, y]), like: x)
        let count = context.emitGraft("ReduceTo", [mask, y])
        return context.multiply(mask, context.divide(dy, count))
    }

    /// The product of the other elements; right also where elements are zero: with one zero only that element has a
    /// gradient, with more none has.
    private static func productGradient(
        _ context: inout GradientContext, _ x: ValueID, _ dy: ValueID
    ) throws -> ValueID {
        let zero = try context.scalar(0, like: x)
        let one = try context.scalar(1, like: x)
        let isZero = context.emit("Equal", [x, zero])
        let zeros = context.emitGraft("ReduceTo", [context.cast(isZero, like: x), dy])
        let safe = context.emit("Where", [isZero, one, x])
        // The forward node over the elements that are not zero; its axes are kept like dy's.
        var attributes = context.attributes
        attributes["keepdims"] = .int(1)
        let product = context.emit("ReduceProd", [safe] + context.node.inputs.dropFirst(), attributes: attributes)
        let others = context.divide(product, safe)
        let noZero = context.emit("Equal", [zeros, zero])
        let oneZero = context.emit("Equal", [zeros, one])
        let chosen = context.emit(
            "Where",
            [
                isZero, context.emit("Where", [oneZero, product, zero]),
                context.emit("Where", [noZero, others, zero]),
            ])
        return context.multiply(chosen, dy)
    }

    private static func argument(_ type: String) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: [1, 11, 12, 13], inputs: 1...1, gradient: .none,
            inference: { context in
                let attributes = try ArgumentReductionAttributes(context.node, opset: context.opset)
                let shape = try context.shape(0).map { x in
                    let axis = try context.normalized(axis: attributes.axis, rank: x.rank)
                    return reduced(x, [axis], keep: attributes.keepsDimensions)
                }
                context.setTensor(.int64, shape)
            })
    }
}

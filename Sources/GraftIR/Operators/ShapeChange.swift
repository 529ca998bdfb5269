import GraftCore

/// The axes of Squeeze and Unsqueeze: an attribute before opset 13, an input since.
public struct SqueezeAttributes: Sendable {
    /// The axes where they are an attribute.
    public let axes: [Int]?
    /// The input that holds the axes; nil where they are an attribute.
    public let axesInput: Int?

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        axes = opset < 13 ? try AttributeReader(node).ints("axes") : nil
        axesInput = opset < 13 ? nil : 1
    }
}

/// The settings of a Reshape.
public struct ReshapeAttributes: Sendable {
    /// The target where it is an attribute (before opset 5).
    public let shape: [Int]?
    /// Whether a 0 in the target is an extent of zero instead of a copied extent.
    public let zeroIsExtent: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        shape = opset < 5 ? try AttributeReader(node).ints("shape") : nil
        zeroIsExtent = opset < 14 ? false : try AttributeReader(node).flag("allowzero")
    }
}

/// Operators that give the same elements another shape.
enum ShapeChange: OperatorFamily {
    private static let laterVersions = [13, 21, 23, 24, 25]

    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Reshape", versions: [1, 5, 13, 14, 19, 21, 23, 24, 25], inputs: 1...2, gradient: .rule(backToInput),
            inference: inferReshape),
        OperatorSchema(
            "Flatten", versions: [1, 9, 11] + laterVersions, inputs: 1...1, gradient: .rule(backToInput),
            inference: inferFlatten),
        OperatorSchema(
            "Squeeze", versions: [1, 11] + laterVersions, inputs: 1...2, gradient: .rule(backToInput),
            inference: inferSqueeze),
        OperatorSchema(
            "Unsqueeze", versions: [1, 11] + laterVersions, inputs: 1...2, gradient: .rule(backToInput),
            inference: inferUnsqueeze),
        // (X, like) -> the elements of X in the shape of `like`.
        OperatorSchema(
            OperatorName("ReshapeLike", domain: graftDomain), inputs: 2...2,
            gradient: .rule { context in
                context.readsOnlyShape(ofInput: 1)
                try backToInput(&context)
            },
            inference: { context in context.setTensor(context.elementType(0), context.shape(1)?.plain) }),
    ]

    private static func backToInput(_ context: inout GradientContext) throws {
        guard context.needs(0) else { return }
        context.setGradient(
            ofInput: 0, context.reshaped(try context.requiredGradient(), to: try context.requiredInput(0)))
    }

    /// Passes on what is known of the elements, in the output's shape where that has at most one axis.
    private static func passContent(_ context: inout InferenceContext) {
        guard let content = context.content(0), let shape = context.outputTypes[0]?.shape else { return }
        if let extents = content.extents, shape.rank <= 1 {
            context.setExtents(extents, isScalar: shape.rank == 0)
            return
        }
        if case .tensor(let tensor) = content, let counts = shape.counts, let reshaped = try? tensor.reshaped(counts) {
            context.setContent(.tensor(reshaped))
        } else if let integers = content.integers, let counts = shape.counts, context.elementType(0) == .int64,
            Checked.product(counts) == integers.count
        {
            context.setContent(.tensor(Tensor(integers.map { Int64($0) }, shape: counts)))
        }
    }

    private static func inferReshape(_ context: inout InferenceContext) throws {
        let attributes = try ReshapeAttributes(context.node, opset: context.opset)
        let element = context.elementType(0)
        guard let target = attributes.shape.map({ $0.map { Extent.fixed($0) } }) ?? context.extents(1) else {
            context.setTensor(element, nil)
            return
        }
        let input = context.shape(0)
        var result: [Extent] = []
        var open: Int?
        for (index, extent) in target.enumerated() {
            switch extent {
            case .fixed(-1):
                if open != nil { throw context.failure("the target shape \(list(target)) has two entries of -1") }
                open = index
                result.append(.unknown)
            case .fixed(0) where !attributes.zeroIsExtent:
                if let input, index >= input.rank {
                    throw context.failure(
                        "the target shape \(list(target)) copies axis \(index), but the input's shape is \(input)")
                }
                result.append(input?[index].extent ?? .unknown)
            case .fixed(let value) where value < 0:
                throw context.failure("the target shape \(list(target)) has the entry \(value)")
            default: result.append(extent)
            }
        }
        if let input {
            let unknown = result.indices.filter { !result[$0].isKnown }
            // One entry that is not known follows from the number of elements, whether written -1 or computed.
            if unknown.count == 1, unknown[0] == open || open == nil {
                result[unknown[0]] = remaining(input.extents, result, except: unknown[0])
                if case .fixed(let value) = result[unknown[0]], value < 0 { result[unknown[0]] = .unknown }
            }
            if case .fixed(let from) = input.elementCount, case .fixed(let to) = Extent.product(result), from != to {
                throw context.failure(
                    "the shape \(input) of \(from) elements cannot become \(SymbolicShape(extents: result))")
            }
            if open == nil || unknown.count == 1, let open, case .unknown = result[open],
                case .fixed(let from) = input.elementCount,
                case .fixed(let others) = Extent.product(
                    result.enumerated().filter { $0.offset != open }.map(\.element)),
                others == 0 || from % others != 0
            {
                throw context.failure("the shape \(input) of \(from) elements cannot become \(list(target))")
            }
        }
        context.setTensor(element, SymbolicShape(extents: result))
        passContent(&context)
    }

    /// The extent that makes two shapes hold equally many elements.
    private static func remaining(_ input: [Extent], _ target: [Extent], except open: Int) -> Extent {
        var numerator = input
        var denominator: [Extent] = []
        for (index, extent) in target.enumerated() where index != open {
            if let same = numerator.firstIndex(of: extent), extent.isKnown {
                numerator.remove(at: same)
            } else {
                denominator.append(extent)
            }
        }
        let divisor = Extent.product(denominator)
        if divisor == .fixed(0) { return .unknown }
        return Extent.product(numerator).dividedExactly(by: divisor)
    }

    private static func list(_ extents: [Extent]) -> String {
        let parts = extents.map { if case .fixed(let value) = $0 { String(value) } else { $0.text } }
        return "[\(parts.joined(separator: ", "))]"
    }

    private static func inferFlatten(_ context: inout InferenceContext) throws {
        let axis = try context.reader.int("axis", default: 1)
        guard let x = context.shape(0) else {
            context.setTensor(context.elementType(0), [Dimension(.unknown), Dimension(.unknown)])
            return
        }
        guard axis >= -x.rank, axis <= x.rank else {
            throw context.failure("the axis \(axis) is outside a tensor of shape \(x)")
        }
        let split = axis < 0 ? axis + x.rank : axis
        context.setTensor(
            context.elementType(0),
            SymbolicShape(extents: [
                Extent.product(x.extents.prefix(split)), Extent.product(x.extents.dropFirst(split)),
            ]))
    }

    private static func inferSqueeze(_ context: inout InferenceContext) throws {
        let attributes = try SqueezeAttributes(context.node, opset: context.opset)
        let given = attributes.axes ?? attributes.axesInput.flatMap { context.integers($0) }
        guard let x = context.shape(0) else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        var dropped: [Int]
        if let given {
            dropped = try context.normalized(axes: given, rank: x.rank)
            for axis in dropped {
                if let count = x[axis].count, count != 1 {
                    throw context.failure("axis \(axis) of the shape \(x) has extent \(count), not 1")
                }
            }
        } else if attributes.axesInput.map({ context.has($0) }) ?? false {
            let count = context.shape(1)?.counts?.first
            context.setTensor(
                context.elementType(0),
                count.flatMap {
                    $0 <= x.rank ? SymbolicShape(extents: Array(repeating: .unknown, count: x.rank - $0)) : nil
                })
            return
        } else {
            guard x.isKnown else {
                context.setTensor(context.elementType(0), nil)
                return
            }
            dropped = x.extents.indices.filter { x.extents[$0] == .fixed(1) }
        }
        context.setTensor(
            context.elementType(0),
            SymbolicShape(extents: x.extents.enumerated().filter { !dropped.contains($0.offset) }.map(\.element)))
        passContent(&context)
    }

    private static func inferUnsqueeze(_ context: inout InferenceContext) throws {
        let attributes = try SqueezeAttributes(context.node, opset: context.opset)
        let given = attributes.axes ?? attributes.axesInput.flatMap { context.integers($0) }
        guard let x = context.shape(0) else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        guard let given else {
            let count = context.shape(1)?.counts?.first
            context.setTensor(
                context.elementType(0),
                count.flatMap {
                    $0 <= 64 ? SymbolicShape(extents: Array(repeating: .unknown, count: x.rank + $0)) : nil
                })
            return
        }
        let rank = x.rank + given.count
        let axes = try context.normalized(axes: given, rank: rank)
        var rest = x.extents[...]
        let extents = (0..<rank).map { axes.contains($0) ? Extent.fixed(1) : rest.removeFirst() }
        context.setTensor(context.elementType(0), SymbolicShape(extents: extents))
        passContent(&context)
    }
}

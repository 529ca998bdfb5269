import GraftCore

/// The settings of a Split.
public struct SplitAttributes: Sendable {
    /// The axis; negative counts from the end.
    public let axis: Int
    /// The extents of the parts where they are an attribute (before opset 13).
    public let split: [Int]?
    /// The input that holds the extents of the parts; nil where they are an attribute.
    public let splitInput: Int?
    /// How many equal parts are wanted (from opset 18).
    public let parts: Int?

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        axis = try reader.int("axis", default: 0)
        split = opset < 13 ? try reader.ints("split") : nil
        splitInput = opset < 2 || opset >= 13 ? 1 : nil
        parts = opset >= 18 ? try reader.int("num_outputs") : nil
    }

    /// The extents of the parts of an axis.
    ///
    /// - Parameters:
    ///   - extent: the extent of the axis.
    ///   - outputs: how many outputs the node has.
    ///   - given: the content of the input that holds the extents; nil where it is left out.
    /// - Returns: nil where they do not add up.
    public func resolved(extent: Int, outputs: Int, given: [Int]?) -> [Int]? {
        if let sizes = split ?? given {
            var sum = 0
            for size in sizes {
                guard size >= 0, let next = Checked.sum(sum, size) else { return nil }
                sum = next
            }
            return sum == extent && sizes.count == outputs ? sizes : nil
        }
        guard outputs > 0 else { return nil }
        // From opset 18 the last part is smaller where the extent does not divide.
        let size = (extent + outputs - 1) / outputs
        if parts == nil, extent % outputs != 0 { return nil }
        let last = extent - size * (outputs - 1)
        return last < 0 ? nil : Array(repeating: size, count: outputs - 1) + [last]
    }
}

/// Joining tensors along an axis, and taking them apart.
enum Concatenation: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Concat", versions: [1, 4, 11, 13], inputs: 1...OperatorSchema.many, gradient: .rule(concatGradient),
            inference: inferConcat),
        OperatorSchema(
            "Split", versions: [1, 2, 11, 13, 18], inputs: 1...2, outputs: 1...OperatorSchema.many,
            gradient: .rule(splitGradient), inference: inferSplit),
    ]

    private static func inferConcat(_ context: inout InferenceContext) throws {
        let axis = try context.reader.int("axis", default: 1)
        let inputs = 0..<context.node.inputs.count
        let element = context.commonElementType(inputs)
        guard let rank = inputs.compactMap({ context.shape($0)?.rank }).first else {
            context.setTensor(element, nil)
            return
        }
        guard rank > 0 else { throw context.failure("scalars cannot be concatenated") }
        let position = try context.normalized(axis: axis, rank: rank)
        var result: [Extent] = Array(repeating: .unknown, count: rank)
        var total: Extent = .fixed(0)
        for input in inputs {
            guard let shape = context.shape(input) else {
                total = .unknown
                continue
            }
            guard shape.rank == rank else {
                throw context.failure(
                    "input \(input) has the shape \(shape), but the first input has the shape \(context.shapeText(0))")
            }
            total = total + shape[position].extent
            for other in 0..<rank where other != position {
                guard let extent = result[other].unified(with: shape[other].extent) else {
                    throw context.failure(
                        "input \(input) of shape \(shape) does not fit input 0 of shape \(context.shapeText(0)) "
                            + "along axis \(other)")
                }
                result[other] = extent
            }
        }
        result[position] = total
        context.setTensor(element, SymbolicShape(extents: result))
        if rank == 1 {
            var all: [Extent] = []
            for input in inputs {
                guard let extents = context.extents(input) else { return }
                all += extents
            }
            if all.contains(where: { $0 != .unknown }) { context.setExtents(all, isScalar: false) }
        }
    }

    private static func concatGradient(_ context: inout GradientContext) throws {
        let axis = try context.reader.int("axis", default: 1)
        let dy = try context.requiredGradient()
        let inputs = try context.node.inputs.indices.map { try context.requiredInput($0) }
        if inputs.count == 1 {
            context.setGradient(ofInput: 0, dy)
            return
        }
        let rank = context.shape(of: dy)?.rank ?? inputs.compactMap { context.shape(of: $0)?.rank }.first
        let position = rank.map { axis < 0 ? axis + $0 : axis } ?? axis
        let counts = inputs.map { input in
            context.shape(of: input).flatMap { $0.dimensions.indices.contains(position) ? $0[position].count : nil }
        }
        let known = counts.compactMap { $0 }
        let wanted = inputs.indices.map { context.needs($0) }
        let parts: [ValueID?]
        if known.count == inputs.count, context.onnxOpset < 13 {
            // The outputs of an old Split cannot be left out; what nobody reads costs a copy.
            parts = context.emit(
                "Split", [dy], wanted: wanted.map { _ in true },
                attributes: ["axis": .int(axis), "split": .ints(known)])
        } else if known.count == inputs.count {
            parts = context.emit(
                "Split", [dy, context.integers(known)], wanted: wanted.map { _ in true },
                attributes: ["axis": .int(axis)])
        } else if context.onnxOpset >= 13, position >= 0 {
            // Extents that are known only when the graph runs.
            let sizes = inputs.map { input in
                context.emit("Gather", [context.emit("Shape", [input]), context.integers([position])])
            }
            let list = context.emit("Concat", sizes, attributes: ["axis": .int(0)])
            parts = context.emit(
                "Split", [dy, list], wanted: wanted.map { _ in true }, attributes: ["axis": .int(axis)])
        } else {
            throw context.failure("the gradient needs known extents along axis \(axis) before opset 13")
        }
        for index in inputs.indices where context.needs(index) { context.setGradient(ofInput: index, parts[index]) }
    }

    private static func inferSplit(_ context: inout InferenceContext) throws {
        let attributes = try SplitAttributes(context.node, opset: context.opset)
        let count = context.node.outputs.count
        guard let x = context.shape(0)?.plain else {
            for output in 0..<count { context.setTensor(context.elementType(0), nil, of: output) }
            return
        }
        let axis = try context.normalized(axis: attributes.axis, rank: x.rank)
        let given = attributes.splitInput.flatMap { context.integers($0) }
        let isOpen = attributes.splitInput.map { context.has($0) } ?? false && given == nil
        var parts: [Extent] = Array(repeating: .unknown, count: count)
        if !isOpen, let extent = x[axis].count {
            guard let sizes = attributes.resolved(extent: extent, outputs: count, given: given) else {
                throw context.failure(
                    "axis \(axis) of the shape \(x) does not divide into "
                        + ((attributes.split ?? given).map { "\($0)" } ?? "\(count) parts"))
            }
            parts = sizes.map { .fixed($0) }
        } else if let sizes = attributes.split ?? given, sizes.count == count {
            parts = sizes.map { .fixed($0) }
        } else if !isOpen, attributes.parts == nil {
            parts = parts.map { _ in x[axis].extent.dividedExactly(by: .fixed(count)) }
        }
        let content = x.rank == 1 ? context.content(0)?.extents : nil
        var start = 0
        for output in 0..<count {
            var shape = x
            shape[axis].extent = parts[output]
            context.setTensor(context.elementType(0), shape, of: output)
            if let content, let length = shape[axis].count, start + length <= content.count {
                context.setExtents(Array(content[start..<(start + length)]), isScalar: false, of: output)
                start += length
            }
        }
    }

    /// The gradients of the parts, joined; a part that nothing depends on counts as zero.
    private static func splitGradient(_ context: inout GradientContext) throws {
        guard context.needs(0) else { return }
        let attributes = try SplitAttributes(context.node, opset: context.opset)
        var parts: [ValueID] = []
        for index in context.node.outputs.indices {
            if let gradient = context.gradient(ofOutput: index) {
                parts.append(gradient)
            } else {
                let output = try context.requiredOutput(index)
                parts.append(context.expanded(try context.scalar(0, like: output), to: output))
            }
        }
        context.setGradient(
            ofInput: 0,
            parts.count == 1 ? parts[0] : context.emit("Concat", parts, attributes: ["axis": .int(attributes.axis)]))
    }
}

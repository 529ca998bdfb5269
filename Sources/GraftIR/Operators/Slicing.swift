import GraftCore

/// Where a Slice begins and ends: attributes before opset 10, inputs since.
public struct SliceAttributes: Sendable {
    /// The beginnings where they are an attribute.
    public let starts: [Int]?
    /// The ends where they are an attribute.
    public let ends: [Int]?
    /// The axes where they are an attribute.
    public let axes: [Int]?
    /// Whether starts, ends, axes and steps are the inputs 1 to 4.
    public let boundsAreInputs: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        boundsAreInputs = opset >= 10
        starts = boundsAreInputs ? nil : try reader.ints("starts")
        ends = boundsAreInputs ? nil : try reader.ints("ends")
        axes = boundsAreInputs ? nil : try reader.ints("axes")
    }

    /// The first index, the step and the number of elements of a slice of one axis, by the rules of Slice-13.
    public static func resolve(extent: Int, start: Int, end: Int, step: Int) -> (first: Int, step: Int, count: Int) {
        guard step != 0, extent > 0 else { return (0, step, 0) }
        func wrapped(_ index: Int) -> Int {
            index < 0 ? (index &+ extent < 0 || index < -extent ? -1 : index + extent) : index
        }
        if step > 0 {
            let first = min(max(start < 0 ? max(start, -extent) + extent : start, 0), extent)
            let last = min(max(end < 0 ? max(end, -extent) + extent : end, 0), extent)
            return (first, step, last > first ? (last - first - 1) / step + 1 : 0)
        }
        let first = min(start < 0 ? max(start, -extent) + extent : start, extent - 1)
        let last = min(wrapped(end), extent - 1)
        guard first > last else { return (first, step, 0) }
        let stride = step == Int.min ? Int.max : -step
        return (first, step, (first - last - 1) / stride + 1)
    }
}

/// How the elements around a Pad are chosen.
public enum PadMode: String, Sendable, CaseIterable {
    /// One number.
    case constant
    /// Mirrored at the edge, which is not repeated.
    case reflect
    /// The nearest element of the edge.
    case edge
    /// The tensor repeats.
    case wrap
}

/// The settings of a Pad: the amounts are an attribute before opset 11, an input since.
public struct PadAttributes: Sendable {
    /// How the elements around are chosen.
    public let mode: PadMode
    /// The amounts, all beginnings and then all ends, where they are an attribute.
    public let pads: [Int]?
    /// The number around where it is an attribute.
    public let value: Float
    /// Whether amounts, number and axes are the inputs 1 to 3.
    public let padsAreInputs: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an unknown mode or an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        padsAreInputs = opset >= 11
        mode = try reader.choice("mode", default: .constant)
        pads = padsAreInputs ? nil : try reader.ints(opset < 2 ? "paddings" : "pads")
        value = padsAreInputs ? 0 : try reader.float("value", default: 0)
    }
}

/// Cutting parts out of tensors and padding them.
enum Slicing: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Slice", versions: [1, 10, 11, 13], inputs: 1...5, gradient: .rule(sliceGradient), inference: inferSlice),
        // (dY, X, starts, ends, axes, steps) -> dX
        OperatorSchema(
            OperatorName("SliceGrad", domain: graftDomain), inputs: 4...6,
            gradient: .unsupported(reason: "second derivatives are not computed"), inference: CommonInference.like(1)),
        OperatorSchema(
            "Pad", versions: [1, 2, 11, 13, 18, 19, 21, 23, 24, 25], inputs: 1...4, gradient: .rule(padGradient),
            inference: inferPad),
        // (dY, pads, axes; mode) -> dX: each element of dY is added where the forward node read it.
        OperatorSchema(
            OperatorName("PadGrad", domain: graftDomain), inputs: 2...3,
            gradient: .unsupported(reason: "second derivatives are not computed"),
            inference: { context in
                guard let shape = context.shape(0), let pads = context.integers(1) else {
                    context.setTensor(
                        context.elementType(0),
                        context.shape(0).map { SymbolicShape(extents: $0.extents.map { _ in .unknown }) })
                    return
                }
                let axes = try context.integers(2).map { try context.normalized(axes: $0, rank: shape.rank) }
                context.setTensor(context.elementType(0), try padded(shape, pads, axes, sign: -1, context))
            }),
        OperatorSchema(
            "CenterCropPad", versions: [18], inputs: 2...2,
            gradient: .unsupported(reason: "cropping and padding around the centre has no gradient rule"),
            inference: { context in
                guard var shape = context.shape(0)?.plain else {
                    context.setTensor(context.elementType(0), nil)
                    return
                }
                let axes =
                    try context.reader.ints("axes").map { try context.normalized(axes: $0, rank: shape.rank) }
                    ?? Array(0..<shape.rank)
                let target = context.extents(1)
                for (index, axis) in axes.enumerated() {
                    shape[axis].extent = target.flatMap { index < $0.count ? $0[index] : nil } ?? .unknown
                }
                context.setTensor(context.elementType(0), shape)
            }),
    ]

    private static func inferSlice(_ context: inout InferenceContext) throws {
        let attributes = try SliceAttributes(context.node, opset: context.opset)
        guard let x = context.shape(0)?.plain else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        let starts = attributes.starts.map { $0.map { Extent.fixed($0) } } ?? context.extents(1)
        let ends = attributes.ends.map { $0.map { Extent.fixed($0) } } ?? context.extents(2)
        let steps = context.has(4) && attributes.boundsAreInputs ? context.integers(4) : []
        let hasAxes = attributes.boundsAreInputs ? context.has(3) : attributes.axes != nil
        let axes = attributes.boundsAreInputs ? context.integers(3) : attributes.axes
        guard let starts, let ends, starts.count == ends.count, !hasAxes || axes?.count == starts.count, let steps
        else {
            // Which axes are cut is not known: only the rank stays.
            context.setTensor(
                context.elementType(0), SymbolicShape(extents: x.extents.map { _ in .unknown }))
            return
        }
        let positions = try context.normalized(axes: axes ?? Array(0..<starts.count), rank: x.rank)
        var result = x
        var indices: [Int]?
        for (index, axis) in positions.enumerated() {
            let step = steps.isEmpty ? 1 : index < steps.count ? steps[index] : 1
            if step == 0 { throw context.failure("the step of axis \(axis) is 0") }
            result[axis].extent = sliced(x[axis].extent, starts[index], ends[index], step)
            if x.rank == 1, let extent = x[axis].count, case .fixed(let start) = starts[index],
                case .fixed(let end) = ends[index]
            {
                let range = SliceAttributes.resolve(extent: extent, start: start, end: end, step: step)
                if range.count <= KnownContent.countLimit {
                    indices = (0..<range.count).map { range.first + $0 * step }
                }
            }
        }
        context.setTensor(context.elementType(0), result)
        if let indices, let content = context.content(0)?.extents, indices.allSatisfy({ content.indices.contains($0) })
        {
            context.setExtents(indices.map { content[$0] }, isScalar: false)
        }
        if x.rank > 1, let counts = x.counts, var strides = InferenceContext.strides(counts), let shape = result.counts
        {
            var offset = 0
            for (index, axis) in positions.enumerated() {
                guard case .fixed(let start) = starts[index], case .fixed(let end) = ends[index] else { return }
                let step = index < steps.count ? steps[index] : 1
                let range = SliceAttributes.resolve(extent: counts[axis], start: start, end: end, step: step)
                // Every index lies inside the tensor, so steps and places stay small.
                guard range.count > 0 else { return }
                offset += range.first * strides[axis]
                strides[axis] *= range.count > 1 ? step : 0
            }
            context.rearrange(shape, offset: offset, strides: strides)
        }
    }

    /// The extent of a slice; ends may be expressions.
    private static func sliced(_ extent: Extent, _ start: Extent, _ end: Extent, _ step: Int) -> Extent {
        if case .fixed(let count) = extent, count >= 0, case .fixed(let start) = start, case .fixed(let end) = end {
            return .fixed(SliceAttributes.resolve(extent: count, start: start, end: end, step: step).count)
        }
        // Beyond this an end says "to the last element".
        let beyond = Int(Int32.max) - 1
        if step == -1, case .fixed(-1) = start, case .fixed(let end) = end, end < -beyond { return extent }
        guard step > 0 else { return .unknown }
        func position(_ bound: Extent) -> Extent {
            switch bound {
            case .fixed(let value) where value >= beyond: extent
            case .fixed(let value) where value < -beyond: .fixed(0)
            case .fixed(let value) where value < 0: extent + .fixed(value)
            case .fixed(let value):
                if case .fixed(let count) = extent { .fixed(min(value, count)) } else { Extent.minimum(bound, extent) }
            default: bound == extent ? extent : Extent.minimum(bound, extent)
            }
        }
        let first: Extent =
            if case .fixed(let value) = start, value >= 0, value < beyond { start } else { position(start) }
        let difference = position(end) - first
        return difference.ceilDivided(by: step)
    }

    private static func sliceGradient(_ context: inout GradientContext) throws {
        guard context.needs(0) else { return }
        let attributes = try SliceAttributes(context.node, opset: context.opset)
        var bounds: [ValueID?] = (1..<5).map { context.input($0) }
        if !attributes.boundsAreInputs {
            let starts = attributes.starts ?? []
            bounds = [
                context.integers(starts), context.integers(attributes.ends ?? []),
                context.integers(attributes.axes ?? Array(0..<starts.count)),
            ]
        }
        while let last = bounds.last, last == nil { bounds.removeLast() }
        context.setByOperator(
            "SliceGrad", [try context.requiredGradient(), try context.requiredInput(0)] + bounds)
    }

    /// The shape with `sign` times the padding added along the axes.
    private static func padded(
        _ shape: SymbolicShape, _ pads: [Int], _ axes: [Int]?, sign: Int, _ context: InferenceContext
    ) throws -> SymbolicShape {
        let axes = axes ?? Array(0..<shape.rank)
        guard pads.count == 2 * axes.count else {
            throw context.failure("\(pads.count) amounts of padding do not fit the \(axes.count) axes of \(shape)")
        }
        var result = shape.plain
        for (index, axis) in axes.enumerated() {
            guard let total = Checked.sum(pads[index], pads[index + axes.count]), total.magnitude < Int.max / 2 else {
                throw context.failure("the padding of axis \(axis) is out of range")
            }
            let extent = shape[axis].extent + .fixed(sign * total)
            if case .fixed(let count) = extent, count < 0, shape[axis].count != nil {
                throw context.failure("the padding \(pads) removes more than axis \(axis) of the shape \(shape) has")
            }
            result[axis].extent = extent
        }
        return result
    }

    private static func inferPad(_ context: inout InferenceContext) throws {
        let attributes = try PadAttributes(context.node, opset: context.opset)
        guard let x = context.shape(0) else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        let pads = attributes.pads ?? (attributes.padsAreInputs ? context.integers(1) : nil)
        let hasAxes = attributes.padsAreInputs && context.has(3)
        let axes = hasAxes ? context.integers(3) : nil
        guard let pads, !hasAxes || axes != nil else {
            context.setTensor(context.elementType(0), SymbolicShape(extents: x.extents.map { _ in .unknown }))
            return
        }
        let positions = try axes.map { try context.normalized(axes: $0, rank: x.rank) }
        context.setTensor(context.elementType(0), try padded(x, pads, positions, sign: 1, context))
    }

    private static func padGradient(_ context: inout GradientContext) throws {
        guard context.needs(0) else { return }
        let attributes = try PadAttributes(context.node, opset: context.opset)
        let pads = try attributes.pads.map { context.integers($0) } ?? context.requiredInput(1)
        let axes = attributes.padsAreInputs ? context.input(3) : nil
        context.setByOperator(
            "PadGrad", [try context.requiredGradient(), pads] + (axes.map { [$0] } ?? []),
            attributes: ["mode": .string(attributes.mode.rawValue)])
    }
}

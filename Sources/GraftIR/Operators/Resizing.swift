import GraftCore

/// The settings of a Resize or Upsample, whatever its version.
public struct ResizeAttributes: Sendable {
    /// How elements between the input's are made.
    public enum Mode: String, Sendable, CaseIterable {
        /// The nearest element.
        case nearest
        /// Linear along each axis.
        case linear
        /// Cubic along each axis.
        case cubic
    }

    /// How the result's extents follow from a wanted size.
    public enum AspectRatio: String, Sendable, CaseIterable {
        /// As given.
        case stretch
        /// The largest that fits inside.
        case notLarger = "not_larger"
        /// The smallest that covers.
        case notSmaller = "not_smaller"
    }

    /// How elements between the input's are made.
    public let mode: Mode
    /// How positions of the result map to positions of the input, such as `half_pixel`.
    public let coordinates: String
    /// How positions round in ``Mode/nearest``, such as `round_prefer_floor`.
    public let nearest: String
    /// The coefficient of cubic interpolation.
    public let cubicCoefficient: Float
    /// Whether weights of elements outside count as zero.
    public let excludesOutside: Bool
    /// The number outside for `tf_crop_and_resize`.
    public let extrapolation: Float
    /// Whether shrinking averages over all elements that fall together.
    public let antialiases: Bool
    /// The axes that scales and sizes refer to; all where nil.
    public let axes: [Int]?
    /// How the aspect ratio is kept.
    public let aspectRatio: AspectRatio
    /// The factors where they are an attribute (Upsample before opset 9).
    public let scales: [Float]?
    /// The inputs that hold the region, the factors and the sizes; nil where there is no such input.
    public let inputs: (region: Int?, scales: Int?, sizes: Int?)

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an unknown mode or an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        let text = try reader.string("mode") ?? "nearest"
        // Upsample before opset 9 calls linear interpolation of images "bilinear".
        guard let mode = Mode(rawValue: text == "bilinear" || text == "trilinear" ? "linear" : text) else {
            throw reader.failure("mode", "is \"\(text)\"; it must be nearest, linear or cubic")
        }
        self.mode = mode
        let isOld = node.op.isONNX("Upsample") || (node.op.isONNX("Resize") && opset < 11)
        coordinates = try reader.string("coordinate_transformation_mode") ?? (isOld ? "asymmetric" : "half_pixel")
        nearest = try reader.string("nearest_mode") ?? (isOld ? "floor" : "round_prefer_floor")
        cubicCoefficient = try reader.float("cubic_coeff_a", default: -0.75)
        excludesOutside = try reader.flag("exclude_outside")
        extrapolation = try reader.float("extrapolation_value", default: 0)
        antialiases = try reader.flag("antialias")
        axes = try reader.ints("axes")
        aspectRatio = try reader.choice("keep_aspect_ratio_policy", default: .stretch)
        if node.op.isONNX("Upsample"), opset < 9 {
            var list = try reader.floats("scales")
            if opset < 7, list == nil, let height = try reader.float("height_scale"),
                let width = try reader.float("width_scale")
            {
                list = [1, 1, height, width]
            }
            guard let list else { throw reader.failure("scales", "is missing") }
            scales = list
            inputs = (nil, nil, nil)
        } else {
            scales = nil
            inputs = isOld ? (nil, 1, nil) : (1, 2, 3)
        }
    }

    /// The extent of an axis scaled by a factor: rounded down.
    public static func scaled(_ extent: Int, by scale: Float) -> Int? {
        let product = (Double(extent) * Double(scale)).rounded(.down)
        return product >= 0 && product < 1e15 ? Int(product) : nil
    }

    /// The settings spelled out for ``graftDomain``'s `ResizeGrad`.
    fileprivate var explicit: Attributes {
        var result: Attributes = [
            "mode": .string(mode.rawValue), "coordinate_transformation_mode": .string(coordinates),
            "nearest_mode": .string(nearest), "cubic_coeff_a": .float(cubicCoefficient),
            "exclude_outside": .int(excludesOutside ? 1 : 0), "extrapolation_value": .float(extrapolation),
            "antialias": .int(antialiases ? 1 : 0), "keep_aspect_ratio_policy": .string(aspectRatio.rawValue),
        ]
        if let axes { result["axes"] = .ints(axes) }
        return result
    }
}

/// Interpolation to other sizes and places.
enum Resizing: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Resize", versions: [10, 11, 13, 18, 19], inputs: 1...4, gradient: .rule(resizeGradient),
            inference: inferResize),
        OperatorSchema(
            "Upsample", versions: [1, 7, 9, 10], inputs: 1...2, gradient: .rule(resizeGradient),
            inference: inferResize),
        // (dY, X, roi, scales, sizes) -> dX, with the attributes of Resize-19 spelled out.
        OperatorSchema(
            OperatorName("ResizeGrad", domain: graftDomain), inputs: 2...5,
            gradient: .unsupported(reason: "second derivatives are not computed"), inference: CommonInference.like(1)),
        OperatorSchema(
            "GridSample", versions: [16, 20, 22], inputs: 2...2,
            gradient: .rule { context in
                let inputs = [
                    try context.requiredGradient(), try context.requiredInput(0), try context.requiredInput(1),
                ]
                let gradients = context.emit(
                    "GridSampleGrad", inputs, wanted: [context.needs(0), context.needs(1)], domain: graftDomain,
                    attributes: context.attributes)
                for (index, gradient) in gradients.enumerated() { context.setGradient(ofInput: index, gradient) }
            },
            inference: { context in
                guard let x = context.shape(0), let grid = context.shape(1), x.rank == grid.rank, x.rank >= 3 else {
                    context.setTensor(context.elementType(0), nil)
                    return
                }
                let spatial = grid.extents[1..<(grid.rank - 1)]
                context.setTensor(
                    context.elementType(0), SymbolicShape(extents: [x[0].extent, x[1].extent] + spatial))
            }),
        // (dY, X, grid) -> (dX, dGrid), with the attributes of the node.
        OperatorSchema(
            OperatorName("GridSampleGrad", domain: graftDomain), inputs: 3...3, outputs: 1...2,
            gradient: .unsupported(reason: "second derivatives are not computed"),
            inference: CommonInference.like(1, 2)),
        OperatorSchema(
            "AffineGrid", versions: [20], inputs: 2...2,
            gradient: .unsupported(reason: "grids of affine maps have no gradient rule"),
            inference: { context in
                guard let size = context.extents(1), size.count >= 4 else {
                    context.setTensor(context.elementType(0), nil)
                    return
                }
                context.setTensor(
                    context.elementType(0),
                    SymbolicShape(extents: [size[0]] + size.dropFirst(2) + [.fixed(size.count - 2)]))
            }),
    ]

    private static func inferResize(_ context: inout InferenceContext) throws {
        let attributes = try ResizeAttributes(context.node, opset: context.opset)
        guard var shape = context.shape(0)?.plain else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        let axes =
            try attributes.axes.map { try context.normalized(axes: $0, rank: shape.rank) }
            ?? Array(0..<shape.rank)
        let hasSizes = attributes.inputs.sizes.map { context.has($0) } ?? false
        let sizes = hasSizes ? attributes.inputs.sizes.flatMap { context.extents($0) } : nil
        let scales =
            attributes.scales?.map { Double($0) }
            ?? attributes.inputs.scales.flatMap { context.content($0)?.numbers }
        if let sizes, sizes.count == axes.count {
            try apply(sizes, axes, attributes, &shape, context)
        } else if !hasSizes, let scales, !scales.isEmpty {
            guard scales.count == axes.count else {
                throw context.failure("\(scales.count) scales do not fit the shape \(shape)")
            }
            for (index, axis) in axes.enumerated() {
                let scale = Float(scales[index])
                if let count = shape[axis].count {
                    guard let scaled = ResizeAttributes.scaled(count, by: scale) else {
                        throw context.failure("the scale \(scale) of axis \(axis) is out of range")
                    }
                    shape[axis].extent = .fixed(scaled)
                } else if let whole = Int(exactly: scale), whole > 0 {
                    shape[axis].extent = shape[axis].extent * .fixed(whole)
                } else if scale > 0, let divisor = Int(exactly: (1 / scale).rounded()), 1 / Float(divisor) == scale {
                    shape[axis].extent = shape[axis].extent.floorDivided(by: .fixed(divisor))
                } else {
                    shape[axis].extent = .unknown
                }
            }
        } else {
            for axis in axes { shape[axis].extent = .unknown }
        }
        context.setTensor(context.elementType(0), shape)
    }

    /// Sizes, with the aspect ratio kept where the node says so.
    private static func apply(
        _ sizes: [Extent], _ axes: [Int], _ attributes: ResizeAttributes, _ shape: inout SymbolicShape,
        _ context: InferenceContext
    ) throws {
        guard attributes.aspectRatio != .stretch else {
            for (index, axis) in axes.enumerated() { shape[axis].extent = sizes[index] }
            return
        }
        var ratios: [Double] = []
        for (index, axis) in axes.enumerated() {
            if case .fixed(let size) = sizes[index], let count = shape[axis].count, count > 0 {
                ratios.append(Double(size) / Double(count))
            }
        }
        let ratio = attributes.aspectRatio == .notLarger ? ratios.min() : ratios.max()
        for axis in axes {
            if ratios.count == axes.count, let ratio, let count = shape[axis].count {
                shape[axis].extent = .fixed(Int((ratio * Double(count) + 0.5).rounded(.down)))
            } else {
                shape[axis].extent = .unknown
            }
        }
    }

    private static func resizeGradient(_ context: inout GradientContext) throws {
        guard context.needs(0) else { return }
        let attributes = try ResizeAttributes(context.node, opset: context.opset)
        let x = try context.requiredInput(0)
        var inputs: [ValueID?] = [try context.requiredGradient(), x]
        if let scales = attributes.scales {
            let id = context.graph.addInitializer(context.graph.uniqueValueName("grad/scales"), Tensor(scales))
            inputs += [nil, id]
        } else {
            inputs += [
                attributes.inputs.region.flatMap { context.input($0) },
                attributes.inputs.scales.flatMap { context.input($0) },
                attributes.inputs.sizes.flatMap { context.input($0) },
            ]
        }
        while let last = inputs.last, last == nil { inputs.removeLast() }
        context.setByOperator("ResizeGrad", inputs, attributes: attributes.explicit)
    }
}

import GraftCore

/// The settings of a Conv, whatever its version.
public struct ConvolutionAttributes: Sendable {
    /// The window.
    public let window: WindowAttributes
    /// Into how many groups the channels are divided.
    public let groups: Int

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for values that no convolution has.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        window = try WindowAttributes(node)
        groups = try AttributeReader(node).int("group", default: 1)
        if groups < 1 { throw AttributeReader(node).failure("group", "is \(groups); it must be positive") }
    }
}

/// The settings of a ConvTranspose, whatever its version.
public struct ConvTransposeAttributes: Sendable {
    /// The window; ``WindowAttributes/resolved(input:kernel:)`` does not apply.
    public let window: WindowAttributes
    /// Into how many groups the channels are divided.
    public let groups: Int
    /// What is added to one side of the output.
    public let outputPadding: [Int]?
    /// The spatial extents of the output, which decide the padding where given.
    public let outputShape: [Int]?

    private let node: Node

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for values that no convolution has.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        self.node = node
        let reader = AttributeReader(node)
        window = try WindowAttributes(node)
        groups = try reader.int("group", default: 1)
        outputPadding = try reader.ints("output_padding").flatMap { $0.isEmpty ? nil : $0 }
        outputShape = try reader.ints("output_shape").flatMap { $0.isEmpty ? nil : $0 }
        for (name, values) in [("output_padding", outputPadding), ("output_shape", outputShape)] {
            if let values, values.contains(where: { $0 < 0 || $0 > WindowAttributes.extentLimit }) {
                throw reader.failure(name, "is \(values), which is out of range")
            }
        }
        if groups < 1 { throw reader.failure("group", "is \(groups); it must be positive") }
    }

    /// The window for an input of the given spatial extents: `output = stride * (input - 1) + output_padding +
    /// (kernel - 1) * dilation + 1 - pads`; where `output_shape` or `auto_pad` decides, the pads follow from it.
    ///
    /// - Throws: ``AttributeError`` where lengths differ or numbers are out of range.
    public func resolved(input: [Int], kernel: [Int]) throws(AttributeError) -> SpatialWindow {
        let rank = input.count
        let strides = try window.strides(rank: rank)
        let dilations = try window.dilations(rank: rank)
        var (begin, end) = try window.explicitPads(rank: rank)
        let extra = outputPadding ?? Array(repeating: 0, count: rank)
        guard extra.count == rank else {
            throw AttributeError(
                node: node, attribute: "output_padding", reason: "has \(extra.count) entries, not \(rank)")
        }
        // output_shape may hold batch and channels as well; the spatial axes are last.
        let wanted = outputShape.map { Array($0.suffix(rank)) }
        if let wanted, wanted.count != rank {
            throw AttributeError(
                node: node, attribute: "output_shape", reason: "has \(wanted.count) entries, not \(rank)")
        }
        guard kernel.count == rank else {
            throw AttributeError(
                node: node, attribute: "kernel_shape", reason: "has \(kernel.count) entries, not \(rank)")
        }
        var output: [Int] = []
        for axis in 0..<rank {
            let (steps, overflow) = strides[axis].multipliedReportingOverflow(by: max(input[axis] - 1, 0))
            let (span, spanOverflow) = (kernel[axis] - 1).multipliedReportingOverflow(by: dilations[axis])
            guard !overflow, !spanOverflow, steps < Int.max / 4, span < Int.max / 4 else {
                throw AttributeError(node: node, attribute: "strides", reason: "make an output that is too large")
            }
            let full = steps + extra[axis] + span + 1
            var target = wanted?[axis]
            if target == nil, window.autoPad == .sameUpper || window.autoPad == .sameLower {
                target = input[axis] * strides[axis]
            }
            if let target {
                let total = max(full - target, 0)
                let small = total / 2
                begin[axis] = window.autoPad == .sameUpper ? small : total - small
                end[axis] = total - begin[axis]
                output.append(target)
                continue
            }
            if window.autoPad == .valid {
                begin[axis] = 0
                end[axis] = 0
            }
            output.append(max(full - begin[axis] - end[axis], 0))
        }
        return SpatialWindow(
            kernel: kernel, strides: strides, dilations: dilations, padsBegin: begin, padsEnd: end, output: output)
    }

    func outputExtents(input: [Extent], kernel: [Int]) throws(AttributeError) -> [Extent] {
        let numbers = input.map { if case .fixed(let value) = $0, value >= 0 { value } else { 1 } }
        let window = try resolved(input: numbers, kernel: kernel)
        return (0..<input.count).map { axis in
            if case .fixed(let value) = input[axis], value >= 0 { return .fixed(window.output[axis]) }
            if let wanted = outputShape { return .fixed(wanted.suffix(input.count)[wanted.count - input.count + axis]) }
            let stride = Extent.fixed(window.strides[axis])
            switch self.window.autoPad {
            case .sameUpper, .sameLower: return input[axis] * stride
            // The output for an extent of 1 is what does not grow with the input.
            case .explicit, .valid: return input[axis] * stride + .fixed(window.output[axis]) - stride
            }
        }
    }
}

/// Convolutions, transposed convolutions, and their gradients.
enum Convolution: OperatorFamily {
    static let schemas: [OperatorSchema] =
        [
            OperatorSchema(
                "Conv", versions: [1, 11, 22], inputs: 2...3, gradient: .rule(convolutionGradient),
                cost: convolutionCost, inference: inferConvolution),
            OperatorSchema(
                "ConvTranspose", versions: [1, 11, 22], inputs: 2...3, gradient: .rule(transposeGradient),
                cost: transposeCost, inference: inferTranspose),
            OperatorSchema(
                "DeformConv", versions: [19, 22], inputs: 3...5,
                gradient: .unsupported(reason: "deformable convolutions have no gradient rule"),
                inference: inferDeformable),
        ] + gradientOperators

    /// The gradients as operators: the geometry is that of the forward node, whose attributes they repeat.
    private static let gradientOperators: [OperatorSchema] =
        ["Conv", "ConvTranspose"].flatMap { kind in
            [
                // (dY, W, X) -> dX
                OperatorSchema(
                    OperatorName("\(kind)GradInput", domain: graftDomain), inputs: 3...3,
                    gradient: .unsupported(reason: "second derivatives are not computed"), cost: gradientCost,
                    inference: CommonInference.like(2)),
                // (dY, X, W) -> dW
                OperatorSchema(
                    OperatorName("\(kind)GradWeight", domain: graftDomain), inputs: 3...3,
                    gradient: .unsupported(reason: "second derivatives are not computed"), cost: gradientCost,
                    inference: CommonInference.like(2)),
            ]
        } + [
            // dY -> dB: the sum over all axes but the channels.
            OperatorSchema(
                OperatorName("ConvGradBias", domain: graftDomain), inputs: 1...1,
                gradient: .unsupported(reason: "second derivatives are not computed"),
                inference: { context in
                    let shape = context.shape(0)
                    context.setTensor(
                        context.elementType(0),
                        SymbolicShape(extents: [shape.flatMap { $0.rank > 1 ? $0[1].extent : nil } ?? .unknown]))
                })
        ]

    private static func inferConvolution(_ context: inout InferenceContext) throws {
        let shape = try outputShape(context, input: 0, weight: 1)
        if let bias = context.shape(2), let count = bias.counts, let filters = shape?[1].count, count != [filters] {
            throw context.failure("the bias \(bias) does not fit the \(filters) filters of the weight")
        }
        context.setTensor(context.commonElementType(0...1), shape)
    }

    /// The shape of a convolution of one input with another.
    static func outputShape(_ context: InferenceContext, input: Int, weight: Int) throws -> SymbolicShape? {
        let attributes = try ConvolutionAttributes(context.node, opset: context.opset)
        guard let x = context.shape(input) else { return nil }
        guard let w = context.shape(weight) else {
            return SymbolicShape(extents: Array(repeating: .unknown, count: x.rank))
        }
        guard x.rank >= 3 else {
            throw context.failure("the input of a convolution needs at least 3 axes, but its shape is \(x)")
        }
        guard w.rank == x.rank else {
            throw context.failure("the input \(x) and the weight \(w) have different ranks")
        }
        if let channels = x[1].count, let perGroup = w[1].count {
            let (taken, overflow) = perGroup.multipliedReportingOverflow(by: attributes.groups)
            if overflow || taken != channels {
                throw context.failure(
                    "the input \(x) has \(channels) channels, but the weight \(w) with \(attributes.groups) "
                        + "groups takes \(overflow ? "more" : String(taken))")
            }
        }
        let kernel = SymbolicShape(extents: Array(w.extents.dropFirst(2))).counts ?? attributes.window.kernelShape
        let spatial = try attributes.window.outputExtents(input: Array(x.extents.dropFirst(2)), kernel: kernel)
        return SymbolicShape(extents: [x[0].extent, w[0].extent] + spatial)
    }

    private static func inferTranspose(_ context: inout InferenceContext) throws {
        let attributes = try ConvTransposeAttributes(context.node, opset: context.opset)
        let element = context.commonElementType(0...1)
        guard let x = context.shape(0), let w = context.shape(1) else {
            context.setTensor(
                element, context.shape(0).map { SymbolicShape(extents: Array(repeating: .unknown, count: $0.rank)) })
            return
        }
        guard w.rank == x.rank, x.rank >= 3 else {
            throw context.failure("the input \(x) and the weight \(w) do not fit a transposed convolution")
        }
        if let channels = x[1].count, let given = w[0].count, channels != given {
            throw context.failure("the input \(x) has \(channels) channels, but the weight \(w) takes \(given)")
        }
        let kernel = SymbolicShape(extents: Array(w.extents.dropFirst(2))).counts ?? attributes.window.kernelShape
        let spatial =
            try kernel.map { try attributes.outputExtents(input: Array(x.extents.dropFirst(2)), kernel: $0) }
            ?? Array(repeating: .unknown, count: x.rank - 2)
        context.setTensor(
            element, SymbolicShape(extents: [x[0].extent, w[1].extent * .fixed(attributes.groups)] + spatial))
    }

    private static func inferDeformable(_ context: inout InferenceContext) throws {
        let attributes = try ConvolutionAttributes(context.node, opset: context.opset)
        guard let x = context.shape(0), let w = context.shape(1), w.rank == x.rank, x.rank >= 3 else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        let kernel = SymbolicShape(extents: Array(w.extents.dropFirst(2))).counts
        let spatial = try attributes.window.outputExtents(input: Array(x.extents.dropFirst(2)), kernel: kernel)
        context.setTensor(context.elementType(0), SymbolicShape(extents: [x[0].extent, w[0].extent] + spatial))
    }

    private static func convolutionGradient(_ context: inout GradientContext) throws {
        try gradient(&context, kind: "Conv", attributes: context.attributes)
    }

    private static func transposeGradient(_ context: inout GradientContext) throws {
        try gradient(&context, kind: "ConvTranspose", attributes: context.attributes)
    }

    private static func gradient(
        _ context: inout GradientContext, kind: String, attributes: Attributes
    ) throws {
        let dy = try context.requiredGradient()
        let x = try context.requiredInput(0)
        let w = try context.requiredInput(1)
        if context.needs(0) {
            context.setGradient(
                ofInput: 0, context.emitGraft("\(kind)GradInput", [dy, w, x], attributes: attributes))
        }
        if context.needs(1) {
            context.setGradient(
                ofInput: 1, context.emitGraft("\(kind)GradWeight", [dy, x, w], attributes: attributes))
        }
        if context.needs(2) { context.setGradient(ofInput: 2, context.emitGraft("ConvGradBias", [dy])) }
    }

    private static func convolutionCost(_ node: Node, _ inputs: [[Int]?], _ outputs: [[Int]?]) -> Int? {
        guard inputs.count > 1, let w = inputs[1], let y = outputs.first ?? nil else { return nil }
        return Checked.product(y + w.dropFirst())
    }

    private static func transposeCost(_ node: Node, _ inputs: [[Int]?], _ outputs: [[Int]?]) -> Int? {
        guard inputs.count > 1, let x = inputs[0], let w = inputs[1] else { return nil }
        return Checked.product(x + w.dropFirst())
    }

    private static func gradientCost(_ node: Node, _ inputs: [[Int]?], _ outputs: [[Int]?]) -> Int? {
        guard inputs.count > 2, let dy = inputs[0], let w = node.op.type.hasSuffix("Input") ? inputs[1] : inputs[2]
        else { return nil }
        return Checked.product(dy + w.dropFirst())
    }
}

import GraftCore

/// The numbers that shape an activation, with the defaults of its operator and version.
public struct ActivationAttributes: Sendable {
    /// The slope, steepness or threshold; what it means depends on the operator.
    public let alpha: Float
    /// The offset (HardSigmoid).
    public let beta: Float
    /// The scale (Selu).
    public let gamma: Float
    /// Whether Gelu uses the hyperbolic tangent.
    public let usesTanh: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        let kind = node.op.type.hasSuffix("Grad") ? String(node.op.type.dropLast(4)) : node.op.type
        let defaults: (alpha: Float, beta: Float, gamma: Float) =
            switch kind {
            case "LeakyRelu": (0.01, 0, 1)
            case "Selu":
                opset < 6 && node.op.canonicalDomain.isEmpty
                    ? (1.6732, 0, 1.0507) : (1.67326319217681884765625, 0, 1.05070102214813232421875)
            case "HardSigmoid": (0.2, 0.5, 1)
            default: (1, 0, 1)
            }
        alpha = try reader.float("alpha", default: defaults.alpha)
        beta = try reader.float("beta", default: defaults.beta)
        gamma = try reader.float("gamma", default: defaults.gamma)
        switch try reader.string("approximate") {
        case nil, "none": usesTanh = false
        case "tanh": usesTanh = true
        case let other?: throw reader.failure("approximate", "is \"\(other)\"; it must be none or tanh")
        }
    }

    fileprivate func list(_ names: [String]) -> Attributes {
        Attributes(
            names.map { name in
                switch name {
                case "alpha": Attribute(name, .float(alpha))
                case "beta": Attribute(name, .float(beta))
                case "gamma": Attribute(name, .float(gamma))
                default: Attribute(name, .string(usesTanh ? "tanh" : "none"))
                }
            })
    }
}

/// The bounds of a Clip: attributes before opset 11, inputs since.
public struct ClipAttributes: Sendable {
    /// The lower bound where it is an attribute; nil for none, or for an input.
    public let minimum: Float?
    /// The upper bound where it is an attribute; nil for none, or for an input.
    public let maximum: Float?
    /// Whether the bounds are the second and third input.
    public let boundsAreInputs: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        boundsAreInputs = opset >= 11
        minimum = opset >= 11 ? nil : try AttributeReader(node).float("min")
        maximum = opset >= 11 ? nil : try AttributeReader(node).float("max")
    }
}

/// Activation functions: one input, one output of its shape.
enum Activations: OperatorFamily {
    /// What a gradient operator reads besides dY.
    private enum Operand { case input, output }

    static let schemas: [OperatorSchema] =
        [
            activation("Relu", [1, 6, 13, 14], .output),
            activation("LeakyRelu", [1, 6, 16], .input, ["alpha"]),
            activation("Elu", [1, 6, 22], .input, ["alpha"]),
            activation("Selu", [1, 6, 22], .input, ["alpha", "gamma"]),
            activation("Celu", [12, 28], .input, ["alpha"]),
            activation("Sigmoid", [1, 6, 13], .output),
            activation("HardSigmoid", [1, 6, 22], .input, ["alpha", "beta"]),
            activation("Tanh", [1, 6, 13], .output),
            activation("Softplus", [1, 22], .input),
            activation("Softsign", [1, 22], .input),
            activation("Gelu", [20], .input, ["approximate"]),
            activation("Swish", [24], .input, ["alpha"]),
            activation("HardSwish", [14, 22], .input),
            activation("Mish", [18, 22], .input),
        ].flatMap { $0 } + [clip, clipGrad, prelu, preluGrad, thresholded, shrink, swiglu]

    /// An activation, and the operator that computes its gradient from dY and one more operand.
    private static func activation(
        _ type: String, _ versions: [Int], _ operand: Operand, _ attributes: [String] = []
    ) -> [OperatorSchema] {
        [
            OperatorSchema(
                OperatorName(type), versions: versions, inputs: 1...1,
                gradient: .rule { context in
                    let settings = try ActivationAttributes(context.node, opset: context.opset)
                    let other = try operand == .input ? context.requiredInput(0) : context.requiredOutput()
                    context.setByOperator(
                        "\(type)Grad", [try context.requiredGradient(), other], attributes: settings.list(attributes))
                }, inference: CommonInference.likeFirst),
            gradientSchema("\(type)Grad", inputs: 2...2),
        ]
    }

    private static func gradientSchema(
        _ type: String, inputs: ClosedRange<Int>, outputs: ClosedRange<Int> = 1...1
    ) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type, domain: graftDomain), inputs: inputs, outputs: outputs,
            gradient: .unsupported(reason: "second derivatives are not computed"),
            inference: CommonInference.like(1, 2))
    }

    private static let clip = OperatorSchema(
        "Clip", versions: [1, 6, 11, 12, 13], inputs: 1...3,
        gradient: .rule { context in
            let settings = try ClipAttributes(context.node, opset: context.opset)
            let x = try context.requiredInput(0)
            var bounds: [ValueID?] = [context.input(1), context.input(2)]
            if !settings.boundsAreInputs {
                bounds[0] = try settings.minimum.map { try context.scalar(Double($0), like: x) }
                bounds[1] = try settings.maximum.map { try context.scalar(Double($0), like: x) }
            }
            context.setByOperator("ClipGrad", [try context.requiredGradient(), x] + bounds)
        },
        inference: { context in
            context.setLike(0)
            guard let bounds = ClipBounds(context) else { return }
            context.mapExtents { extent in
                let low = bounds.minimum.map { Extent.maximum(extent, .fixed($0)) } ?? extent
                return bounds.maximum.map { Extent.minimum(low, .fixed($0)) } ?? low
            }
        })

    /// Whole-number bounds of a Clip of whole numbers.
    private struct ClipBounds {
        let minimum: Int?
        let maximum: Int?

        init?(_ context: InferenceContext) {
            guard context.content(0) != nil, context.opset >= 11 else { return nil }
            if context.has(1), context.integers(1)?.first == nil { return nil }
            if context.has(2), context.integers(2)?.first == nil { return nil }
            minimum = context.integers(1)?.first
            maximum = context.integers(2)?.first
        }
    }

    // (dY, X, min, max) -> dX: dY where min <= X <= max, bounds that are left out do not bound.
    private static let clipGrad = OperatorSchema(
        OperatorName("ClipGrad", domain: graftDomain), inputs: 2...4,
        gradient: .unsupported(reason: "second derivatives are not computed"), inference: CommonInference.like(1))

    private static let prelu = OperatorSchema(
        "PRelu", versions: [1, 6, 7, 9, 16], inputs: 2...2,
        gradient: .rule { context in
            guard context.opset >= 7 else {
                throw context.failure("the slopes of PRelu before opset 7 have no gradient rule")
            }
            let gradients = context.emit(
                "PReluGrad",
                [try context.requiredGradient(), try context.requiredInput(0), try context.requiredInput(1)],
                wanted: [context.needs(0), context.needs(1)], domain: graftDomain)
            for (index, gradient) in gradients.enumerated() { context.setGradient(ofInput: index, gradient) }
        },
        inference: { context in
            if context.opset >= 7, let x = context.shape(0), let slope = context.shape(1) {
                guard slope.rank <= x.rank, let wide = x.broadcast(with: slope), wide.unified(with: x) != nil else {
                    throw context.failure("the slope of shape \(slope) does not broadcast to the input \(x)")
                }
            }
            context.setLike(0)
        })

    // (dY, X, slope) -> (dX, dSlope)
    private static let preluGrad = gradientSchema("PReluGrad", inputs: 3...3, outputs: 1...2)

    private static let thresholded = OperatorSchema(
        "ThresholdedRelu", versions: [10, 22], inputs: 1...1,
        gradient: .rule { context in
            let alpha = try ActivationAttributes(context.node, opset: context.opset).alpha
            let x = try context.requiredInput(0)
            let passes = context.emit("Greater", [x, try context.scalar(Double(alpha), like: x)])
            context.setGradient(
                ofInput: 0, context.multiply(try context.requiredGradient(), context.cast(passes, like: x)))
        }, inference: CommonInference.likeFirst)

    private static let shrink = OperatorSchema(
        "Shrink", versions: [9], inputs: 1...1,
        gradient: .rule { context in
            let lambda = try context.reader.float("lambd", default: 0.5)
            let x = try context.requiredInput(0)
            let passes = context.emit(
                "Greater", [context.emit("Abs", [x]), try context.scalar(Double(lambda), like: x)])
            context.setGradient(
                ofInput: 0, context.multiply(try context.requiredGradient(), context.cast(passes, like: x)))
        }, inference: CommonInference.likeFirst)

    /// `Y = A * sigmoid(alpha * A) * B`.
    private static let swiglu = OperatorSchema(
        "SwiGLU", versions: [28], inputs: 2...2,
        gradient: .rule { context in
            let alpha = try ActivationAttributes(context.node, opset: context.opset).alpha
            let dy = try context.requiredGradient()
            let a = try context.requiredInput(0)
            let b = try context.requiredInput(1)
            if context.needs(0) {
                context.setGradient(
                    ofInput: 0,
                    context.emitGraft("SwishGrad", [context.multiply(dy, b), a], attributes: ["alpha": .float(alpha)]))
            }
            if context.needs(1) {
                let scaled = alpha == 1 ? a : context.multiply(a, try context.scalar(Double(alpha), like: a))
                let gate = context.multiply(a, context.emit("Sigmoid", [scaled]))
                context.setGradient(ofInput: 1, context.multiply(dy, gate))
            }
        }, inference: CommonInference.likeFirst)
}

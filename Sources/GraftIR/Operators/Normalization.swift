import GraftCore

/// The settings of a BatchNormalization, whatever its version.
public struct BatchNormalizationAttributes: Sendable {
    /// What is added to the variance.
    public let epsilon: Float
    /// The fraction of the running statistics that is kept in training: `running * momentum + batch * (1 - momentum)`.
    public let momentum: Float
    /// Whether the node normalises with the statistics of the batch.
    public let isTraining: Bool
    /// Whether statistics are taken over all axes but the first instead of all but the channels (before opset 9).
    public let isPerActivation: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        epsilon = try reader.float("epsilon", default: 1e-5)
        momentum = try reader.float("momentum", default: 0.9)
        isPerActivation = opset < 9 ? try !reader.flag("spatial", default: true) : false
        let extra = node.outputs.dropFirst().contains { $0 != nil }
        switch opset {
        case ..<7: isTraining = try !reader.flag("is_test") && extra
        case 7..<14: isTraining = extra
        default: isTraining = try reader.flag("training_mode")
        }
    }
}

/// The settings of a LayerNormalization or RMSNormalization.
public struct LayerNormalizationAttributes: Sendable {
    /// The first axis that is normalised over; negative counts from the end.
    public let axis: Int
    /// What is added to the variance or mean square.
    public let epsilon: Float
    /// The type that statistics are computed in; nil for the input's own.
    public let stashType: ElementType?

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        axis = try reader.int("axis", default: -1)
        epsilon = try reader.float("epsilon", default: 1e-5)
        stashType = try reader.int("stash_type", default: 1) == 0 ? nil : reader.elementType("stash_type") ?? .float32
    }
}

/// The settings of an LRN.
public struct LocalResponseAttributes: Sendable {
    /// The factor of the sum of squares.
    public let alpha: Float
    /// The exponent.
    public let beta: Float
    /// What is added to the scaled sum.
    public let bias: Float
    /// How many channels are summed over.
    public let size: Int

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for a missing size or an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        alpha = try reader.float("alpha", default: 1e-4)
        beta = try reader.float("beta", default: 0.75)
        bias = try reader.float("bias", default: 1)
        size = try reader.requiredInt("size")
        if size < 1 { throw reader.failure("size", "is \(size); it must be positive") }
    }
}

/// Normalisations that learn a scale and shift, and those that do not.
enum Normalization: OperatorFamily {
    static let schemas: [OperatorSchema] =
        [
            OperatorSchema(
                "BatchNormalization", versions: [1, 6, 7, 9, 14, 15], inputs: 5...5, outputs: 1...5,
                gradient: .rule(batchGradient), inference: inferBatch),
            OperatorSchema(
                "InstanceNormalization", versions: [1, 6, 22], inputs: 3...3,
                gradient: .rule { try affineGradient(&$0, "InstanceNormalizationGrad") },
                inference: CommonInference.likeFirst),
            OperatorSchema(
                "LayerNormalization", versions: [17], inputs: 2...3, outputs: 1...3,
                gradient: .rule { try affineGradient(&$0, "LayerNormalizationGrad") }, inference: inferLayer),
            OperatorSchema(
                "GroupNormalization", versions: [18, 21], inputs: 3...3, gradient: .rule(groupGradient),
                inference: CommonInference.likeFirst),
            OperatorSchema(
                "RMSNormalization", versions: [23], inputs: 2...2,
                gradient: .rule { try affineGradient(&$0, "RMSNormalizationGrad") },
                inference: CommonInference.likeFirst),
            OperatorSchema(
                "LRN", versions: [1, 13], inputs: 1...1,
                gradient: .rule { context in
                    let attributes = try LocalResponseAttributes(context.node, opset: context.opset)
                    context.setByOperator(
                        "LRNGrad",
                        [try context.requiredGradient(), try context.requiredInput(0), try context.requiredOutput()],
                        attributes: [
                            "alpha": .float(attributes.alpha), "beta": .float(attributes.beta),
                            "bias": .float(attributes.bias), "size": .int(attributes.size),
                        ])
                }, inference: CommonInference.likeFirst),
            OperatorSchema(
                "LpNormalization", versions: [1, 22], inputs: 1...1, gradient: .rule(lpGradient),
                inference: CommonInference.likeFirst),
            OperatorSchema(
                "MeanVarianceNormalization", versions: [9, 13], inputs: 1...1, gradient: .rule(meanVarianceGradient),
                inference: CommonInference.likeFirst),
        ] + trainingOperators

    private static let noSecond = GradientRule.unsupported(reason: "second derivatives are not computed")

    /// Training forms and gradients; statistics have one entry a channel.
    private static let trainingOperators: [OperatorSchema] = [
        // (X, scale, B, mean, var; epsilon, momentum, unbiased) -> (Y, newMean, newVar, savedMean, savedInvStd)
        OperatorSchema(
            OperatorName("BatchNormTraining", domain: graftDomain), inputs: 5...5, outputs: 1...5,
            gradient: .rule { context in
                let inputs = [
                    try context.requiredGradient(), try context.requiredInput(0), try context.requiredInput(1),
                    try context.requiredOutput(3), try context.requiredOutput(4),
                ]
                let gradients = context.emit(
                    "BatchNormGrad", inputs, wanted: (0..<3).map { context.needs($0) }, domain: graftDomain,
                    attributes: context.attributes)
                for (index, gradient) in gradients.enumerated() { context.setGradient(ofInput: index, gradient) }
            }, inference: CommonInference.like(0, 3, 4, 3, 4)),
        // (dY, X, scale, savedMean, savedInvStd) -> (dX, dScale, dB)
        OperatorSchema(
            OperatorName("BatchNormGrad", domain: graftDomain), inputs: 5...5, outputs: 1...3, gradient: noSecond,
            inference: CommonInference.like(1, 2, 2)),
        // (dY, X, scale, mean, var; epsilon) -> (dX, dScale, dB)
        OperatorSchema(
            OperatorName("BatchNormInferenceGrad", domain: graftDomain), inputs: 5...5, outputs: 1...3,
            gradient: noSecond, inference: CommonInference.like(1, 2, 2)),
        // (dY, X, scale; axis or num_groups, epsilon) -> (dX, dScale, dB)
        affineGradientSchema("LayerNormalizationGrad", outputs: 3),
        affineGradientSchema("InstanceNormalizationGrad", outputs: 3),
        affineGradientSchema("GroupNormalizationGrad", outputs: 3),
        affineGradientSchema("RMSNormalizationGrad", outputs: 2),
        // (dY, X, Y; alpha, beta, bias, size) -> dX
        OperatorSchema(
            OperatorName("LRNGrad", domain: graftDomain), inputs: 3...3, gradient: noSecond,
            inference: CommonInference.like(1)),
    ]

    private static func affineGradientSchema(_ type: String, outputs: Int) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type, domain: graftDomain), inputs: 3...3, outputs: 1...outputs, gradient: noSecond,
            inference: CommonInference.like(1, 2, 2))
    }

    private static func inferBatch(_ context: inout InferenceContext) throws {
        let attributes = try BatchNormalizationAttributes(context.node, opset: context.opset)
        if let x = context.shape(0), let channels = x.rank > 1 ? x[1].count : nil, !attributes.isPerActivation {
            for input in 1..<5 {
                if let shape = context.shape(input), let counts = shape.counts, counts != [channels] {
                    throw context.failure(
                        "the input \(x) has \(channels) channels, but input \(input) has the shape \(shape)")
                }
            }
        }
        context.setLike(0)
        for output in 1..<max(context.node.outputs.count, 1) {
            context.setLike(output % 2 == 1 ? 3 : 4, of: output)
        }
    }

    private static func inferLayer(_ context: inout InferenceContext) throws {
        let attributes = try LayerNormalizationAttributes(context.node, opset: context.opset)
        context.setLike(0)
        guard context.node.outputs.count > 1, let x = context.shape(0) else { return }
        let axis = try context.normalized(axis: attributes.axis, rank: x.rank)
        let extents = x.extents.enumerated().map { $0.offset < axis ? $0.element : .fixed(1) }
        for output in 1..<context.node.outputs.count {
            context.setTensor(
                attributes.stashType ?? context.elementType(0), SymbolicShape(extents: extents), of: output)
        }
    }

    /// Statistics from the file are constants: `dx = dy * scale / sqrt(var + epsilon)`.
    private static func batchGradient(_ context: inout GradientContext) throws {
        let attributes = try BatchNormalizationAttributes(context.node, opset: context.opset)
        guard !attributes.isTraining else {
            throw context.failure("normalises with batch statistics; bring the model into its training form first")
        }
        guard !attributes.isPerActivation else {
            throw context.failure("normalises each activation on its own (spatial = 0), which has no gradient rule")
        }
        let inputs = [try context.requiredGradient(), try context.requiredInput(0), try context.requiredInput(1)]
        let statistics = [try context.requiredInput(3), try context.requiredInput(4)]
        let gradients = context.emit(
            "BatchNormInferenceGrad", inputs + statistics, wanted: (0..<3).map { context.needs($0) },
            domain: graftDomain, attributes: ["epsilon": .float(attributes.epsilon)])
        for (index, gradient) in gradients.enumerated() { context.setGradient(ofInput: index, gradient) }
    }

    /// (dY, X, scale) -> (dX, dScale, dB), with the attributes of the node.
    private static func affineGradient(_ context: inout GradientContext, _ type: String) throws {
        guard context.outputGradients.dropFirst().allSatisfy({ $0 == nil }) else {
            throw context.failure("the loss depends on the mean or deviation that the node gives out")
        }
        let inputs = [try context.requiredGradient(), try context.requiredInput(0), try context.requiredInput(1)]
        let gradients = context.emit(
            type, inputs, wanted: (0..<context.node.inputs.count).map { context.needs($0) }, domain: graftDomain,
            attributes: context.attributes)
        for (index, gradient) in gradients.enumerated() { context.setGradient(ofInput: index, gradient) }
    }

    /// From version 21 scale and shift have one entry a channel; in version 18 one a group.
    private static func groupGradient(_ context: inout GradientContext) throws {
        guard context.opset < 21 else { return try affineGradient(&context, "GroupNormalizationGrad") }
        let x = context.shape(ofInput: 0)
        guard let channels = x.flatMap({ $0.rank > 1 ? $0[1].count : nil }) else {
            throw context.failure("the gradient needs the number of channels, which is not known")
        }
        let groups = try context.reader.requiredInt("num_groups")
        guard groups > 0, channels % groups == 0 else {
            throw context.failure("\(channels) channels do not divide into \(groups) groups")
        }
        // One entry a group, repeated to one a channel; the gradients are summed back.
        let perGroup = channels / groups
        let scale = context.unsqueezed(try context.requiredInput(1), axes: [1])
        let wide = context.emit("Expand", [scale, context.integers([groups, perGroup])])
        let flat = context.emit("Reshape", [wide, context.integers([channels])])
        let gradients = context.emit(
            "GroupNormalizationGrad", [try context.requiredGradient(), try context.requiredInput(0), flat],
            wanted: (0..<3).map { context.needs($0) }, domain: graftDomain, attributes: context.attributes)
        context.setGradient(ofInput: 0, gradients[0])
        for input in 1..<3 {
            guard let gradient = gradients[input] else { continue }
            let grouped = context.emit("Reshape", [gradient, context.integers([groups, perGroup])])
            context.setGradient(ofInput: input, context.sum(grouped, axes: [1], keepDimensions: false))
        }
    }

    /// `Y = X / n`, `n` the norm along the axis: `dX = (dY - Y * sum(dY * dn/dX)) / n`.
    private static func lpGradient(_ context: inout GradientContext) throws {
        let axis = try context.reader.int("axis", default: -1)
        let p = try context.reader.int("p", default: 2)
        let dy = try context.requiredGradient()
        let x = try context.requiredInput(0)
        let y = try context.requiredOutput()
        guard p == 1 || p == 2 else { throw context.failure("the norm is of order \(p); 1 and 2 have gradients") }
        let axes: Attributes = ["axes": .ints([axis]), "keepdims": .int(1)]
        let norm: ValueID
        if context.onnxOpset >= 18 {
            norm = context.emit(
                p == 1 ? "ReduceL1" : "ReduceL2", [x, context.integers([axis])], attributes: ["keepdims": .int(1)])
        } else {
            norm = context.emit(p == 1 ? "ReduceL1" : "ReduceL2", [x], attributes: axes)
        }
        // Derivative of the norm: x / n for order 2, sign(x) for order 1; both times n is y and n * sign(x).
        let direction = p == 2 ? y : context.emit("Sign", [x])
        let along = context.sum(context.multiply(dy, y), axes: [axis], keepDimensions: true)
        let inner = context.subtract(dy, context.multiply(direction, along))
        context.setGradient(ofInput: 0, context.divide(inner, norm))
    }

    /// `Y = (X - mean) / (deviation + 1e-9)`; `dX = (dY - mean(dY) - Y * mean(dY * Y)) / deviation`.
    private static func meanVarianceGradient(_ context: inout GradientContext) throws {
        let axes = try context.reader.ints("axes") ?? [0, 2, 3]
        let dy = try context.requiredGradient()
        let x = try context.requiredInput(0)
        let y = try context.requiredOutput()
        func mean(_ value: ValueID) -> ValueID {
            if context.onnxOpset >= 18 {
                return context.emit("ReduceMean", [value, context.integers(axes)], attributes: ["keepdims": .int(1)])
            }
            return context.emit("ReduceMean", [value], attributes: ["axes": .ints(axes), "keepdims": .int(1)])
        }
        let centred = context.subtract(x, mean(x))
        let deviation = context.emit("Sqrt", [mean(context.multiply(centred, centred))])
        let inner = context.subtract(context.subtract(dy, mean(dy)), context.multiply(y, mean(context.multiply(dy, y))))
        context.setGradient(ofInput: 0, context.divide(inner, deviation))
    }
}

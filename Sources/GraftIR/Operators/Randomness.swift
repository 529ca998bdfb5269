import GraftCore

/// The settings of a Dropout, whatever its version.
public struct DropoutAttributes: Sendable {
    /// The fraction that is dropped where it is an attribute; nil where it is an input.
    public let ratio: Float?
    /// The input that holds the fraction; nil where it is an attribute.
    public let ratioInput: Int?
    /// The input that says whether to drop at all; nil before opset 12.
    public let trainingInput: Int?
    /// The seed, where the node has one.
    public let seed: Int?

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        ratio = opset < 12 ? try reader.float("ratio", default: 0.5) : nil
        ratioInput = opset < 12 ? nil : 1
        trainingInput = opset < 12 ? nil : 2
        seed = try reader.int("seed")
    }
}

/// The settings of the operators that fill tensors with random numbers.
public struct RandomAttributes: Sendable {
    /// The element type; nil for the type of the input, or float32 where there is none.
    public let elementType: ElementType?
    /// The shape where there is no input.
    public let shape: [Int]?
    /// The seed, where the node has one.
    public let seed: Float?
    /// The mean of a normal distribution.
    public let mean: Float
    /// The deviation of a normal distribution.
    public let scale: Float
    /// The lower bound of a uniform distribution.
    public let low: Float
    /// The upper bound of a uniform distribution.
    public let high: Float

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        elementType = try reader.elementType("dtype")
        shape = try reader.ints("shape")
        seed = try reader.float("seed")
        mean = try reader.float("mean", default: 0)
        scale = try reader.float("scale", default: 1)
        low = try reader.float("low", default: 0)
        high = try reader.float("high", default: 1)
    }
}

/// Operators that draw random numbers.
enum Randomness: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Dropout", versions: [1, 6, 7, 10, 12, 13, 22], inputs: 1...3, outputs: 1...2,
            gradient: .rule(dropoutGradient),
            inference: { context in
                context.setLike(0)
                context.setTensor(context.opset < 10 ? context.elementType(0) : .bool, context.shape(0)?.plain, of: 1)
            }),
        // (X, ratio, seed, step) -> (Y, mask): drops with a counter-based generator keyed by seed and step, and scales
        // what stays by 1 / (1 - ratio).
        OperatorSchema(
            OperatorName("DropoutTraining", domain: graftDomain), inputs: 4...4, outputs: 1...2, isDeterministic: false,
            gradient: .rule { context in
                guard let mask = context.output(1) else { throw context.failure("the mask has no name") }
                context.setByOperator(
                    "DropoutGrad", [try context.requiredGradient(), mask, try context.requiredInput(1)])
            },
            inference: { context in
                context.setLike(0)
                context.setTensor(.bool, context.shape(0)?.plain, of: 1)
            }),
        // (dY, mask, ratio) -> dX
        OperatorSchema(
            OperatorName("DropoutGrad", domain: graftDomain), inputs: 3...3,
            gradient: .unsupported(reason: "second derivatives are not computed"),
            inference: CommonInference.likeFirst),
        generator("RandomNormal", [1, 22], inputs: 0...0), generator("RandomUniform", [1, 22], inputs: 0...0),
        generator("RandomNormalLike", [1, 22], inputs: 1...1),
        generator("RandomUniformLike", [1, 22], inputs: 1...1),
        OperatorSchema(
            "Bernoulli", versions: [15, 22], inputs: 1...1, isDeterministic: false, gradient: .none,
            inference: { context in
                context.setLike(0, elementType: try context.reader.elementType("dtype") ?? context.elementType(0))
            }),
        OperatorSchema(
            "Multinomial", versions: [7, 22], inputs: 1...1, isDeterministic: false, gradient: .none,
            inference: { context in
                let rows = context.shape(0).flatMap { $0.rank == 2 ? $0[0].extent : nil } ?? .unknown
                context.setTensor(
                    try context.reader.elementType("dtype") ?? .int32,
                    SymbolicShape(extents: [rows, .fixed(try context.reader.int("sample_size", default: 1))]))
            }),
    ]

    private static func generator(_ type: String, _ versions: [Int], inputs: ClosedRange<Int>) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: inputs, isDeterministic: false, gradient: .none,
            inference: { context in
                let attributes = try RandomAttributes(context.node, opset: context.opset)
                if inputs.lowerBound == 0 {
                    context.setTensor(
                        attributes.elementType ?? .float32,
                        SymbolicShape(extents: (attributes.shape ?? []).map { .fixed($0) }))
                } else {
                    context.setLike(0, elementType: attributes.elementType ?? context.elementType(0))
                }
            })
    }

    /// In a graph for inference a Dropout passes its input on.
    private static func dropoutGradient(_ context: inout GradientContext) throws {
        guard context.needs(0) else { return }
        let attributes = try DropoutAttributes(context.node, opset: context.opset)
        if let input = attributes.trainingInput, context.input(input) != nil,
            context.content(ofInput: input)?.integers != [0]
        {
            throw context.failure("drops elements; bring the model into its training form first")
        }
        if context.opset < 7, try !context.reader.flag("is_test") {
            throw context.failure("drops elements; bring the model into its training form first")
        }
        context.setGradient(ofInput: 0, try context.requiredGradient())
    }
}

import GraftCore

/// Mathematical functions of one operand, element by element.
enum ElementwiseUnary: OperatorFamily {
    /// From the context and dY, the gradient of the input.
    private typealias Derivative = @Sendable (inout GradientContext, ValueID) throws -> ValueID

    static let schemas: [OperatorSchema] = [
        smooth("Abs", [1, 6, 13]) { c, dy in c.multiply(dy, c.emit("Sign", [try c.requiredInput(0)])) },
        smooth("Neg", [1, 6, 13], extents: { .fixed(0) - $0 }) { c, dy in c.negate(dy) },
        smooth("Exp", [1, 6, 13]) { c, dy in c.multiply(dy, try c.requiredOutput()) },
        smooth("Log", [1, 6, 13]) { c, dy in c.divide(dy, try c.requiredInput(0)) },
        smooth("Sqrt", [1, 6, 13]) { c, dy in
            let y = try c.requiredOutput()
            return c.divide(dy, c.add(y, y))
        },
        smooth("Reciprocal", [1, 6, 13]) { c, dy in
            let y = try c.requiredOutput()
            return c.negate(c.multiply(dy, c.multiply(y, y)))
        },
        smooth("Sin", [7, 22]) { c, dy in c.multiply(dy, c.emit("Cos", [try c.requiredInput(0)])) },
        smooth("Cos", [7, 22]) { c, dy in c.negate(c.multiply(dy, c.emit("Sin", [try c.requiredInput(0)]))) },
        smooth("Tan", [7, 22]) { c, dy in
            let y = try c.requiredOutput()
            return c.multiply(dy, c.add(c.multiply(y, y), try c.scalar(1, like: y)))
        },
        smooth("Sinh", [9, 22]) { c, dy in c.multiply(dy, c.emit("Cosh", [try c.requiredInput(0)])) },
        smooth("Cosh", [9, 22]) { c, dy in c.multiply(dy, c.emit("Sinh", [try c.requiredInput(0)])) },
        smooth("Asin", [7, 22]) { c, dy in c.divide(dy, try complement(&c, root: true)) },
        smooth("Acos", [7, 22]) { c, dy in c.negate(c.divide(dy, try complement(&c, root: true))) },
        smooth("Atan", [7, 22]) { c, dy in c.divide(dy, try square(&c, offset: 1, root: false)) },
        smooth("Asinh", [9, 22]) { c, dy in c.divide(dy, try square(&c, offset: 1, root: true)) },
        smooth("Acosh", [9, 22]) { c, dy in c.divide(dy, try square(&c, offset: -1, root: true)) },
        smooth("Atanh", [9, 22]) { c, dy in c.divide(dy, try complement(&c, root: false)) },
        smooth("Erf", [9, 13]) { c, dy in
            // The derivative is 2 / sqrt(pi) * exp(-x^2).
            let x = try c.requiredInput(0)
            let bell = c.emit("Exp", [c.negate(c.multiply(x, x))])
            return c.multiply(dy, c.multiply(bell, try c.scalar(1.1283791670955126, like: x)))
        },
        smooth(
            "Identity", [1, 13, 14, 16, 19, 21, 23, 24, 25],
            inference: { context in
                context.setType(context.type(0))
                context.setContent(context.content(0))
            }
        ) { _, dy in dy },
        stepped("Floor", [1, 6, 13]), stepped("Ceil", [1, 6, 13]), stepped("Round", [11, 22]),
        stepped("Sign", [9, 13]),
        flag("IsNaN", [9, 13, 20]), flag("IsInf", [10, 20]),
        // X -> X, through which no gradient flows.
        OperatorSchema(
            OperatorName("StopGradient", domain: graftDomain), inputs: 1...1, gradient: .none,
            inference: { context in
                context.setType(context.type(0))
                context.setContent(context.content(0))
            }),
    ]

    /// `x^2 + offset`, or its root.
    private static func square(_ context: inout GradientContext, offset: Double, root: Bool) throws -> ValueID {
        let x = try context.requiredInput(0)
        let sum = context.add(context.multiply(x, x), try context.scalar(offset, like: x))
        return root ? context.emit("Sqrt", [sum]) : sum
    }

    /// `1 - x^2`, or its root.
    private static func complement(_ context: inout GradientContext, root: Bool) throws -> ValueID {
        let x = try context.requiredInput(0)
        let difference = context.subtract(try context.scalar(1, like: x), context.multiply(x, x))
        return root ? context.emit("Sqrt", [difference]) : difference
    }

    private static func smooth(
        _ type: String, _ versions: [Int], extents: (@Sendable (Extent) -> Extent)? = nil,
        inference: OperatorSchema.InferenceRule? = nil, _ derivative: @escaping Derivative
    ) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: 1...1,
            gradient: .rule { context in
                guard context.needs(0) else { return }
                context.setGradient(ofInput: 0, try derivative(&context, try context.requiredGradient()))
            },
            inference: inference ?? { context in
                context.setLike(0)
                if let extents { context.mapExtents(0, extents) }
            })
    }

    /// A function whose derivative is zero wherever it exists.
    ///
    /// Whole numbers pass unchanged, except through Sign.
    private static func stepped(_ type: String, _ versions: [Int]) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: 1...1, gradient: .none,
            inference: { context in
                context.setLike(0)
                if type != "Sign" {
                    context.mapExtents { $0 }
                    // Numbers that are not whole become so.
                    if let numbers = context.content(0)?.numbers, let shape = context.shape(0), shape.rank <= 1 {
                        let rounded = numbers.map { number in
                            switch type {
                            case "Floor": number.rounded(.down)
                            case "Ceil": number.rounded(.up)
                            default: number.rounded(.toNearestOrEven)
                            }
                        }
                        let whole = rounded.compactMap { Int(exactly: $0) }
                        if whole.count == numbers.count {
                            context.setExtents(whole.map { .fixed($0) }, isScalar: shape.rank == 0)
                        }
                    }
                }
            })
    }

    private static func flag(_ type: String, _ versions: [Int]) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: 1...1, gradient: .none,
            inference: CommonInference.likeFirst(.bool))
    }
}

import GraftCore

/// Arithmetic on two or more operands that broadcast to one shape.
enum ElementwiseBinary: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        binary("Add", [1, 6, 7, 13, 14], extents: +, numbers: +) { context in
            let dy = try context.requiredGradient()
            for index in 0..<2 where context.needs(index) {
                context.setGradient(ofInput: index, context.reduced(dy, to: try context.requiredInput(index)))
            }
        },
        binary("Sub", [1, 6, 7, 13, 14], extents: -, numbers: -) { context in
            let dy = try context.requiredGradient()
            if context.needs(0) {
                context.setGradient(ofInput: 0, context.reduced(dy, to: try context.requiredInput(0)))
            }
            if context.needs(1) {
                let gradient = context.reduced(dy, to: try context.requiredInput(1))
                context.setGradient(ofInput: 1, context.negate(gradient))
            }
        },
        binary("Mul", [1, 6, 7, 13, 14], extents: *, numbers: *) { context in
            let dy = try context.requiredGradient()
            let operands = [try context.requiredInput(0), try context.requiredInput(1)]
            for index in 0..<2 where context.needs(index) {
                let product = context.multiply(dy, operands[1 - index])
                context.setGradient(ofInput: index, context.reduced(product, to: operands[index]))
            }
        },
        binary("Div", [1, 6, 7, 13, 14], extents: { $0.floorDivided(by: $1) }, numbers: /) { context in
            let dy = try context.requiredGradient()
            let a = try context.requiredInput(0)
            let b = try context.requiredInput(1)
            let quotient = context.divide(dy, b)
            if context.needs(0) { context.setGradient(ofInput: 0, context.reduced(quotient, to: a)) }
            if context.needs(1) {
                let product = context.multiply(quotient, try context.requiredOutput())
                context.setGradient(ofInput: 1, context.negate(context.reduced(product, to: b)))
            }
        },
        OperatorSchema(
            "Pow", versions: [1, 7, 12, 13, 15], inputs: 2...2, gradient: .rule(powerGradient),
            inference: { context in
                context.setTensor(context.elementType(0), try context.broadcast(0...1))
            }),
        OperatorSchema(
            "Mod", versions: [10, 13, 28], inputs: 2...2,
            gradient: .rule { context in
                // Only the dividend has a gradient; the reverse pass refuses a divisor that needs one.
                guard context.needs(0), !context.needs(1) else { return }
                context.setGradient(
                    ofInput: 0, context.reduced(try context.requiredGradient(), to: try context.requiredInput(0)))
            },
            inference: { context in
                try CommonInference.broadcast(&context)
                context.zipExtents { a, b in a - a.floorDivided(by: b) * b }
            }),
        variadic("Sum", [1, 6, 8, 13]) { context, _, _, dy in dy },
        variadic("Mean", [1, 6, 8, 13]) { context, _, count, dy in
            context.divide(dy, try context.scalar(Double(count), like: dy))
        },
        variadic("Max", [1, 6, 8, 12, 13], extents: Extent.maximum) { try extremeGradient(&$0, $1, $2, $3) },
        variadic("Min", [1, 6, 8, 12, 13], extents: Extent.minimum) { try extremeGradient(&$0, $1, $2, $3) },
        integer("BitShift", [11, 28], 2), integer("BitwiseAnd", [18], 2), integer("BitwiseOr", [18], 2),
        integer("BitwiseXor", [18], 2), integer("BitwiseNot", [18], 1),
    ]

    private static func binary(
        _ type: String, _ versions: [Int], extents: @escaping @Sendable (Extent, Extent) -> Extent,
        numbers: @escaping @Sendable (Double, Double) -> Double,
        gradient: @escaping @Sendable (inout GradientContext) throws -> Void
    ) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: 2...2,
            gradient: .rule { context in
                try requireBroadcasting(context)
                try gradient(&context)
            },
            inference: { context in
                let element = context.commonElementType(0...1)
                if context.opset < 7 {
                    // The second operand broadcasts to the first, along an axis of the node's choice.
                    context.setLike(0, elementType: element)
                    return
                }
                context.setTensor(element, try context.broadcast(0...1))
                follow(&context, element, extents, numbers)
            })
    }

    /// Shapes as data: whole numbers stay expressions; floating-point numbers are computed where all are known.
    private static func follow(
        _ context: inout InferenceContext, _ element: ElementType?, _ extents: (Extent, Extent) -> Extent,
        _ numbers: (Double, Double) -> Double
    ) {
        guard let a = context.content(0), let b = context.content(1) else { return }
        let isDivision = context.node.op.type == "Div"
        if element?.isInteger == true || (!isDivision && a.extents != nil && b.extents != nil) {
            // Integer division rounds towards zero, which is down for the extents that occur here.
            if isDivision, (a.integers ?? []).contains(where: { $0 < 0 }) { return }
            context.zipExtents(extents)
            return
        }
        guard let element, let x = a.numbers, let y = b.numbers, let shape = context.outputTypes[0]?.shape?.counts,
            shape.count <= 1
        else {
            // A quotient of an expression that has no remainder.
            if isDivision { context.zipExtents { $0.dividedExactly(by: $1) } }
            return
        }
        let count = Checked.product(shape) ?? 0
        guard x.count == count || x.count == 1, y.count == count || y.count == 1, count <= KnownContent.countLimit
        else { return }
        let values = (0..<count).map { numbers(x[x.count == 1 ? 0 : $0], y[y.count == 1 ? 0 : $0]) }
        if element == .float32 { context.setContent(.tensor(Tensor(values.map { Float($0) }, shape: shape))) }
        if element == .float64 { context.setContent(.tensor(Tensor(values, shape: shape))) }
    }

    private static func requireBroadcasting(_ context: GradientContext) throws {
        guard try context.opset >= 7 || !context.reader.flag("broadcast") else {
            throw context.failure("broadcasting along an axis (before opset 7) has no gradient rule")
        }
    }

    private static func variadic(
        _ type: String, _ versions: [Int], extents: (@Sendable (Extent, Extent) -> Extent)? = nil,
        _ gradient: @escaping @Sendable (inout GradientContext, Int, Int, ValueID) throws -> ValueID
    ) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: 1...OperatorSchema.many,
            gradient: .rule { context in
                let dy = try context.requiredGradient()
                let count = context.node.inputs.count
                for index in 0..<count where context.needs(index) {
                    let wide = try gradient(&context, index, count, dy)
                    context.setGradient(ofInput: index, context.reduced(wide, to: try context.requiredInput(index)))
                }
            },
            inference: { context in
                try CommonInference.broadcast(&context)
                if let extents, context.node.inputs.count == 2 { context.zipExtents(extents) }
            })
    }

    /// The operands that are the extreme share the gradient.
    private static func extremeGradient(
        _ context: inout GradientContext, _ index: Int, _ count: Int, _ dy: ValueID
    ) throws -> ValueID {
        let y = try context.requiredOutput()
        func mask(_ index: Int) throws -> ValueID {
            context.cast(context.emit("Equal", [try context.requiredInput(index), y]), like: y)
        }
        if count == 1 { return dy }
        let masks = try (0..<count).map { try mask($0) }
        return context.divide(context.multiply(dy, masks[index]), context.emit("Sum", masks))
    }

    /// `d(x^b)/dx = b x^(b-1)`, `d(x^b)/db = x^b log x`, which is 0 where x is not positive.
    private static func powerGradient(_ context: inout GradientContext) throws {
        try requireBroadcasting(context)
        let dy = try context.requiredGradient()
        let x = try context.requiredInput(0)
        let exponent = try context.requiredInput(1)
        if context.needs(0) {
            let constant = context.content(ofInput: 1)?.numbers.flatMap { Set($0).count == 1 ? $0.first : nil }
            let slope: ValueID
            switch constant {
            case 2?: slope = context.add(x, x)
            case 1?: slope = try context.scalar(1, like: x)
            case 0?: slope = try context.scalar(0, like: x)
            case let value?:
                let power = context.emit("Pow", [x, try context.scalar(value - 1, like: x)])
                slope = context.multiply(power, try context.scalar(value, like: x))
            case nil:
                let b = context.cast(exponent, like: x)
                let power = context.emit("Pow", [x, context.subtract(b, try context.scalar(1, like: x))])
                // 0 * x^-1 is 0, also at x = 0.
                let zero = try context.scalar(0, like: x)
                slope = context.emit("Where", [context.emit("Equal", [b, zero]), zero, context.multiply(b, power)])
            }
            context.setGradient(ofInput: 0, context.reduced(context.multiply(dy, slope), to: x))
        }
        if context.needs(1) {
            let one = try context.scalar(1, like: x)
            let positive = context.emit("Greater", [x, try context.scalar(0, like: x)])
            let logarithm = context.emit("Log", [context.emit("Where", [positive, x, one])])
            let product = context.multiply(dy, context.multiply(try context.requiredOutput(), logarithm))
            context.setGradient(ofInput: 1, context.reduced(product, to: exponent))
        }
    }

    private static func integer(_ type: String, _ versions: [Int], _ inputs: Int) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: inputs...inputs, gradient: .none,
            inference: CommonInference.broadcast)
    }
}

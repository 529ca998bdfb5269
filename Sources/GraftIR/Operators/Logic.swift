import GraftCore

/// Comparisons, logic and choice.
enum Logic: OperatorFamily {
    static let schemas: [OperatorSchema] =
        [
            comparison("Equal", [1, 7, 11, 13, 19]) { $0 == $1 },
            comparison("Greater", [1, 7, 9, 13]) { $0 > $1 }, comparison("Less", [1, 7, 9, 13]) { $0 < $1 },
            comparison("GreaterOrEqual", [12, 16]) { $0 >= $1 }, comparison("LessOrEqual", [12, 16]) { $0 <= $1 },
            comparison("And", [1, 7]) { $0 != 0 && $1 != 0 }, comparison("Or", [1, 7]) { $0 != 0 || $1 != 0 },
            comparison("Xor", [1, 7]) { ($0 != 0) != ($1 != 0) },
            OperatorSchema(
                "Not", versions: [1], inputs: 1...1, gradient: .none,
                inference: { context in
                    context.setLike(0, elementType: .bool)
                    context.mapExtents { extent in
                        if case .fixed(let value) = extent { .fixed(value == 0 ? 1 : 0) } else { .unknown }
                    }
                }),
            OperatorSchema(
                "Where", versions: [9, 16], inputs: 3...3, gradient: .rule(whereGradient),
                inference: { context in
                    context.setTensor(context.commonElementType(1...2), try context.broadcast(0...2))
                    choose(&context)
                }),
        ]

    private static func comparison(
        _ type: String, _ versions: [Int], _ holds: @escaping @Sendable (Int, Int) -> Bool
    ) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: versions, inputs: 2...2, gradient: .none,
            inference: { context in
                if context.opset < 7 {
                    context.setLike(0, elementType: .bool)
                    return
                }
                context.setTensor(.bool, try context.broadcast(0...1))
                context.zipExtents { a, b in
                    if case .fixed(let x) = a, case .fixed(let y) = b { return .fixed(holds(x, y) ? 1 : 0) }
                    // An extent is never negative: it differs from -1 whatever it is.
                    if type == "Equal", a.isKnown, case .fixed(let y) = b, y < 0 { return .fixed(0) }
                    if type == "Equal", b.isKnown, case .fixed(let x) = a, x < 0 { return .fixed(0) }
                    return .unknown
                }
            })
    }

    /// Follows a choice between shapes.
    private static func choose(_ context: inout InferenceContext) {
        guard let condition = context.content(0)?.extents, let a = context.content(1)?.extents,
            let b = context.content(2)?.extents, let shape = context.outputTypes[0]?.shape, shape.rank <= 1
        else { return }
        let count = max(condition.count, a.count, b.count)
        let lists = [condition, a, b]
        guard lists.allSatisfy({ $0.count == count || $0.count == 1 }) else { return }
        func at(_ list: [Extent], _ index: Int) -> Extent { list[list.count == 1 ? 0 : index] }
        context.setExtents(
            (0..<count).map { index in
                guard case .fixed(let value) = at(condition, index) else { return .unknown }
                return value != 0 ? at(a, index) : at(b, index)
            }, isScalar: shape.rank == 0)
    }

    private static func whereGradient(_ context: inout GradientContext) throws {
        let dy = try context.requiredGradient()
        let condition = try context.requiredInput(0)
        let zero = try context.scalar(0, like: dy)
        for index in 1..<3 where context.needs(index) {
            let chosen = context.emit("Where", index == 1 ? [condition, dy, zero] : [condition, zero, dy])
            context.setGradient(ofInput: index, context.reduced(chosen, to: try context.requiredInput(index)))
        }
    }
}

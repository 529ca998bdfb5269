import GraftCore

/// The equation of an Einsum, taken apart.
public struct EinsumEquation: Sendable, Equatable {
    /// For each operand its axes: letters, and `.` once for the ellipsis.
    public let operands: [[Character]]
    /// The axes of the result.
    public let output: [Character]

    /// The axis that stands for all axes that have no letter.
    public static let ellipsis: Character = "."

    /// Takes an equation such as `bij,bjk->bik` apart; without `->` the result has the letters that occur once, in
    /// alphabetical order, after the ellipsis.
    ///
    /// - Returns: nil for a text that is no equation.
    public init?(_ text: String) {
        let compact = text.filter { $0 != " " }
        let sides = compact.components(of: "->")
        guard sides.count == 1 || sides.count == 2 else { return nil }
        var operands: [[Character]] = []
        for part in sides[0].split(separator: ",", omittingEmptySubsequences: false) {
            guard let axes = Self.axes(String(part)) else { return nil }
            operands.append(axes)
        }
        self.operands = operands
        if sides.count == 2 {
            guard let axes = Self.axes(sides[1]), Set(axes).count == axes.count else { return nil }
            let known = Set(operands.flatMap { $0 })
            guard axes.allSatisfy({ known.contains($0) || $0 == Self.ellipsis }) else { return nil }
            output = axes
        } else {
            var counts: [Character: Int] = [:]
            for axis in operands.flatMap({ $0 }) where axis != Self.ellipsis { counts[axis, default: 0] += 1 }
            let hasEllipsis = operands.contains { $0.contains(Self.ellipsis) }
            output = (hasEllipsis ? [Self.ellipsis] : []) + counts.filter { $0.value == 1 }.map(\.key).sorted()
        }
    }

    private static func axes(_ text: String) -> [Character]? {
        var result: [Character] = []
        var rest = text[...]
        while let first = rest.first {
            if rest.hasPrefix("...") {
                guard !result.contains(ellipsis) else { return nil }
                result.append(ellipsis)
                rest = rest.dropFirst(3)
            } else {
                guard first.isASCII, first.isLetter else { return nil }
                result.append(first)
                rest = rest.dropFirst()
            }
        }
        return result
    }
}

extension String {
    fileprivate func components(of separator: String) -> [String] {
        var result: [String] = []
        var rest = self[...]
        while let range = rest.firstRange(of: separator) {
            result.append(String(rest[..<range.lowerBound]))
            rest = rest[range.upperBound...]
        }
        return result + [String(rest)]
    }
}

/// Sums of products over named axes.
enum Einsum: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Einsum", versions: [12, 28], inputs: 1...OperatorSchema.many, gradient: .rule(gradient), inference: infer)
    ]

    private static func equation(_ reader: AttributeReader) throws -> EinsumEquation {
        guard let text = try reader.string("equation") else { throw reader.failure("equation", "is missing") }
        guard let equation = EinsumEquation(text) else {
            throw reader.failure("equation", "is \"\(text)\", which is no equation over axes")
        }
        return equation
    }

    private static func infer(_ context: inout InferenceContext) throws {
        let equation = try equation(context.reader)
        let inputs = 0..<context.node.inputs.count
        guard equation.operands.count == inputs.count else {
            throw context.failure("the equation has \(equation.operands.count) operands, the node \(inputs.count)")
        }
        var extents: [Character: Extent] = [:]
        var ellipsis: SymbolicShape? = []
        for input in inputs {
            guard let shape = context.shape(input)?.plain else {
                context.setTensor(context.commonElementType(inputs), nil)
                return
            }
            let axes = equation.operands[input]
            let letters = axes.filter { $0 != EinsumEquation.ellipsis }.count
            let spare = shape.rank - letters
            guard axes.contains(EinsumEquation.ellipsis) ? spare >= 0 : spare == 0 else {
                throw context.failure("input \(input) of shape \(shape) does not fit the axes \(String(axes))")
            }
            var position = 0
            for axis in axes {
                if axis == EinsumEquation.ellipsis {
                    let part = SymbolicShape(extents: Array(shape.extents[position..<(position + spare)]))
                    ellipsis = ellipsis.flatMap { $0.broadcast(with: part) }
                    position += spare
                    continue
                }
                let extent = shape[position].extent
                position += 1
                guard let known = extents[axis], known != .fixed(1) else {
                    extents[axis] = extent
                    continue
                }
                if extent == .fixed(1) { continue }
                extents[axis] = try context.unify(known, extent, "the axis \(axis) has different extents")
            }
        }
        guard let ellipsis else { throw context.failure("the axes of the ellipses do not broadcast") }
        context.setTensor(
            context.commonElementType(inputs),
            SymbolicShape(
                extents: equation.output.flatMap {
                    $0 == EinsumEquation.ellipsis ? ellipsis.extents : [extents[$0] ?? .unknown]
                }))
    }

    /// The gradient of an operand is an Einsum of dY and the other operands; axes that only the operand has are
    /// repeated.
    private static func gradient(_ context: inout GradientContext) throws {
        let equation = try equation(context.reader)
        let dy = try context.requiredGradient()
        for index in equation.operands.indices where context.needs(index) {
            let axes = equation.operands[index]
            let operand = try context.requiredInput(index)
            guard Set(axes).count == axes.count else {
                throw context.failure("operand \(index) has an axis twice, which has no gradient rule")
            }
            let others = equation.operands.indices.filter { $0 != index }
            let available = Set(others.flatMap { equation.operands[$0] } + equation.output)
            let kept = axes.filter { available.contains($0) }
            var terms = [text(equation.output)]
            var inputs = [dy]
            for other in others {
                terms.append(text(equation.operands[other]))
                inputs.append(try context.requiredInput(other))
            }
            var gradient = context.emit(
                "Einsum", inputs, attributes: ["equation": .string("\(terms.joined(separator: ","))->\(text(kept))")])
            if kept.count < axes.count {
                guard !axes.contains(EinsumEquation.ellipsis) else {
                    throw context.failure("operand \(index) has axes of its own beside an ellipsis")
                }
                let missing = axes.indices.filter { !available.contains(axes[$0]) }
                gradient = context.unsqueezed(gradient, axes: missing)
                gradient = context.expanded(gradient, to: operand)
            } else {
                gradient = context.reduced(gradient, to: operand)
            }
            context.setGradient(ofInput: index, gradient)
        }
    }

    private static func text(_ axes: [Character]) -> String {
        axes.map { $0 == EinsumEquation.ellipsis ? "..." : String($0) }.joined()
    }
}

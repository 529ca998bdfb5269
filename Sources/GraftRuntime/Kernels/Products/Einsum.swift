import GraftCore
import GraftIR

/// Einsum.
enum EinsumKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [KernelDefinition("Einsum", widens: true) { try EinsumKernel($0) }]
    }
}

/// A sum of products over named axes, as a chain of products of stacks of matrices.
///
/// Two operands at a time: axes that both have and the rest needs are the stack, axes that both have and nobody else
/// needs are summed by the product, all others are rows and columns.
final class EinsumKernel: Kernel {
    private let equation: EinsumEquation
    private let product = StackedProduct()

    /// An operand with its axes by label; letters are positive, axes of the ellipsis negative, from the last.
    private struct Operand {
        var tensor: RuntimeTensor
        var labels: [Int]
        var lengths: [Int]
        var strides: [Int]

        func length(_ label: Int) -> Int { labels.firstIndex(of: label).map { lengths[$0] } ?? 1 }
        func stride(_ label: Int) -> Int { labels.firstIndex(of: label).map { strides[$0] } ?? 0 }
        func count(_ labels: [Int]) -> Int { labels.reduce(1) { $0 * length($1) } }
    }

    init(_ node: KernelNode) throws {
        guard let text = node.attributes.string("equation"), let equation = EinsumEquation(text) else {
            throw KernelFailure("the attribute \"equation\" is missing or is no equation over axes")
        }
        guard equation.operands.count == node.inputCount else {
            throw KernelFailure("the equation has \(equation.operands.count) operands, the node \(node.inputCount)")
        }
        self.equation = equation
    }

    func run(_ context: KernelContext) throws {
        var lengths: [Int: Int] = [:]
        let shapes = try equation.operands.indices.map { try context.plain($0) }
        let labels = try zip(equation.operands, shapes).map { try Self.labels($0, rank: $1.rank) }
        guard let type = shapes.first?.elementType, shapes.allSatisfy({ $0.elementType == type }) else {
            throw KernelFailure("operands of different types")
        }
        for (labels, tensor) in zip(labels, shapes) {
            for (label, length) in zip(labels, tensor.shape) {
                let known = lengths[label] ?? 1
                guard known == 1 || length == 1 || known == length else {
                    throw KernelFailure("an axis has the lengths \(known) and \(length)")
                }
                lengths[label] = known == 1 ? length : known
            }
        }
        let spread = lengths.keys.filter { $0 < 0 }.sorted()
        let output = equation.output.flatMap { $0 == EinsumEquation.ellipsis ? spread : [Self.label($0)] }
        guard Checked.product(output.map { lengths[$0] ?? 1 }) != nil else {
            throw KernelFailure("a result of shape \(output.map { lengths[$0] ?? 1 }) is not possible")
        }
        var operands = zip(labels, shapes).map { Self.operand($0, $1, lengths) }
        while operands.count > 1 {
            let (first, second) = Self.cheapest(operands, output)
            let rest = operands.indices.filter { $0 != first && $0 != second }.map { operands[$0] }
            let needed = Set(output + rest.flatMap(\.labels))
            let joined = try multiply(operands[first], operands[second], needed, context)
            operands = rest + [joined]
        }
        let last = try summed(operands[0], Set(output), context)
        let shape = output.map { lengths[$0] ?? 1 }
        // An axis of length one may have been dropped for an operand that had none.
        let steps = output.map { last.length($0) == 1 ? 0 : last.stride($0) }
        let result = last.tensor.viewed([last.tensor.count])
        if last.tensor.count == shape.reduce(1, *), Self.isPlain(output.map { last.length($0) }, steps) {
            return context.set(0, result.viewed(shape))
        }
        let y = try context.output(0, type, shape)
        try copyStrided(
            width: type.byteWidth, shape: shape, from: result.pointer, StridedView(strides: steps), to: y.pointer,
            StridedView(strides: y.strides))
    }

    // MARK: Labels

    private static func label(_ letter: Character) -> Int { Int(letter.asciiValue ?? 0) }

    private static func labels(_ axes: [Character], rank: Int) throws -> [Int] {
        let letters = axes.filter { $0 != EinsumEquation.ellipsis }.count
        let spare = rank - letters
        guard axes.contains(EinsumEquation.ellipsis) ? spare >= 0 : spare == 0 else {
            throw KernelFailure("an operand with \(rank) axes for the axes \(String(axes))")
        }
        return axes.flatMap { $0 == EinsumEquation.ellipsis ? Array(-spare..<0) : [label($0)] }
    }

    /// An operand with each label once: repeated labels walk the diagonal, axes that are repeated are left out.
    private static func operand(_ labels: [Int], _ tensor: RuntimeTensor, _ lengths: [Int: Int]) -> Operand {
        var result = Operand(tensor: tensor, labels: [], lengths: [], strides: [])
        for ((label, length), stride) in zip(zip(labels, tensor.shape), tensor.strides) {
            guard length == lengths[label] else { continue }
            if let index = result.labels.firstIndex(of: label) {
                result.strides[index] += stride
            } else {
                result.labels.append(label)
                result.lengths.append(length)
                result.strides.append(stride)
            }
        }
        return result
    }

    /// The two operands whose product is smallest.
    private static func cheapest(_ operands: [Operand], _ output: [Int]) -> (Int, Int) {
        guard operands.count > 2 else { return (0, 1) }
        var best = (first: 0, second: 1, size: Double.infinity)
        for first in operands.indices {
            for second in (first + 1)..<max(first + 1, operands.count) {
                let others = operands.indices.filter { $0 != first && $0 != second }
                let needed = Set(output + others.flatMap { operands[$0].labels })
                let labels = Set(operands[first].labels + operands[second].labels).intersection(needed)
                let size = labels.reduce(1.0) {
                    $0 * Double(max(operands[first].length($1), operands[second].length($1)))
                }
                if size < best.size { best = (first, second, size) }
            }
        }
        return (best.first, best.second)
    }

    // MARK: Sums and products

    /// Whether a walk with these lengths and strides reads the elements in the order of memory.
    private static func isPlain(_ lengths: [Int], _ strides: [Int]) -> Bool {
        var step = 1
        for (length, stride) in zip(lengths, strides).reversed() where length != 1 {
            guard stride == step else { return false }
            step *= length
        }
        return true
    }

    /// The elements of an operand in the order of some of its axes; those axes must be all.
    private func arranged(_ operand: Operand, _ labels: [Int], _ context: KernelContext) throws -> RuntimeTensor {
        let (lengths, strides) = (labels.map { operand.length($0) }, labels.map { operand.stride($0) })
        let count = lengths.reduce(1, *)
        if count == operand.tensor.count, Self.isPlain(lengths, strides) { return operand.tensor }
        let result = try context.temporary(operand.tensor.elementType, lengths)
        try copyStrided(
            width: result.elementType.byteWidth, shape: lengths, from: operand.tensor.pointer,
            StridedView(strides: strides), to: result.pointer, StridedView(strides: result.strides))
        return result
    }

    private static func fresh(_ tensor: RuntimeTensor, _ labels: [Int], _ lengths: [Int]) -> Operand {
        Operand(
            tensor: tensor, labels: labels, lengths: lengths, strides: RuntimeTensor.strides(lengths, .rowMajor))
    }

    /// An operand without the axes that nobody needs: they are summed.
    private func summed(_ operand: Operand, _ needed: Set<Int>, _ context: KernelContext) throws -> Operand {
        let kept = operand.labels.filter { needed.contains($0) }
        guard kept.count < operand.labels.count else { return operand }
        let dropped = operand.labels.filter { !needed.contains($0) }
        let (rows, length) = (operand.count(kept), operand.count(dropped))
        let lengths = kept.map { operand.length($0) }
        let x = try arranged(operand, kept + dropped, context)
        // A sum is a product with ones.
        let ones = try context.temporary(x.elementType, [length])
        let one = try context.one(x.elementType)
        try copyStrided(
            width: x.elementType.byteWidth, shape: [length], from: one.pointer, StridedView(strides: [0]),
            to: ones.pointer, StridedView(strides: [1]))
        let y = try context.temporary(x.elementType, lengths)
        let shape = StackedProduct.Shape(
            stack: 1, m: rows, n: 1, k: length, isATransposed: false, isBTransposed: false)
        try product.run(shape, x, ones, y, context.arena)
        return Self.fresh(y, kept, lengths)
    }

    private func multiply(
        _ first: Operand, _ second: Operand, _ needed: Set<Int>, _ context: KernelContext
    ) throws -> Operand {
        let a = try summed(first, needed.union(second.labels), context)
        let b = try summed(second, needed.union(first.labels), context)
        let stack = a.labels.filter { b.labels.contains($0) && needed.contains($0) }
        let inner = a.labels.filter { b.labels.contains($0) && !needed.contains($0) }
        let rows = a.labels.filter { !b.labels.contains($0) }
        let columns = b.labels.filter { !a.labels.contains($0) }
        // An operand that lies transposed is read so; otherwise it is brought into order.
        func lies(_ operand: Operand, _ labels: [Int]) -> Bool {
            operand.count(labels) == operand.tensor.count
                && Self.isPlain(labels.map { operand.length($0) }, labels.map { operand.stride($0) })
        }
        let isATransposed = !lies(a, stack + rows + inner) && lies(a, stack + inner + rows)
        let isBTransposed = !lies(b, stack + inner + columns) && lies(b, stack + columns + inner)
        let x = try arranged(a, stack + (isATransposed ? inner + rows : rows + inner), context)
        let w = try arranged(b, stack + (isBTransposed ? columns + inner : inner + columns), context)
        let lengths = (stack + rows).map { a.length($0) } + columns.map { b.length($0) }
        guard Checked.product(lengths) != nil else {
            throw KernelFailure("a product of shape \(lengths) is not possible")
        }
        let y = try context.temporary(x.elementType, lengths)
        let shape = StackedProduct.Shape(
            stack: a.count(stack), m: a.count(rows), n: b.count(columns), k: a.count(inner),
            isATransposed: isATransposed, isBTransposed: isBTransposed)
        try product.run(shape, x, w, y, context.arena)
        return Self.fresh(y, stack + rows + columns, lengths)
    }
}

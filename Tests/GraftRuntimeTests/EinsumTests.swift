import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Einsum agrees with the sum that its equation says.
@Suite struct EinsumTests {
    static let equations = [
        "ij->ji", "ij->", "ij->j", "ii->i", "ii", "iij->j", "ij,jk->ik", "ij,jk", "ij,kj->ik", "ji,jk->ik",
        "bij,bjk->bik",
        "bij,bkj->bik", "bhid,bhjd->bhij", "bihd,bjhd->bhij", "i,j->ij", "i,i->", "i,i->i", "ij,ij->ij", "ij,j->i",
        "ijk,k->ij", "ij,kl->", "ij,kl->ik", "ijkl,kl->ij", "bn,anm,bm->ba", "ij,jk,kl->il", "ij,jk,kl,lm->im",
        "...ij,...jk->...ik", "...i->...", "i...->...i", "...,...->...", "b...ij,jk->b...ik",
        "abc,acd,bd->db", "aab,b->ab", "ab , bc -> ca",
    ]

    /// The length of each letter.
    private static func length(_ letter: Character) -> Int { [2, 3, 4, 5, 3, 2][Int(letter.asciiValue ?? 0) % 6] }

    @Test(arguments: equations) func agreesWithTheDefinition(_ text: String) throws {
        let equation = try #require(EinsumEquation(text))
        // The ellipsis stands for two axes; the first operand repeats the first of them.
        let operands = equation.operands.enumerated().map { index, axes -> Tensor in
            let shape = axes.flatMap { $0 == EinsumEquation.ellipsis ? [index == 0 ? 1 : 3, 2] : [Self.length($0)] }
            return Tensor(numbers(shape.reduce(1, *), seed: UInt64(index)), shape: shape)
        }
        let found = try run("Einsum", operands, ["equation": .string(text)])[0]
        let wanted = try Self.evaluate(equation, operands)
        #expect(found.shape == wanted.shape)
        let pairs = zip(try found.elements(as: Float.self), try wanted.elements(as: Double.self))
        for (a, b) in pairs { #expect(abs(Double(a) - b) < 1e-4) }
        // Whole numbers are exact, whatever way their products take.
        let whole = try operands.map { tensor in
            Tensor(try tensor.elements(as: Float.self).map { Int32($0 * 4) }, shape: tensor.shape)
        }
        let exact = try run("Einsum", whole, ["equation": .string(text)])[0]
        let sums = try Self.evaluate(
            equation, whole.map { Tensor(try $0.elements(as: Int32.self).map(Float.init), shape: $0.shape) })
        #expect(try exact.elements(as: Int32.self).map(Double.init) == sums.elements(as: Double.self))
    }

    @Test func largeProductsGoThroughOneDNN() throws {
        let (b, m, n, k) = (3, 33, 29, 41)
        let x = Tensor(numbers(m * b * k, seed: 1), shape: [m, b, k])
        let w = Tensor(numbers(b * n * k, seed: 2), shape: [b, n, k])
        let equation = try #require(EinsumEquation("mbk,bnk->bmn"))
        let found = try run("Einsum", [x, w], ["equation": .string("mbk,bnk->bmn")])[0]
        let wanted = try Self.evaluate(equation, [x, w])
        for (a, b) in zip(try found.elements(as: Float.self), try wanted.elements(as: Double.self)) {
            #expect(abs(Double(a) - b) < 1e-3)
        }
    }

    @Test(arguments: ["ij,jk->ik", "ii->i", "ijk->i", "ij->jiz", "..i.->i"]) func whatDoesNotFitIsRefused(
        _ text: String
    ) {
        let x = Tensor([Float](repeating: 1, count: 6), shape: [2, 3])
        #expect(throws: (any Error).self) {
            _ = try run("Einsum", text.contains(",") ? [x, x] : [x], ["equation": .string(text)])
        }
    }

    /// The sum over all values of all axes.
    private static func evaluate(_ equation: EinsumEquation, _ operands: [Tensor]) throws -> Tensor {
        func labels(_ axes: [Character], rank: Int) -> [String] {
            let spare = rank - axes.filter { $0 != EinsumEquation.ellipsis }.count
            return axes.flatMap { axis in
                axis == EinsumEquation.ellipsis ? (0..<spare).map { "\($0 - spare)" } : [String(axis)]
            }
        }
        let axes = zip(equation.operands, operands).map { labels($0, rank: $1.shape.count) }
        var lengths: [String: Int] = [:]
        for (labels, tensor) in zip(axes, operands) {
            for (label, length) in zip(labels, tensor.shape) { lengths[label] = max(lengths[label] ?? 1, length) }
        }
        let output = labels(
            equation.output,
            rank: equation.output.filter { $0 != EinsumEquation.ellipsis }.count
                + (equation.output.contains(EinsumEquation.ellipsis)
                    ? lengths.keys.filter { $0.first == "-" }.count : 0))
        let all = output + lengths.keys.filter { !output.contains($0) }.sorted()
        let shape = output.map { lengths[$0] ?? 1 }
        var sums = [Double](repeating: 0, count: shape.reduce(1, *))
        let elements = try operands.map { try $0.elements(as: Float.self) }
        let inner = all.dropFirst(output.count).reduce(1) { $0 * (lengths[$1] ?? 1) }
        for position in 0..<(sums.count * inner) {
            var place: [String: Int] = [:]
            var rest = position
            for label in all.reversed() {
                place[label] = rest % (lengths[label] ?? 1)
                rest /= lengths[label] ?? 1
            }
            var product = 1.0
            for (index, labels) in axes.enumerated() {
                var offset = 0
                for (label, length) in zip(labels, operands[index].shape) {
                    offset = offset * length + (length == 1 ? 0 : place[label] ?? 0)
                }
                product *= Double(elements[index][offset])
            }
            sums[position / inner] += product
        }
        return Tensor(sums, shape: shape)
    }
}

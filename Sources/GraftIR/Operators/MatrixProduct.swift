import GraftCore

/// The settings of a Gemm: `alpha * A' * B' + beta * C`.
public struct GemmAttributes: Sendable {
    /// The factor of the product.
    public let alpha: Float
    /// The factor of the summand.
    public let beta: Float
    /// Whether the first matrix is transposed.
    public let transposesA: Bool
    /// Whether the second matrix is transposed.
    public let transposesB: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        alpha = try reader.float("alpha", default: 1)
        beta = try reader.float("beta", default: 1)
        transposesA = try reader.flag("transA")
        transposesB = try reader.flag("transB")
    }
}

/// Products of matrices: MatMul, Gemm and the integer forms.
enum MatrixProduct: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "MatMul", versions: [1, 9, 13], inputs: 2...2, gradient: .rule(matMulGradient), cost: matMulCost,
            inference: { context in
                context.setTensor(context.commonElementType(0...1), try matMulShape(context, 0, 1))
            }),
        OperatorSchema(
            "Gemm", versions: [1, 6, 7, 9, 11, 13], inputs: 2...3, gradient: .rule(gemmGradient), cost: gemmCost,
            inference: inferGemm),
        OperatorSchema(
            "MatMulInteger", versions: [10], inputs: 2...4, gradient: .none,
            inference: { context in context.setTensor(.int32, try matMulShape(context, 0, 1)) }),
        OperatorSchema(
            "QLinearMatMul", versions: [10, 21], inputs: 8...8, gradient: .none,
            inference: { context in context.setTensor(context.elementType(7), try matMulShape(context, 0, 3)) }),
    ]

    /// The shape of the product of two inputs by the rules of NumPy's `matmul`.
    static func matMulShape(_ context: InferenceContext, _ first: Int, _ second: Int) throws -> SymbolicShape? {
        guard let a = context.shape(first)?.plain, let b = context.shape(second)?.plain else { return nil }
        guard a.rank > 0, b.rank > 0 else { throw context.failure("a scalar cannot be multiplied as a matrix") }
        let left = a.rank == 1 ? SymbolicShape(extents: [.fixed(1)] + a.extents) : a
        let right = b.rank == 1 ? SymbolicShape(extents: b.extents + [.fixed(1)]) : b
        if let inner = left.dimensions.last?.count, let other = right[right.rank - 2].count, inner != other {
            throw context.failure("the shapes \(a) and \(b) cannot be multiplied: \(inner) and \(other) differ")
        }
        let leftBatch = SymbolicShape(extents: Array(left.extents.dropLast(2)))
        let rightBatch = SymbolicShape(extents: Array(right.extents.dropLast(2)))
        guard let batch = leftBatch.broadcast(with: rightBatch) else {
            throw context.failure("the shapes \(a) and \(b) do not broadcast")
        }
        var extents = batch.extents
        if a.rank > 1 { extents.append(left.extents[left.rank - 2]) }
        if b.rank > 1 { extents.append(right.extents[right.rank - 1]) }
        return SymbolicShape(extents: extents)
    }

    private static func inferGemm(_ context: inout InferenceContext) throws {
        let attributes = try GemmAttributes(context.node, opset: context.opset)
        let element = context.commonElementType(0...1)
        try context.require(rank: 2, of: 0, named: "A")
        try context.require(rank: 2, of: 1, named: "B")
        guard let a = context.shape(0), let b = context.shape(1) else {
            context.setTensor(element, [Dimension(.unknown), Dimension(.unknown)])
            return
        }
        let (rows, inner) = attributes.transposesA ? (a[1], a[0]) : (a[0], a[1])
        let (other, columns) = attributes.transposesB ? (b[1], b[0]) : (b[0], b[1])
        if let x = inner.count, let y = other.count, x != y {
            throw context.failure("the shapes \(a) and \(b) cannot be multiplied: \(x) and \(y) differ")
        }
        let shape = SymbolicShape(extents: [rows.extent, columns.extent])
        if let c = context.shape(2), context.opset >= 7 {
            guard c.rank <= 2, shape.broadcast(with: c) != nil else {
                throw context.failure("C of shape \(c) does not broadcast to the product's shape \(shape)")
            }
        }
        context.setTensor(element, shape)
    }

    private static func transposed(_ value: ValueID, rank: Int, _ context: inout GradientContext) -> ValueID {
        let permutation = Array(0..<(rank - 2)) + [rank - 1, rank - 2]
        return context.emit("Transpose", [value], attributes: ["perm": .ints(permutation)])
    }

    /// The gradients are `dA = dY B'` and `dB = A' dY`, summed over axes that broadcasting added.
    ///
    /// A vector counts as a matrix of one row or
    /// column.
    private static func matMulGradient(_ context: inout GradientContext) throws {
        let dy = try context.requiredGradient()
        let a = try context.requiredInput(0)
        let b = try context.requiredInput(1)
        guard let aRank = context.shape(of: a)?.rank, let bRank = context.shape(of: b)?.rank else {
            throw context.failure("the gradient needs the ranks of both matrices, which are not known")
        }
        var gradient = dy
        var left = a
        var right = b
        if aRank == 1 {
            left = context.unsqueezed(a, axes: [0])
            gradient = context.unsqueezed(gradient, axes: [max(bRank - 2, 0)])
        }
        if bRank == 1 {
            right = context.unsqueezed(b, axes: [1])
            gradient = context.unsqueezed(gradient, axes: [max(aRank, 2) - 1])
        }
        if context.needs(0) {
            let product = context.emit(
                "MatMul", [gradient, transposed(right, rank: max(bRank, 2), &context)])
            let matrix = context.reduced(product, to: left)
            context.setGradient(ofInput: 0, aRank == 1 ? context.reshaped(matrix, to: a) : matrix)
        }
        if context.needs(1) {
            let product = context.emit("MatMul", [transposed(left, rank: max(aRank, 2), &context), gradient])
            let matrix = context.reduced(product, to: right)
            context.setGradient(ofInput: 1, bRank == 1 ? context.reshaped(matrix, to: b) : matrix)
        }
    }

    private static func gemmGradient(_ context: inout GradientContext) throws {
        let attributes = try GemmAttributes(context.node, opset: context.opset)
        let dy = try context.requiredGradient()
        let a = try context.requiredInput(0)
        let b = try context.requiredInput(1)
        func product(_ x: ValueID, _ y: ValueID, _ transX: Bool, _ transY: Bool) -> ValueID {
            context.emit(
                "Gemm", [x, y],
                attributes: [
                    "alpha": .float(attributes.alpha), "transA": .int(transX ? 1 : 0), "transB": .int(transY ? 1 : 0),
                ])
        }
        if context.needs(0) {
            let gradient =
                attributes.transposesA
                ? product(b, dy, attributes.transposesB, true) : product(dy, b, false, !attributes.transposesB)
            context.setGradient(ofInput: 0, gradient)
        }
        if context.needs(1) {
            let gradient =
                attributes.transposesB
                ? product(dy, a, true, attributes.transposesA) : product(a, dy, !attributes.transposesA, false)
            context.setGradient(ofInput: 1, gradient)
        }
        if context.needs(2), let c = context.input(2) {
            var gradient = context.reduced(dy, to: c)
            if attributes.beta != 1 {
                gradient = context.multiply(gradient, try context.scalar(Double(attributes.beta), like: c))
            }
            context.setGradient(ofInput: 2, gradient)
        }
    }

    private static func matMulCost(_ node: Node, _ inputs: [[Int]?], _ outputs: [[Int]?]) -> Int? {
        guard let a = inputs.first ?? nil, let inner = a.last, let y = outputs.first ?? nil else { return nil }
        return Checked.product(y + [inner])
    }

    private static func gemmCost(_ node: Node, _ inputs: [[Int]?], _ outputs: [[Int]?]) -> Int? {
        guard let a = inputs.first ?? nil, a.count == 2, let y = outputs.first ?? nil else { return nil }
        return Checked.product(y + [a[node.attributes.int("transA") ?? 0 != 0 ? 0 : 1]])
    }
}

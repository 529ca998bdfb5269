import GraftCore

/// The settings of a Transpose.
public struct TransposeAttributes: Sendable {
    /// For each axis of the output the axis of the input; the reverse order where nil.
    public let permutation: [Int]?

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute that is no permutation.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        permutation = try reader.ints("perm")
        if let permutation, permutation.sorted() != Array(0..<permutation.count) {
            throw reader.failure("perm", "is \(permutation), which is no permutation of the axes")
        }
    }

    /// The permutation for a tensor of the given rank; nil where it has another length.
    public func resolved(rank: Int) -> [Int]? {
        guard let permutation else { return Array((0..<rank).reversed()) }
        return permutation.count == rank ? permutation : nil
    }
}

/// The settings of DepthToSpace and SpaceToDepth.
public struct BlockAttributes: Sendable {
    /// The extent of a block along height and width.
    public let blockSize: Int
    /// Whether columns and rows of a block vary slower than the remaining channels (`CRD`).
    public let isColumnRowDepth: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for a missing or impossible block size.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        blockSize = try reader.requiredInt("blocksize")
        if blockSize < 1 || blockSize > 1 << 20 {
            throw reader.failure("blocksize", "is \(blockSize), which is out of range")
        }
        switch try reader.string("mode") {
        case nil, "DCR": isColumnRowDepth = false
        case "CRD": isColumnRowDepth = true
        case let other?: throw reader.failure("mode", "is \"\(other)\"; it must be DCR or CRD")
        }
    }
}

/// Operators that move elements to other places.
enum Layout: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Transpose", versions: [1, 13, 21, 23, 24, 25], inputs: 1...1, gradient: .rule(transposeGradient),
            inference: inferTranspose),
        OperatorSchema(
            "DepthToSpace", versions: [1, 11, 13, 28], inputs: 1...1,
            gradient: .rule { try blockGradient(&$0, inverse: "SpaceToDepth") }, inference: inferDepthToSpace),
        OperatorSchema(
            "SpaceToDepth", versions: [1, 13, 28], inputs: 1...1,
            gradient: .rule { try blockGradient(&$0, inverse: "DepthToSpace") }, inference: inferSpaceToDepth),
        OperatorSchema(
            "ReverseSequence", versions: [10, 28], inputs: 2...2,
            gradient: .rule { context in
                // Reversing is its own inverse.
                guard context.needs(0) else { return }
                context.setGradient(
                    ofInput: 0,
                    context.emit(
                        "ReverseSequence", [try context.requiredGradient(), try context.requiredInput(1)],
                        attributes: context.attributes))
            }, inference: CommonInference.likeFirst),
        OperatorSchema(
            "Trilu", versions: [14], inputs: 1...2,
            gradient: .rule { context in
                guard context.needs(0) else { return }
                context.setGradient(
                    ofInput: 0,
                    context.emit(
                        "Trilu", [try context.requiredGradient(), context.input(1)], attributes: context.attributes))
            }, inference: CommonInference.likeFirst),
    ]

    private static func inferTranspose(_ context: inout InferenceContext) throws {
        let attributes = try TransposeAttributes(context.node, opset: context.opset)
        guard let x = context.shape(0) else {
            context.setTensor(
                context.elementType(0),
                attributes.permutation.map { SymbolicShape(extents: $0.map { _ in .unknown }) })
            return
        }
        guard let permutation = attributes.resolved(rank: x.rank) else {
            throw context.failure("the permutation \(attributes.permutation ?? []) does not fit the shape \(x)")
        }
        context.setTensor(context.elementType(0), SymbolicShape(extents: permutation.map { x[$0].extent }))
        if x.rank <= 1 {
            context.setContent(context.content(0))
        } else if let counts = x.counts, let strides = InferenceContext.strides(counts) {
            context.rearrange(permutation.map { counts[$0] }, offset: 0, strides: permutation.map { strides[$0] })
        }
    }

    private static func transposeGradient(_ context: inout GradientContext) throws {
        guard context.needs(0) else { return }
        let attributes = try TransposeAttributes(context.node, opset: context.opset)
        var inverse: Attributes = [:]
        if let permutation = attributes.permutation {
            var positions = permutation
            for (target, source) in permutation.enumerated() { positions[source] = target }
            inverse = ["perm": .ints(positions)]
        }
        context.setGradient(
            ofInput: 0, context.emit("Transpose", [try context.requiredGradient()], attributes: inverse))
    }

    private static func inferDepthToSpace(_ context: inout InferenceContext) throws {
        let attributes = try BlockAttributes(context.node, opset: context.opset)
        try context.require(rank: 4, of: 0, named: "the input")
        let block = attributes.blockSize
        let shape = try context.shape(0).map { x in
            if let channels = x[1].count, channels % (block * block) != 0 {
                throw context.failure("\(channels) channels do not divide into blocks of \(block) by \(block)")
            }
            return SymbolicShape(extents: [
                x[0].extent, x[1].extent.floorDivided(by: .fixed(block * block)), x[2].extent * .fixed(block),
                x[3].extent * .fixed(block),
            ])
        }
        context.setTensor(context.elementType(0), shape)
    }

    private static func inferSpaceToDepth(_ context: inout InferenceContext) throws {
        let attributes = try BlockAttributes(context.node, opset: context.opset)
        try context.require(rank: 4, of: 0, named: "the input")
        let block = attributes.blockSize
        let shape = context.shape(0).map { x in
            SymbolicShape(extents: [
                x[0].extent, x[1].extent * .fixed(block * block), x[2].extent.floorDivided(by: .fixed(block)),
                x[3].extent.floorDivided(by: .fixed(block)),
            ])
        }
        context.setTensor(context.elementType(0), shape)
    }

    /// The two operators are each other's inverse in the `DCR` arrangement; `CRD` is undone by reshaping.
    private static func blockGradient(_ context: inout GradientContext, inverse: String) throws {
        guard context.needs(0) else { return }
        let attributes = try BlockAttributes(context.node, opset: context.opset)
        let dy = try context.requiredGradient()
        let x = try context.requiredInput(0)
        let block = attributes.blockSize
        guard attributes.isColumnRowDepth else {
            context.setGradient(
                ofInput: 0, context.emit(inverse, [dy], attributes: ["blocksize": .int(block)]))
            return
        }
        guard context.node.op.type == "DepthToSpace" else {
            throw context.failure("SpaceToDepth in the CRD arrangement has no gradient rule")
        }
        guard let shape = context.shape(of: x), shape.rank == 4, let channels = shape[1].count,
            channels % (block * block) == 0,
            let height = shape[2].count, let width = shape[3].count
        else {
            throw context.failure("the gradient of the CRD arrangement needs known channels, height and width")
        }
        let apart = context.emit(
            "Reshape", [dy, context.integers([-1, channels / (block * block), height, block, width, block])])
        let moved = context.emit("Transpose", [apart], attributes: ["perm": .ints([0, 1, 3, 5, 2, 4])])
        context.setGradient(ofInput: 0, context.reshaped(moved, to: x))
    }
}

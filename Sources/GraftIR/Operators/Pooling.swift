import GraftCore

/// The settings of a pooling over windows, whatever its kind and version.
public struct PoolingAttributes: Sendable {
    /// The window.
    public let window: WindowAttributes
    /// Whether padding counts in an average.
    public let countsPadding: Bool
    /// Whether indices count along columns first (MaxPool).
    public let isColumnMajor: Bool
    /// The order of the norm (LpPool).
    public let p: Int

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for values that no pooling has.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        window = try WindowAttributes(node)
        countsPadding = try reader.flag("count_include_pad")
        isColumnMajor = try reader.flag("storage_order")
        p = try reader.int("p", default: 2)
    }
}

/// Poolings over windows and over whole images.
enum Pooling: OperatorFamily {
    static let schemas: [OperatorSchema] =
        [
            OperatorSchema(
                "MaxPool", versions: [1, 8, 10, 11, 12, 22], inputs: 1...1, outputs: 1...2,
                gradient: .rule { context in
                    context.setByOperator(
                        "MaxPoolGrad",
                        [try context.requiredGradient(), try context.requiredInput(0), try context.requiredOutput()],
                        attributes: context.attributes)
                }, inference: inferWindow),
            OperatorSchema(
                "AveragePool", versions: [1, 7, 10, 11, 19, 22], inputs: 1...1,
                gradient: .rule { context in
                    context.setByOperator(
                        "AveragePoolGrad", [try context.requiredGradient(), try context.requiredInput(0)],
                        attributes: context.attributes)
                }, inference: inferWindow),
            OperatorSchema(
                "LpPool", versions: [1, 2, 11, 18, 22], inputs: 1...1,
                gradient: .unsupported(reason: "pooling by a norm has no gradient rule"), inference: inferWindow),
            OperatorSchema(
                "GlobalAveragePool", versions: [1, 22], inputs: 1...1,
                gradient: .rule { context in
                    context.setByOperator(
                        "GlobalAveragePoolGrad", [try context.requiredGradient(), try context.requiredInput(0)])
                }, inference: inferGlobal),
            OperatorSchema(
                "GlobalMaxPool", versions: [1, 22], inputs: 1...1,
                gradient: .rule { context in
                    context.setByOperator(
                        "GlobalMaxPoolGrad",
                        [try context.requiredGradient(), try context.requiredInput(0), try context.requiredOutput()])
                }, inference: inferGlobal),
            OperatorSchema(
                "GlobalLpPool", versions: [1, 2, 22], inputs: 1...1,
                gradient: .unsupported(reason: "pooling by a norm has no gradient rule"), inference: inferGlobal),
            OperatorSchema(
                "MaxUnpool", versions: [9, 11, 22], inputs: 2...3,
                gradient: .unsupported(reason: "the inverse of pooling has no gradient rule"),
                inference: inferUnpool),
            OperatorSchema(
                "MaxRoiPool", versions: [1, 22], inputs: 2...2,
                gradient: .unsupported(reason: "pooling of regions has no gradient rule"), inference: inferRegions),
            OperatorSchema(
                "RoiAlign", versions: [10, 16, 22], inputs: 3...3,
                gradient: .unsupported(reason: "pooling of regions has no gradient rule"), inference: inferRegions),
        ] + gradientOperators

    /// The first input is dY, the second X; the geometry is that of the forward node.
    private static let gradientOperators: [OperatorSchema] = [
        ("MaxPoolGrad", 3), ("AveragePoolGrad", 2), ("GlobalAveragePoolGrad", 2), ("GlobalMaxPoolGrad", 3),
    ].map { type, inputs in
        OperatorSchema(
            OperatorName(type, domain: graftDomain), inputs: inputs...inputs,
            gradient: .unsupported(reason: "second derivatives are not computed"), inference: CommonInference.like(1))
    }

    private static func inferWindow(_ context: inout InferenceContext) throws {
        let attributes = try PoolingAttributes(context.node, opset: context.opset)
        var shape: SymbolicShape?
        if let x = context.shape(0) {
            guard x.rank >= 3 else {
                throw context.failure("the input of a pooling needs at least 3 axes, but its shape is \(x)")
            }
            let spatial = try attributes.window.outputExtents(input: Array(x.extents.dropFirst(2)), kernel: nil)
            shape = SymbolicShape(extents: [x[0].extent, x[1].extent] + spatial)
        }
        context.setTensor(context.elementType(0), shape)
        context.setTensor(.int64, shape, of: 1)
    }

    private static func inferGlobal(_ context: inout InferenceContext) throws {
        let shape = context.shape(0).map { x in
            SymbolicShape(extents: x.extents.enumerated().map { $0.offset < 2 ? $0.element : .fixed(1) })
        }
        context.setTensor(context.elementType(0), shape)
    }

    private static func inferUnpool(_ context: inout InferenceContext) throws {
        let attributes = try PoolingAttributes(context.node, opset: context.opset)
        guard let x = context.shape(0), x.rank >= 3 else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        if let extents = context.extents(2) {
            context.setTensor(context.elementType(0), SymbolicShape(extents: extents))
            return
        }
        guard !context.has(2), let kernel = attributes.window.kernelShape, kernel.count == x.rank - 2 else {
            context.setTensor(
                context.elementType(0), SymbolicShape(extents: Array(repeating: .unknown, count: x.rank)))
            return
        }
        let strides = try attributes.window.strides(rank: kernel.count)
        let pads = try attributes.window.explicitPads(rank: kernel.count)
        let spatial = kernel.indices.map { axis in
            (x[axis + 2].extent - .fixed(1)) * .fixed(strides[axis])
                + .fixed(kernel[axis] - pads.begin[axis] - pads.end[axis])
        }
        context.setTensor(context.elementType(0), SymbolicShape(extents: [x[0].extent, x[1].extent] + spatial))
    }

    private static func inferRegions(_ context: inout InferenceContext) throws {
        let size: [Int]
        if context.node.op.type == "RoiAlign" {
            size = [
                try context.reader.int("output_height", default: 1), try context.reader.int("output_width", default: 1),
            ]
        } else {
            size = try context.reader.ints("pooled_shape") ?? []
        }
        let channels = context.shape(0).flatMap { $0.rank > 1 ? $0[1].extent : nil } ?? .unknown
        let regions = context.shape(1).flatMap { $0.rank > 0 ? $0[0].extent : nil } ?? .unknown
        context.setTensor(
            context.elementType(0), SymbolicShape(extents: [regions, channels] + size.map { Extent.fixed($0) }))
    }
}

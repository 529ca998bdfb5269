import GraftCore

/// The tensor that a Constant node holds.
public struct ConstantAttributes: Sendable {
    /// The tensor; nil where the node holds a sparse one.
    public let tensor: Tensor?
    /// The sparse tensor.
    public let sparse: StoredSparseTensor?

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` where the node holds no value.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        if node.attributes.all.count == 1, node.attributes.all[0].name == "value",
            case .tensor(let stored) = node.attributes.all[0].value
        {
            self.tensor = stored.tensor
            self.sparse = nil
            return
        }
        let reader = AttributeReader(node)
        var tensor = try reader.tensor("value")
        var sparse: StoredSparseTensor?
        if case .sparseTensor(let stored)? = node.attributes["sparse_value"] { sparse = stored }
        if let value = try reader.float("value_float") { tensor = Tensor(scalar: value) }
        if let values = try reader.floats("value_floats") { tensor = Tensor(values) }
        if let value = try reader.int("value_int") { tensor = Tensor(scalar: Int64(value)) }
        if let values = try reader.ints("value_ints") { tensor = Tensor(values.map { Int64($0) }) }
        if case .string(let bytes)? = node.attributes["value_string"] {
            tensor = try? Tensor(.string, shape: [], storage: .strings([bytes]))
        }
        if case .strings(let texts)? = node.attributes["value_strings"] {
            tensor = try? Tensor(.string, shape: [texts.count], storage: .strings(texts))
        }
        guard tensor != nil || sparse != nil else { throw reader.failure("value", "is missing") }
        self.tensor = tensor
        self.sparse = sparse
    }
}

/// Values that a graph makes from nothing, or from shapes alone.
enum Constants: OperatorFamily {
    private static let typeVersions = [20, 21, 23, 24, 25]

    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "Constant", versions: [1, 9, 11, 12, 13, 19, 21, 23, 24, 25], inputs: 0...0, gradient: .none,
            inference: { context in
                let attributes = try ConstantAttributes(context.node, opset: context.opset)
                if let tensor = attributes.tensor {
                    context.setType(ValueType(of: tensor))
                    context.setContent(.tensor(tensor))
                } else if let sparse = attributes.sparse {
                    context.setTensor(sparse.values.tensor.elementType, SymbolicShape(sparse.shape))
                }
            }),
        OperatorSchema(
            "ConstantOfShape", versions: [9] + typeVersions, inputs: 1...1, gradient: .none,
            inference: { context in
                let value = try context.reader.tensor("value")
                let shape = context.extents(0).map { SymbolicShape(extents: $0) }
                context.setTensor(value?.elementType ?? .float32, shape)
                guard let shape, shape.rank <= 1, let number = value == nil ? 0 : value?.smallIntegers()?.first,
                    let count = shape.counts.flatMap({ Checked.product($0) }), count <= KnownContent.countLimit
                else { return }
                context.setExtents(Array(repeating: .fixed(number), count: count), isScalar: shape.rank == 0)
            }),
        OperatorSchema(
            "EyeLike", versions: [9, 22], inputs: 1...1, gradient: .none,
            inference: { context in
                try context.require(rank: 2, of: 0, named: "the input")
                context.setLike(0, elementType: try context.reader.elementType("dtype") ?? context.elementType(0))
            }),
        OperatorSchema(
            "Range", versions: [11, 27], inputs: 3...3, gradient: .none, inference: inferRange),
        OperatorSchema(
            "OneHot", versions: [9, 11, 28], inputs: 3...3,
            gradient: .unsupported(reason: "the values of OneHot have no gradient rule"), inference: inferOneHot),
        OperatorSchema(
            "Shape", versions: [1, 13, 15, 19, 21, 23, 24, 25], inputs: 1...1, gradient: .none,
            inference: inferShape),
        OperatorSchema(
            "Size", versions: [1, 13, 19, 21, 23, 24, 25], inputs: 1...1, gradient: .none,
            inference: { context in
                context.setTensor(.int64, [])
                if let shape = context.shape(0) { context.setExtents([shape.elementCount], isScalar: true) }
            }),
    ]

    private static func inferShape(_ context: inout InferenceContext) throws {
        guard let x = context.shape(0) else {
            context.setTensor(.int64, [Dimension(.unknown)])
            return
        }
        let range = try ShapeAttributes(context.node, opset: context.opset).range(rank: x.rank)
        context.setTensor(.int64, SymbolicShape([range.count]))
        context.setExtents(Array(x.extents[range]).map { $0.isKnown ? $0 : .unknown }, isScalar: false)
    }

    private static func inferRange(_ context: inout InferenceContext) throws {
        let element = context.commonElementType(0...2)
        guard let start = context.content(0)?.numbers?.first, let limit = context.content(1)?.numbers?.first,
            let step = context.content(2)?.numbers?.first, step != 0
        else {
            var extent = Extent.unknown
            // From 0 in steps of 1 there are as many numbers as the limit says.
            if context.integers(0)?.first == 0, context.integers(2)?.first == 1,
                let limit = context.content(1)?.extents?.first
            {
                extent = limit
            }
            context.setTensor(element, [Dimension(extent)])
            return
        }
        let count = max(0, ((limit - start) / step).rounded(.up))
        guard count < 1e15 else { throw context.failure("the range from \(start) to \(limit) is too long") }
        context.setTensor(element, SymbolicShape([Int(count)]))
        if element?.isInteger == true, count <= Double(KnownContent.countLimit) {
            context.setExtents((0..<Int(count)).map { .fixed(Int(start) + $0 * Int(step)) }, isScalar: false)
        }
    }

    private static func inferOneHot(_ context: inout InferenceContext) throws {
        let axis = try context.reader.int("axis", default: -1)
        let shape = try context.shape(0).map { indices in
            var extents = indices.extents
            let position = try context.normalized(axis: axis, rank: indices.rank + 1)
            extents.insert(context.content(1)?.extents?.first ?? .unknown, at: position)
            return SymbolicShape(extents: extents)
        }
        context.setTensor(context.elementType(2), shape)
    }
}

/// Which extents a Shape gives (from opset 15 a part of them).
public struct ShapeAttributes: Sendable {
    /// The first axis; negative counts from the end.
    public let start: Int
    /// The end, exclusive; nil for all.
    public let end: Int?

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        start = opset < 15 ? 0 : try reader.int("start", default: 0)
        end = opset < 15 ? nil : try reader.int("end")
    }

    /// The axes for a tensor of a rank; bounds beyond it are clamped.
    public func range(rank: Int) -> Range<Int> {
        func clamped(_ index: Int) -> Int { min(max(index < 0 ? max(index, -rank) + rank : index, 0), rank) }
        let first = clamped(start)
        return first..<max(first, clamped(end ?? rank))
    }
}

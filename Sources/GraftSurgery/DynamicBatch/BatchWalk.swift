import GraftCore
import GraftIR

/// Follows a free batch size through a graph, node by node, and repairs what spells the old number out.
struct BatchWalk {
    /// The graph.
    private(set) var graph: Graph
    /// What was inferred with the fixed size.
    let original: InferredTypes
    /// The fixed size.
    let size: Int
    /// The name of the free size.
    let symbol: String
    /// What is known with the free size, as far as the walk has come.
    private(set) var types = InferredTypes()
    /// The values that follow from what the samples hold, not only from their number.
    private(set) var dependent: Set<ValueID> = []
    /// The values that follow from what inputs without a batch hold.
    private(set) var fromCaller: Set<ValueID> = []
    /// Whether inputs may get a batch that were not asked to have one.
    let mayAddInputs: Bool
    private let opsets: [OpsetImport]
    private let functions: Set<OperatorName>

    /// The version of ONNX's operators.
    var opset: Int { opsets.first { $0.domain.isEmpty || $0.domain == "ai.onnx" }?.version ?? 1 }

    /// An input has as many rows as there are samples, but its batch is not free yet.
    struct MissingBatch: Error {
        let input: ValueID
        let axis: Int
        let node: NodeID

        init(input: ValueID, axis: Int, at node: NodeID) { (self.input, self.axis, self.node) = (input, axis, node) }
    }

    init(_ model: Model, original: InferredTypes, size: Int, symbol: String, mayAddInputs: Bool) {
        self.mayAddInputs = mayAddInputs
        graph = model.graph
        opsets = model.opsets
        functions = Set(model.functions.map(\.name.canonical))
        self.original = original
        self.size = size
        self.symbol = symbol
    }

    /// Walks the graph.
    ///
    /// - Parameter inputs: the inputs that have a batch, and which axis that is.
    /// - Throws: ``MissingBatch``, ``DynamicBatchError``.
    mutating func run(inputs: [ValueID: Int]) throws {
        for (id, axis) in inputs { graph[id].type?.shape?[axis].extent = .symbol(symbol) }
        dependent = Set(inputs.keys)
        fromCaller = Set(graph.inputs.filter { !graph[$0].isInitializer && inputs[$0] == nil })
        for id in graph.values {
            switch graph[id].origin {
            case .input, .none: types.set(graph[id].type, content: graph[id].tensor.map { .tensor($0) }, of: id)
            case .initializer:
                if let tensor = graph[id].tensor {
                    types.set(ValueType(of: tensor), content: .tensor(tensor), of: id)
                } else if let sparse = graph[id].sparseInitializer {
                    types.set(
                        .tensor(sparse.values.tensor.elementType, SymbolicShape(sparse.shape)), content: nil, of: id)
                }
            case .node, .capture: break
            }
        }
        for id in graph.order where graph.contains(id) {
            try repair(id)
            try checkMixing(id)
            try infer(id)
        }
        for id in graph.values where graph[id].producer != nil {
            guard let declared = graph[id].type else { continue }
            graph[id].type = follow(declared, types.type(of: id))
            graph[id].variants = []
        }
        for id in graph.outputs {
            guard let old = original.shape(of: id) ?? graph[id].shape,
                old.dimensions.contains(where: { $0.count == size })
            else { continue }
            let shape = types.shape(of: id)
            if let shape, !shape.extents.contains(where: { isBatched($0) || !$0.isKnown }) {
                throw DynamicBatchError.output(name: graph[id].name, shape: shape.description)
            }
        }
    }

    /// Whether an extent depends on the batch size.
    func isBatched(_ extent: Extent) -> Bool {
        guard case .symbol = extent else { return false }
        return extent.substituting([symbol: .fixed(1)]) != extent
    }

    /// The first axis of a value that depends on the batch size.
    func batchAxis(_ id: ValueID?) -> Int? { id.flatMap { types.shape(of: $0)?.extents.firstIndex(where: isBatched) } }

    /// Whether the caller gives a value.
    func isGiven(_ id: ValueID) -> Bool { graph[id].origin == .input && !graph[id].isInitializer }

    func refusal(_ id: NodeID, _ reason: String) -> DynamicBatchError {
        .node(name: graph[id].label(in: graph), op: graph[id].op, reason: reason)
    }

    // MARK: Inference

    private mutating func infer(_ id: NodeID) throws {
        let node = graph[id]
        let readsShape = node.op.canonicalDomain.isEmpty && ["Shape", "Size"].contains(node.op.type)
        if !readsShape, graph.operands(of: id).contains(where: dependent.contains) {
            dependent.formUnion(node.outputs.compactMap { $0 })
        }
        if !readsShape, graph.operands(of: id).contains(where: fromCaller.contains) {
            fromCaller.formUnion(node.outputs.compactMap { $0 })
        }
        guard !functions.contains(node.op.canonical), graph.bodies(of: id).isEmpty,
            let schema = OperatorRegistry.schema(for: node.op)
        else { return }
        let domain = node.op.canonicalDomain
        let opset = opsets.first { ($0.domain == "ai.onnx" ? "" : $0.domain) == domain }?.version ?? 1
        var context = InferenceContext(
            node: node, opset: opset, inputTypes: node.inputs.map { $0.flatMap { types.type(of: $0) } },
            inputContents: node.inputs.map { $0.flatMap { types.content(of: $0) } })
        do {
            try schema.inference(&context)
        } catch let error as InferenceError {
            throw refusal(id, error.reason)
        }
        for (index, output) in node.outputs.enumerated() {
            guard let output else { continue }
            let type = context.outputTypes[index]
            try check(type?.shape, of: output, madeBy: id)
            types.set(type, content: context.outputContents[index], of: output)
        }
    }

    /// With the old size the shape has to be what it was.
    private func check(_ shape: SymbolicShape?, of output: ValueID, madeBy id: NodeID) throws {
        guard let shape, let old = original.shape(of: output) else { return }
        let bound = SymbolicShape(extents: shape.extents.map { $0.substituting([symbol: .fixed(size)]) })
        let agrees =
            bound.rank == old.rank
            && zip(bound.extents, old.extents).allSatisfy { a, b in
                if case .fixed(let x) = a, case .fixed(let y) = b { x == y } else { true }
            }
        if !agrees { throw refusal(id, "its result has the shape \(shape), where it had \(old)") }
    }

    /// The declared type with the extents that were worked out.
    private func follow(_ declared: ValueType, _ found: ValueType?) -> ValueType {
        guard var shape = declared.shape else { return declared }
        var result = declared
        guard let known = found?.shape, known.rank == shape.rank else {
            for axis in 0..<shape.rank where shape[axis].count == size { shape[axis].extent = .unknown }
            result.shape = shape
            return result
        }
        for axis in 0..<shape.rank {
            let extent = known[axis].extent
            if isBatched(extent) {
                // A file names extents; it has no expressions over names.
                if case .symbol(let text) = extent { shape[axis].extent = text.isIdentifier ? extent : .unknown }
            } else if !extent.isKnown {
                shape[axis].extent = .unknown
            }
        }
        result.shape = shape
        return result
    }

    // MARK: Editing, for repairs

    /// Adds a node before another and works out its result.
    mutating func emit(
        _ op: OperatorName, _ inputs: [ValueID?], _ attributes: Attributes = [:], before id: NodeID, name: String
    ) throws -> ValueID {
        let made = graph.add(
            op, inputs, attributes: attributes, name: graph.uniqueNodeName(name), output: name,
            at: graph.position(of: id))
        if let node = graph[made].producer { try infer(node) }
        return made
    }

    mutating func stored(_ tensor: Tensor, name: String) -> ValueID {
        let id = graph.addInitializer(graph.uniqueValueName(name), tensor)
        types.set(ValueType(of: tensor), content: .tensor(tensor), of: id)
        return id
    }

    /// Lets a node read another value, and removes what nobody reads any more.
    mutating func setInput(_ index: Int, of id: NodeID, to value: ValueID) {
        let old = graph[id].inputs[index]
        graph.setInput(index, of: id, to: value)
        graph.removeUnused([old].compactMap { $0 })
    }

    /// The tensor that a value always holds.
    func constant(_ id: ValueID) -> Tensor? {
        if case .tensor(let tensor)? = types.content(of: id) { return tensor }
        return graph.constantTensor(of: id)
    }

    mutating func setAttribute(_ name: String, of id: NodeID, to value: AttributeValue) {
        graph.setAttribute(name, of: id, to: value)
    }
}

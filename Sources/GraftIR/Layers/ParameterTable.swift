import GraftCore
import OrderedCollections

/// The parameters of a graph: which stored tensors are weights, biases, scales or statistics, and of which node.
///
/// A stored tensor is an initializer or the output of a `Constant` node. One that reaches an operator's parameter input
/// through other constant nodes (`Reshape`, `Transpose`, `Concat`) counts for that operator. Shape constants,
/// quantization scales and single numbers of arithmetic are no parameters.
public struct ParameterTable: Sendable {
    /// One parameter.
    public struct Entry: Sendable, Hashable {
        /// What it is to its node.
        public let role: ParameterRole
        /// The first node that uses it.
        public let node: NodeID
    }

    /// The parameters in the order in which the graph first uses them.
    public private(set) var entries: OrderedDictionary<ValueID, Entry> = [:]
    /// The values that follow from stored tensors alone.
    private(set) var constants: Set<ValueID> = []
    /// The values that follow from stored tensors and from the sizes of others.
    private(set) var plumbing: Set<ValueID> = []
    /// The parameters that a node uses, in the order of its inputs.
    private(set) var parametersOfNode: [NodeID: [ValueID]] = [:]

    /// Finds the parameters of a graph.
    public init(_ graph: Graph) {
        findConstants(in: graph)
        var hasProduct = Set<ValueID>()
        for id in graph.order where !isPlumbing(id, in: graph) {
            classify(id, in: graph, afterProduct: graph.operands(of: id).contains { hasProduct.contains($0) })
            let node = graph[id]
            if ParameterSlots.products.contains(node.op.canonical)
                || graph.operands(of: id).contains(where: { hasProduct.contains($0) })
            {
                for output in node.outputs { if let output { hasProduct.insert(output) } }
            }
        }
    }

    /// The role of a parameter; nil for a value that is none.
    public subscript(id: ValueID) -> ParameterRole? { entries[id]?.role }

    /// The parameters that a node uses, in the order of its inputs.
    public func parameters(of node: NodeID) -> [ValueID] { parametersOfNode[node] ?? [] }

    /// Whether the node computes only what follows from stored tensors and sizes.
    func isPlumbing(_ id: NodeID, in graph: Graph) -> Bool {
        graph[id].outputs.allSatisfy { $0.map { plumbing.contains($0) } ?? true }
            && graph[id].outputs.contains { $0 != nil }
    }

    private mutating func findConstants(in graph: Graph) {
        for id in graph.values where graph[id].isInitializer {
            constants.insert(id)
            plumbing.insert(id)
        }
        for id in graph.order {
            let node = graph[id]
            let op = node.op.canonical
            if ParameterSlots.random.contains(op) { continue }
            let operands = graph.operands(of: id)
            let isConstant = operands.allSatisfy { constants.contains($0) }
            // A table read by position is a parameter, although only a size says which rows are read.
            let isTable =
                op == "Gather" && !isConstant
                && node.inputs.first.flatMap { $0 }.map {
                    constants.contains($0) && !sources(of: $0, in: graph).isEmpty
                }
                    ?? false
            let isPlumbing =
                ParameterSlots.measures.contains(op) || !isTable && operands.allSatisfy { plumbing.contains($0) }
            for case let output? in node.outputs {
                if isConstant { constants.insert(output) }
                if isPlumbing { plumbing.insert(output) }
            }
        }
    }

    private mutating func classify(_ id: NodeID, in graph: Graph, afterProduct: Bool) {
        let node = graph[id]
        let op = node.op.canonical
        let slots = ParameterSlots.table[op]
        for (index, input) in node.inputs.enumerated() {
            guard let input, constants.contains(input) else { continue }
            if let role = slots?[index] {
                if role == .embedding && (node.inputs.count < 2 || node.inputs[1].map(constants.contains) ?? true) {
                    continue
                }
                assign(input, role: role, node: id, in: graph)
            } else if let role = looseRole(of: input, at: index, node: node, graph: graph, afterProduct: afterProduct) {
                assign(input, role: role, node: id, in: graph)
            }
        }
        for body in graph.bodies(of: id) {
            let inner = ParameterTable(body.graph, outer: self, graph: graph)
            for (value, entry) in inner.entries {
                guard case .capture(let outer) = body.graph[value].origin, graph[outer].tensor != nil else { continue }
                note(outer, role: entry.role, node: id)
            }
        }
    }

    /// The parameters of a body, where captured constants of the graph around it count as stored.
    private init(_ body: Graph, outer: ParameterTable, graph: Graph) {
        for id in body.values {
            if case .capture(let captured) = body[id].origin {
                if outer.constants.contains(captured) { constants.insert(id) }
                if outer.plumbing.contains(captured) { plumbing.insert(id) }
            }
        }
        findConstants(in: body)
        for id in body.order where !isPlumbing(id, in: body) { classify(id, in: body, afterProduct: true) }
    }

    /// The role of a stored operand of arithmetic, by what stands before it and by what it is called.
    private func looseRole(
        of input: ValueID, at index: Int, node: Node, graph: Graph, afterProduct: Bool
    ) -> ParameterRole? {
        guard node.op.canonicalDomain.isEmpty else { return ParameterNames.role(of: graph[input].name) }
        let named = sources(of: input, in: graph).lazy.compactMap { ParameterNames.role(of: graph[$0].name) }.first
        let count = graph.constantTensor(of: input)?.count ?? 2
        let other = node.inputs.indices.contains(1 - index) ? node.inputs[1 - index] : nil
        switch node.op.type {
        case "Add", "Sub":
            guard let other, index < 2 else { return nil }
            if count > 1 || named != nil, followsProduct(other, in: graph) { return .bias }
            if count > 1, afterProduct, isScaled(other, in: graph) || ParameterNames.isNormScope(node.name) {
                return .shift
            }
            return named == .bias && isScaled(other, in: graph) ? .shift : named
        case "Mul", "Div":
            guard index < 2 else { return nil }
            if let named { return named == .weight ? .scale : named }
            guard count > 1, afterProduct else { return nil }
            let output = node.outputs.first.flatMap { $0 }
            let isAffine =
                output.map { value in
                    graph[value].consumers.contains { consumer in
                        graph[consumer].op.isONNX("Add")
                            && graph[consumer].inputs.contains { operand in
                                operand.map { constants.contains($0) && count == graph.constantTensor(of: $0)?.count }
                                    ?? false
                            }
                    }
                } ?? false
            return node.op.type == "Mul" && (isAffine || ParameterNames.isNormScope(node.name)) ? .scale : nil
        case "Concat", "Expand", "Tile", "Pow":
            return named
        default:
            // An operator that nobody knows, such as a quantizer's own: the name decides.
            return ParameterSlots.table[node.op.canonical] == nil && !node.op.canonicalDomain.isEmpty ? named : nil
        }
    }

    /// Whether a value is made by a product with a kernel or matrix, also through other views of it.
    private func followsProduct(_ id: ValueID, in graph: Graph) -> Bool {
        var value = id
        for _ in 0..<6 {
            guard let producer = graph[value].producer else { return false }
            if ParameterSlots.products.contains(graph[producer].op.canonical) {
                // Not after a product of two computed values: what is added there is a mask.
                return !parameters(of: producer).isEmpty
            }
            guard ["Reshape", "Squeeze", "Unsqueeze", "Slice", "Transpose"].contains(graph[producer].op.type),
                let next = graph[producer].inputs.first.flatMap({ $0 })
            else { return false }
            value = next
        }
        return false
    }

    /// Whether a value is the product of something with a stored vector.
    private func isScaled(_ id: ValueID, in graph: Graph) -> Bool {
        guard let producer = graph[id].producer, graph[producer].op.isONNX("Mul") else { return false }
        return graph[producer].inputs.contains { input in
            input.map { constants.contains($0) && (graph.constantTensor(of: $0)?.count ?? 2) > 1 } ?? false
        }
    }

    /// The stored floating-point tensors that a constant value is made of.
    func sources(of id: ValueID, in graph: Graph) -> [ValueID] {
        var result: [ValueID] = []
        var seen = Set<ValueID>()
        var pending = [id]
        while let value = pending.popLast() {
            guard seen.insert(value).inserted else { continue }
            if let tensor = graph.constantTensor(of: value) {
                if tensor.elementType.isFloatingPoint { result.append(value) }
            } else if graph[value].sparseInitializer != nil {
                continue
            } else if let producer = graph[value].producer {
                let inputs = graph[producer].inputs.compactMap { $0 }
                // Scales and zero points of quantizers, standard or not, are no parameters.
                let op = graph[producer].op.canonical
                let isQuantizer = ParameterSlots.dequantizers.contains(op) || !op.domain.isEmpty
                pending.append(contentsOf: (isQuantizer ? Array(inputs.prefix(1)) : inputs).reversed())
            } else if case .capture = graph[value].origin {
                result.append(value)
            }
        }
        return result
    }

    private mutating func assign(_ input: ValueID, role: ParameterRole, node: NodeID, in graph: Graph) {
        let stored = sources(of: input, in: graph)
        if stored.isEmpty {
            // Integer weights behind a dequantizer, or of an integer operator.
            for value in integerSources(of: input, in: graph) { note(value, role: .quantized, node: node) }
            return
        }
        let isDirect = stored == [input]
        for value in stored {
            let count = graph.constantTensor(of: value)?.count ?? 2
            guard isDirect || count > 1, !ParameterNames.isBuffer(graph[value].name) else { continue }
            note(value, role: role, node: node)
        }
    }

    private func integerSources(of id: ValueID, in graph: Graph) -> [ValueID] {
        var value = id
        while graph.constantTensor(of: value) == nil {
            guard let producer = graph[value].producer, let next = graph[producer].inputs.first.flatMap({ $0 }) else {
                return []
            }
            value = next
        }
        return [value]
    }

    private mutating func note(_ value: ValueID, role: ParameterRole, node: NodeID) {
        if entries[value] == nil { entries[value] = Entry(role: role, node: node) }
        if !(parametersOfNode[node]?.contains(value) ?? false) { parametersOfNode[node, default: []].append(value) }
    }
}

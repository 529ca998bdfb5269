import GraftCore
import GraftIR

/// Bodies in the place of nodes: calls of the model's functions, and branches whose condition is known.
///
/// A node of a plan carries its own opset, so a body keeps the operator versions that it was written for.
extension Planner {
    /// The slots of a body's values while its nodes are added.
    private struct Frame {
        let body: Graph
        let scope: PlanScope
        let prefix: String
        var slots: [ValueID: Int] = [:]
        /// The inputs that the call leaves out.
        var omitted: Set<ValueID> = []
    }

    /// Adds a node, or the body of the function that it calls.
    ///
    /// - Parameter inputs: the slots of the node's inputs, followed by those that its bodies capture.
    mutating func add(_ node: Node, label: String, scope: PlanScope, inputs: [Int?], outputs: [Int?]) throws {
        let domain = node.op.canonicalDomain
        let version = scope.opsets[domain]
        let isNative = version.map { KernelRegistry.definition(node.op, opset: $0) != nil } ?? false
        if !isNative, let function = scope.functions[node.op.canonical] {
            let body = function.body(boundTo: node.attributes)
            let given = body.inputs.indices.map { $0 < node.inputs.count ? inputs[$0] : nil }
            guard node.inputs.count <= body.inputs.count, outputs.count <= body.outputs.count else {
                throw RuntimeError.invalidGraph(
                    "node \"\(label)\" has \(node.inputs.count) inputs and \(outputs.count) outputs, but the function "
                        + "\(node.op) \(body.inputs.count) and \(body.outputs.count)")
            }
            try splice(body, scope: scope.calling(function), prefix: label, given: given, captures: [], to: outputs)
            return
        }
        guard let version else { throw RuntimeError.missingOpset(domain: domain, node: label) }
        // Passes and kernels count on the inputs that an operator must have.
        try OperatorRegistry.schema(for: node.op)?.checkArity(of: node, label: label)
        try scope.grow()
        var planned = PlanNode(
            name: label, op: node.op, opset: version, attributes: node.attributes, inputs: inputs, outputs: outputs)
        if PlanNode.hasBodies(node.attributes) { planned.scope = scope }
        graph.nodes.append(planned)
    }

    /// Adds the nodes of a body.
    ///
    /// - Parameters:
    ///   - given: the slots of the body's inputs.
    ///   - captures: the slots of the values that the body captures, in the order of ``captures(of:)``.
    ///   - outputs: the slots that the body's outputs become.
    private mutating func splice(
        _ body: Graph, scope: PlanScope, prefix: String, given: [Int?], captures: [Int?], to outputs: [Int?]
    ) throws {
        try scope.grow()
        let (body, scope) = try scope.differentiated(body)
        var frame = Frame(body: body, scope: scope, prefix: prefix)
        let known =
            zip(body.inputs, given).map { ($0, $1) } + zip(Self.captures(of: body), captures).map { ($0.inner, $1) }
        for (value, slot) in known {
            if let slot { frame.slots[value] = slot } else { frame.omitted.insert(value) }
        }
        // A value that a node of the body makes gets the slot of the output; any other is copied there.
        var copies: [(value: ValueID, slot: Int)] = []
        for (value, slot) in zip(body.outputs, outputs) {
            guard let slot else { continue }
            if frame.slots[value] == nil, body[value].producer != nil {
                frame.slots[value] = slot
            } else {
                copies.append((value, slot))
            }
        }
        for id in body.order {
            let node = body[id]
            var inputs = try node.inputs.map { try $0.flatMap { try slot($0, in: &frame) } }
            for inner in body.bodies(of: id) {
                for capture in Self.captures(of: inner.graph) { inputs.append(try slot(capture.outer, in: &frame)) }
            }
            let made = try node.outputs.map { try $0.flatMap { try slot($0, in: &frame) } }
            try add(
                node, label: "\(prefix)/\(node.label(in: body))", scope: scope, inputs: inputs, outputs: made)
        }
        for (value, target) in copies {
            guard let source = try slot(value, in: &frame) else {
                throw RuntimeError.invalidGraph("\(prefix) gives out an input that the call leaves out")
            }
            graph.nodes.append(
                PlanNode(
                    name: "\(prefix)/\(body[value].name)", op: "Identity", opset: KernelRegistry.newestOpset,
                    inputs: [source], outputs: [target]))
        }
    }

    private mutating func slot(_ id: ValueID, in frame: inout Frame) throws -> Int? {
        if let slot = frame.slots[id] { return slot }
        if frame.omitted.contains(id) { return nil }
        let value = frame.body[id]
        guard value.isInitializer || value.producer != nil else {
            throw RuntimeError.invalidGraph("nothing gives the value \"\(value.name)\" in \(frame.prefix)")
        }
        let stored = try value.storedTensor()
        let slot = graph.addSlot(
            "\(frame.prefix)/\(value.name)", type: stored.map { ValueType(of: $0) } ?? value.type,
            constant: try stored.map { try RuntimeValue($0) })
        frame.slots[id] = slot
        return slot
    }

    /// Puts the branch that is taken in the place of every If whose condition is a constant.
    ///
    /// - Returns: whether there was one.
    mutating func inlineKnownBranches() throws -> Bool {
        let nodes = graph.nodes
        graph.nodes = []
        var found = false
        for node in nodes {
            guard let node else { continue }
            guard node.op.isONNX("If"), let scope = node.scope, let condition = node.inputs.first ?? nil,
                case .tensor(let truth)? = graph.constants[condition], truth.elementType == .bool, truth.count == 1
            else {
                graph.nodes.append(node)
                continue
            }
            let wanted = truth.typed(UInt8.self).pointee != 0 ? "then_branch" : "else_branch"
            guard let (body, captures) = node.body(wanted), body.outputs.count >= node.outputs.count else {
                throw RuntimeError.invalidGraph(
                    "node \"\(node.name)\" has no \(wanted) with \(node.outputs.count) outputs")
            }
            try splice(
                body, scope: scope, prefix: node.name, given: [], captures: captures.map { node.inputs[$0] },
                to: node.outputs)
            found = true
        }
        if found { graph.refresh() } else { graph.nodes = nodes }
        return found
    }
}

extension PlanNode {
    static func hasBodies(_ attributes: Attributes) -> Bool {
        attributes.all.contains {
            switch $0.value {
            case .graph, .graphs: true
            default: false
            }
        }
    }

    /// A body, and the positions of the inputs that it captures.
    func body(_ attribute: String) -> (graph: Graph, captures: Range<Int>)? {
        Self.body(attribute, attributes, inputCount: inputs.count)
    }

    static func body(
        _ attribute: String, _ attributes: Attributes, inputCount: Int
    ) -> (graph: Graph, captures: Range<Int>)? {
        // From the back: captures follow the node's own inputs, body by body.
        var end = inputCount
        for entry in attributes.all.reversed() {
            let bodies: [Graph]
            switch entry.value {
            case .graph(let graph): bodies = [graph]
            case .graphs(let graphs): bodies = graphs
            default: continue
            }
            for graph in bodies.reversed() {
                let start = end - Planner.captures(of: graph).count
                guard start >= 0 else { return nil }
                if entry.name == attribute, bodies.count == 1 { return (graph, start..<end) }
                end = start
            }
        }
        return nil
    }
}

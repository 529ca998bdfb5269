import GraftCore
import GraftIR

/// Walks over the graphs of a model and lets the adapters convert their nodes.
struct OpsetConverter {
    /// The version to convert to.
    let target: Int
    /// The operators that the model defines itself; they are not converted.
    let functions: Set<OperatorName>
    /// The names of all values of the model.
    var names: Set<String>
    /// What cannot be expressed.
    private(set) var refusals: [OpsetError.Refusal] = []

    init(_ model: Model, target: Int) {
        self.target = target
        functions = Set(model.functions.map(\.name.canonical))
        names = []
        collect(model.graph)
        for function in model.functions { collect(function.body) }
    }

    private mutating func collect(_ graph: Graph) {
        for id in graph.values { names.insert(graph[id].name) }
        for id in graph.order { for body in graph.bodies(of: id) { collect(body.graph) } }
    }

    /// Converts a graph with the bodies inside it.
    mutating func convert(_ graph: inout Graph, from source: Int, known: InferredTypes, function: OperatorName? = nil) {
        guard source != target else { return }
        for id in graph.order { convertBodies(of: id, in: &graph, from: source, known: known, function: function) }
        var editor = OpsetEditor(
            graph: graph, known: known, isFunction: function != nil, names: names, id: NodeID(0))
        graph = Graph()
        let steps = source < target ? Array((source + 1)...target) : ((target + 1)...source).reversed()
        for step in steps {
            let adapters = OpsetAdapters.at(step)
            for id in editor.graph.order where editor.graph.contains(id) {
                let op = editor.graph[id].op
                guard op.canonicalDomain.isEmpty, !functions.contains(op.canonical) else { continue }
                if source > target, OperatorRegistry.schema(for: op)?.versions.first == step, isConstant(id, editor) {
                    replaceByConstants(id, &editor)
                    continue
                }
                guard let found = adapters[op.type] else { continue }
                editor.id = id
                do {
                    for adapter in found where editor.graph.contains(editor.id) && editor.node.op.type == op.type {
                        try source < target ? adapter.up(&editor) : adapter.down(&editor)
                    }
                } catch let refusal as OpsetRefusal {
                    refuse(editor.graph, editor.id, refusal.reason, function)
                } catch {
                    refuse(editor.graph, editor.id, "\(error)", function)
                }
            }
        }
        graph = editor.graph
        names = editor.names
        check(graph, known: known, function: function)
    }

    private mutating func convertBodies(
        of id: NodeID, in graph: inout Graph, from source: Int, known: InferredTypes, function: OperatorName?
    ) {
        for body in graph.bodies(of: id) {
            var inner = body.graph
            let captured = inner.values.compactMap { value -> ValueID? in
                if case .capture(let outer) = inner[value].origin { outer } else { nil }
            }
            let types = known.bodies[InferredTypes.Body(node: id, attribute: body.attribute, index: body.index)]
            convert(&inner, from: source, known: types ?? InferredTypes(), function: function)
            guard inner != body.graph else { continue }
            graph.setBody(inner, of: id, attribute: body.attribute, index: body.index)
            graph.removeUnused(captured.filter { graph.contains($0) && graph.constantTensor(of: $0) != nil })
        }
    }

    /// Whether everything that a node makes is known without running it.
    private func isConstant(_ id: NodeID, _ editor: OpsetEditor) -> Bool {
        editor.graph[id].outputs.allSatisfy { output in
            guard let output else { return true }
            return editor.known.constant(output) != nil
        }
    }

    private func replaceByConstants(_ id: NodeID, _ editor: inout OpsetEditor) {
        let operands = editor.graph.operands(of: id)
        let outputs = editor.graph[id].outputs.compactMap { $0 }
        let place = editor.graph.position(of: id) ?? 0
        let tensors = outputs.map { editor.known.constant($0) }
        editor.graph.removeNode(id)
        for (output, tensor) in zip(outputs, tensors) {
            guard let tensor else { continue }
            editor.graph.addNode(
                "Constant", inputs: [], outputs: [output], attributes: ["value": .tensor(tensor)], at: place)
        }
        editor.graph.removeUnused(operands.filter { editor.graph.constantTensor(of: $0) != nil })
    }

    /// Refuses what the target version does not have.
    private mutating func check(_ graph: Graph, known: InferredTypes, function: OperatorName?) {
        for id in graph.order {
            let op = graph[id].op
            guard op.canonicalDomain.isEmpty, !functions.contains(op.canonical) else { continue }
            guard let schema = OperatorRegistry.schema(for: op) else {
                refuse(graph, id, "the operator is not known, so its versions are not either", function)
                continue
            }
            guard schema.version(at: target) != nil else {
                refuse(graph, id, "the operator came with opset \(schema.versions[0])", function)
                continue
            }
            let allowed = OperatorElementTypes.allowed(op.type, at: target)
            func test(_ values: [ValueID?], _ masks: [UInt64], _ what: String) {
                for (index, value) in values.enumerated() {
                    guard let value, let mask = index < masks.count ? masks[index] : masks.last, mask != 0,
                        let type = known.elementType(of: value) ?? graph[value].elementType,
                        mask >> UInt64(type.rawValue) & 1 == 0
                    else { continue }
                    refuse(graph, id, "its \(what) \(index) cannot be \(type.name) at opset \(target)", function)
                    return
                }
            }
            test(graph[id].inputs, allowed.inputs, "input")
            test(graph[id].outputs, allowed.outputs, "output")
        }
    }

    private mutating func refuse(_ graph: Graph, _ id: NodeID, _ reason: String, _ function: OperatorName?) {
        let label = graph.contains(id) ? graph[id].label(in: graph) : "?"
        let op = graph.contains(id) ? graph[id].op : "?"
        let refusal = OpsetError.Refusal(
            node: function.map { "\($0) / \(label)" } ?? label, op: op, reason: reason)
        if !refusals.contains(where: { $0.node == refusal.node && $0.op == op }) { refusals.append(refusal) }
    }
}

extension InferredTypes {
    /// What is true of a function's values in every call.
    static func common(to function: Function, in model: Model, known: InferredTypes) -> InferredTypes {
        var calls: [InferredTypes] = []
        func collect(_ graph: Graph, _ types: InferredTypes) {
            for id in graph.order {
                if let call = types.calls[id] {
                    if graph[id].op.canonical == function.name.canonical { calls.append(call) }
                    if let other = model.function(graph[id].op) { collect(other.body, call) }
                }
                for body in graph.bodies(of: id) {
                    let key = InferredTypes.Body(node: id, attribute: body.attribute, index: body.index)
                    if let inner = types.bodies[key] { collect(body.graph, inner) }
                }
            }
        }
        collect(model.graph, known)
        guard var result = calls.first else { return InferredTypes() }
        for call in calls.dropFirst() { result = result.common(with: call) }
        return result
    }

    private func common(with other: InferredTypes) -> InferredTypes {
        var result = InferredTypes()
        for (value, type) in known {
            guard let second = other.type(of: value) else { continue }
            var merged: ValueType?
            if type == second {
                merged = type
            } else if case .tensor(let a, let x) = type.kind, case .tensor(let b, let y) = second.kind, a == b {
                var shape: SymbolicShape?
                if let x, let y, x.rank == y.rank {
                    shape = SymbolicShape(
                        extents: zip(x.extents, y.extents).map { $0 == $1 ? $0 : .unknown })
                }
                merged = .tensor(a, shape)
            }
            let content = content(of: value).flatMap { $0 == other.content(of: value) ? $0 : nil }
            result.set(merged, content: content, of: value)
        }
        for (key, body) in bodies {
            if let second = other.bodies[key] { result.bodies[key] = body.common(with: second) }
        }
        return result
    }
}

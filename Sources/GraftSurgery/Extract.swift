import GraftCore
import GraftIR

/// Cuts out the part of a model between some values.
public enum Extract: Pass {
    /// Where the part begins and ends.
    public struct Options: Sendable, Equatable {
        /// The names of the values that become the inputs; those of the model's own inputs that are needed where empty.
        public var inputs: [String]
        /// The names of the values that become the outputs; the model's own where empty.
        public var outputs: [String]

        /// A part between some values.
        public init(inputs: [String] = [], outputs: [String] = []) {
            self.inputs = inputs
            self.outputs = outputs
        }
    }

    /// The name of the pass.
    public static let name = "extract"
    /// What the pass does.
    public static let summary = "Cuts out the part of a model between some values."

    /// The patch that leaves only the part between some values.
    ///
    /// - Throws: ``ExtractError``.
    public static func patch(for model: Model, _ options: Options) throws -> Patch {
        let graph = model.graph
        let outputs = options.outputs.isEmpty ? graph.outputs : try find(options.outputs, in: graph)
        guard !outputs.isEmpty else { throw ExtractError.noOutput }
        let given = try find(options.inputs, in: graph)
        for id in given where graph[id].isInitializer && graph[id].origin != .input {
            throw ExtractError.stored(name: graph[id].name)
        }
        let part = Part(graph, from: Set(given), to: outputs)
        let needed = graph.inputs.filter { part.values.contains($0) && !graph[$0].isInitializer }
        let missing = needed.filter { !given.contains($0) }
        if !options.inputs.isEmpty {
            if !missing.isEmpty {
                throw ExtractError.unreachable(
                    outputs: part.outputs(of: graph, reading: Set(missing)), needed: missing.map { graph[$0].name })
            }
            if let idle = given.first(where: { !part.values.contains($0) }) {
                throw ExtractError.unused(input: graph[idle].name, outputs: outputs.map { graph[$0].name })
            }
        }
        let inputs = options.inputs.isEmpty ? needed : given
        let types = try Inference.inferTypes(of: model)
        return try record(
            on: model,
            details: [
                "inputs": JSON(inputs.map { graph[$0].name }), "outputs": JSON(outputs.map { graph[$0].name }),
            ]
        ) { edited in
            try declare(inputs + outputs, types, in: &edited.graph)
            edited.graph.setOutputs(outputs)
            remove(allBut: part, cutAt: Set(inputs), from: &edited.graph)
            let kept = edited.graph.inputs
            for id in kept { edited.graph.removeInput(id) }
            for id in inputs { edited.graph.makeInput(id) }
            for id in kept where !inputs.contains(id) && edited.graph[id].isInitializer && part.values.contains(id) {
                edited.graph.makeInput(id)
            }
            for id in edited.graph.values where !part.values.contains(id) && edited.graph[id].uses.isEmpty {
                edited.graph.removeValue(id)
            }
            edited.removeUnusedFunctions()
            edited.training = []
            let names = edited.graph
            try edited.updateAnnotations { annotations in
                annotations.keep(only: { names.value(named: $0) != nil })
                if let head = annotations.head,
                    names.value(named: head.features) == nil || names.value(named: head.logits) == nil
                        || names.node(named: head.node) == nil
                {
                    annotations.head = nil
                }
                if !graph.outputs.contains(where: { outputs.contains($0) }) { annotations.labels = nil }
                if !graph.inputs.contains(where: { inputs.contains($0) }) { annotations.preprocessing = nil }
            }
        }
    }

    private static func find(_ names: [String], in graph: Graph) throws -> [ValueID] {
        var result: [ValueID] = []
        for name in names {
            guard let id = graph.value(named: name) else {
                throw ExtractError.noSuchValue(
                    name: name, suggestion: Suggestion.sentence(name, in: graph.values.map { graph[$0].name }))
            }
            if !result.contains(id) { result.append(id) }
        }
        return result
    }

    /// Gives the ends of the part the types that were inferred.
    private static func declare(_ ids: [ValueID], _ types: InferredTypes, in graph: inout Graph) throws {
        for id in ids where graph[id].origin != .input || graph[id].type == nil {
            guard var type = types.type(of: id) ?? graph[id].type else {
                throw ExtractError.noType(name: graph[id].name)
            }
            if case .tensor(nil, _) = type.kind { throw ExtractError.noType(name: graph[id].name) }
            if var shape = type.shape {
                // A file names extents; it has no expressions over names.
                for axis in 0..<shape.rank {
                    if case .symbol(let text) = shape[axis].extent, !text.isIdentifier { shape[axis].extent = .unknown }
                }
                type.shape = shape
            }
            graph[id].type = type
            graph[id].variants = []
        }
    }

    private static func remove(allBut part: Part, cutAt inputs: Set<ValueID>, from graph: inout Graph) {
        for id in graph.order.reversed() where !part.nodes.contains(id) { graph.removeNode(id) }
        for id in inputs {
            // A node that makes another value of the part stays without this one.
            if case .node(let node, let index) = graph[id].origin { graph.setOutput(index, of: node, to: nil) }
        }
    }

    /// What lies between values of a graph.
    private struct Part {
        var nodes: Set<NodeID> = []
        var values: Set<ValueID> = []

        init(_ graph: Graph, from cut: Set<ValueID>, to outputs: [ValueID]) {
            var pending = outputs
            while let id = pending.popLast() {
                guard values.insert(id).inserted, !cut.contains(id), let node = graph[id].producer else { continue }
                guard nodes.insert(node).inserted else { continue }
                pending += graph.operands(of: node)
            }
            for node in nodes { values.formUnion(graph[node].outputs.compactMap { $0 }) }
        }

        /// The outputs that depend on some values, by name.
        func outputs(of graph: Graph, reading sources: Set<ValueID>) -> [String] {
            var reached = sources
            for node in graph.order where nodes.contains(node) {
                if graph.operands(of: node).contains(where: reached.contains) {
                    reached.formUnion(graph[node].outputs.compactMap { $0 })
                }
            }
            return values.filter { reached.contains($0) && !sources.contains($0) && !isRead($0, graph) }
                .map { graph[$0].name }.sorted()
        }

        private func isRead(_ id: ValueID, _ graph: Graph) -> Bool {
            graph[id].consumers.contains { nodes.contains($0) }
        }
    }
}

extension Model {
    /// Removes the functions that no node calls any more.
    mutating func removeUnusedFunctions() {
        var used: Set<OperatorName> = []
        var pending = graph.operators()
        while let name = pending.popFirst() {
            guard let function = function(name), used.insert(name).inserted else { continue }
            pending.formUnion(function.body.operators())
        }
        functions.removeAll { !used.contains($0.name.canonical) }
    }
}

extension Graph {
    /// The operators of all nodes, also inside bodies.
    func operators() -> Set<OperatorName> {
        var result: Set<OperatorName> = []
        for id in order {
            result.insert(self[id].op.canonical)
            for body in bodies(of: id) { result.formUnion(body.graph.operators()) }
        }
        return result
    }
}

extension String {
    /// Whether the text is one name, not an expression.
    var isIdentifier: Bool {
        guard let first = unicodeScalars.first, first == "_" || first.properties.isAlphabetic else { return false }
        return unicodeScalars.allSatisfy { $0 == "_" || $0 == "." || $0.properties.isAlphabetic || ("0"..."9") ~= $0 }
    }
}

/// Why a part cannot be cut out.
public enum ExtractError: GraftError, Equatable {
    /// The model has no value of that name.
    case noSuchValue(name: String, suggestion: String)
    /// Outputs depend on more than the given inputs.
    case unreachable(outputs: [String], needed: [String])
    /// Nothing on the way to the outputs reads an input.
    case unused(input: String, outputs: [String])
    /// A stored tensor cannot become an input.
    case stored(name: String)
    /// The type of an end of the part is not known.
    case noType(name: String)
    /// The model gives nothing out.
    case noOutput

    public var exitStatus: ExitStatus { .badInput }
    public var description: String {
        switch self {
        case .noSuchValue(let name, let suggestion): "there is no value named \"\(name)\".\(suggestion)"
        case .unreachable(let outputs, let needed):
            "the inputs do not suffice for \(Self.list(outputs)): also needed: \(Self.list(needed)), or values between"
        case .unused(let input, let outputs):
            "\(Self.list(outputs)) does not depend on \"\(input)\" with these inputs; leave it out"
        case .stored(let name): "\"\(name)\" is a stored tensor, which cannot become an input"
        case .noType(let name): "the element type of \"\(name)\" is not known, and inputs and outputs need one"
        case .noOutput: "the model has no outputs"
        }
    }

    private static func list(_ names: [String]) -> String {
        let shown = names.prefix(6).map { "\"\($0)\"" }.joined(separator: ", ")
        return names.count > 6 ? "\(shown) and \(names.count - 6) more" : shown
    }
}

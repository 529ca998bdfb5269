import GraftCore
import OrderedCollections

/// Parts of a model: nodes, the stored tensors that training may change, and running statistics.
public struct Selection: Sendable, Equatable {
    /// The nodes.
    public var nodes: Set<NodeID>
    /// The trainable stored tensors.
    public var parameters: Set<ValueID>
    /// The running statistics of batch normalizations.
    public var statistics: Set<ValueID>

    /// A selection of given parts.
    public init(nodes: Set<NodeID> = [], parameters: Set<ValueID> = [], statistics: Set<ValueID> = []) {
        self.nodes = nodes
        self.parameters = parameters
        self.statistics = statistics
    }

    /// Whether nothing is selected.
    public var isEmpty: Bool { nodes.isEmpty && parameters.isEmpty && statistics.isEmpty }

    /// What either selects.
    public func union(_ other: Selection) -> Selection {
        Selection(
            nodes: nodes.union(other.nodes), parameters: parameters.union(other.parameters),
            statistics: statistics.union(other.statistics))
    }

    /// What both select.
    public func intersection(_ other: Selection) -> Selection {
        Selection(
            nodes: nodes.intersection(other.nodes), parameters: parameters.intersection(other.parameters),
            statistics: statistics.intersection(other.statistics))
    }

    /// What this selects and the other does not.
    public func subtracting(_ other: Selection) -> Selection {
        Selection(
            nodes: nodes.subtracting(other.nodes), parameters: parameters.subtracting(other.parameters),
            statistics: statistics.subtracting(other.statistics))
    }

    /// The leaves that have a selected node, in order of depth.
    public func layers(in tree: LayerTree) -> [Layer] {
        tree.leaves.filter { layer in layer.nodes.contains { nodes.contains($0) } }
    }

    /// The names of the selected parameters, in order of depth.
    public func parameterNames(in tree: LayerTree) -> [String] {
        tree.parameters.filter { parameters.contains($0) }.map { tree.model.graph[$0].name }
    }
}

extension LayerTree {
    /// What a selector selects, parsed from text.
    ///
    /// - Throws: ``SelectorError``, ``HeadError`` for `@head` where no head can be told, ``AnnotationError``.
    public func select(_ text: String) throws -> Selection { try select(Selector.parse(text)) }

    /// What a selector selects.
    ///
    /// - Throws: ``SelectorError``, ``HeadError`` for `@head` where no head can be told, ``AnnotationError``.
    public func select(_ selector: Selector) throws -> Selection {
        let result = try resolve(selector)
        if result.isEmpty { throw SelectorError.empty(text: selector.description) }
        return result
    }

    /// Everything.
    public var everything: Selection {
        Selection(nodes: Set(model.graph.order), parameters: Set(parameters), statistics: Set(statistics))
    }

    private func resolve(_ selector: Selector) throws -> Selection {
        switch selector {
        case .name(let pattern): return try named(pattern)
        case .head: return try headSelection()
        case .backbone: return everything.subtracting(try headSelection())
        case .last(let count): return try blocks(selector, Array(blocks.suffix(count)), wanted: count)
        case .first(let count): return try blocks(selector, Array(blocks.prefix(count)), wanted: count)
        case .block(let pattern):
            let glob = Glob(pattern)
            let found = blocks.filter { glob.matches($0.name) }
            if found.isEmpty {
                throw SelectorError.noMatch(
                    part: selector.description, reason: "no block has such a name",
                    suggestion: Suggestion.sentence(pattern, in: blocks.map(\.name)))
            }
            return try blocks(selector, found, wanted: 1)
        case .norm: return try required(normalizations(), selector, "the model has no normalization")
        case .bias: return try byRole(selector, [.bias, .shift], "the model has no biases")
        case .weight: return try byRole(selector, [.weight, .embedding], "the model has no weights to train")
        case .frozen, .trainable:
            let annotations = try model.annotations()
            let chosen = parameters.filter {
                annotations.isTrainable(model.graph[$0].name) == (selector == .trainable)
            }
            return try required(
                Selection(parameters: Set(chosen)), selector,
                selector == .frozen ? "nothing is frozen" : "everything is frozen")
        case .group(let name): return try group(name, selector)
        case .op(let pattern): return try byOperator(pattern, selector)
        case .from(let place):
            return try flow(from: named(place, part: selector.description)) { graph, node in
                graph[node].outputs.compactMap { $0 }.flatMap { graph[$0].consumers }
            }
        case .through(let place):
            return try flow(from: named(place, part: selector.description)) { graph, node in
                graph.operands(of: node).compactMap { graph[$0].producer }
            }
        case .not(let inner): return everything.subtracting(try resolve(inner))
        case .all(let factors):
            return try factors.dropFirst().reduce(resolve(factors[0])) { try $0.intersection(resolve($1)) }
        case .list(let items):
            var result: Selection?
            for item in items {
                if case .not(let inner) = item {
                    result = (result ?? everything).subtracting(try resolve(inner))
                } else {
                    result = (result ?? Selection()).union(try resolve(item))
                }
            }
            return result ?? Selection()
        }
    }

    private func required(_ found: Selection, _ selector: Selector, _ reason: String) throws -> Selection {
        if found.isEmpty {
            throw SelectorError.noMatch(part: selector.description, reason: reason, suggestion: "")
        }
        return found
    }

    // MARK: Names

    /// What has a name that fits: layers and groups with all they hold, nodes with what they use, single parameters.
    private func named(_ pattern: String, part: String? = nil) throws -> Selection {
        if pattern == "*" { return everything }
        let glob = Glob(pattern)
        let graph = model.graph
        var found = Set<NodeID>()
        for index in layers.indices where glob.matches(layers[index].path) { found.formUnion(nodes(under: index)) }
        for id in graph.order where glob.matches(graph[id].name) { found.insert(id) }
        var result = selection(of: found)
        for id in parameters where glob.matches(graph[id].name) { result.parameters.insert(id) }
        for id in statistics where glob.matches(graph[id].name) { result.statistics.insert(id) }
        if result.isEmpty, glob.isLiteral, let value = graph.value(named: pattern), let node = graph[value].producer {
            result = selection(of: [node])
        }
        if result.isEmpty {
            let names =
                layers.map(\.path) + graph.order.map { graph[$0].name }.filter { !$0.isEmpty }
                + (parameters + statistics).map { graph[$0].name }
            throw SelectorError.noMatch(
                part: part ?? pattern, reason: "no layer, node or parameter has such a name",
                suggestion: Suggestion.sentence(
                    pattern.replacing("*", with: ""), in: OrderedSet(names)))
        }
        return result
    }

    /// Nodes and what they use.
    func selection(of nodes: some Sequence<NodeID>) -> Selection {
        var result = Selection()
        for node in nodes {
            result.nodes.insert(node)
            for value in table.parameters(of: node) {
                guard let role = table[value] else { continue }
                if role.isTrainable { result.parameters.insert(value) }
                if role.isStatistic { result.statistics.insert(value) }
            }
        }
        return result
    }

    // MARK: Properties

    private func headSelection() throws -> Selection {
        if headNodes.isEmpty { _ = try HeadFinder(model, table: table).head() }
        return selection(of: headNodes)
    }

    private func blocks(_ selector: Selector, _ found: [Block], wanted: Int) throws -> Selection {
        guard found.count >= wanted else {
            throw SelectorError.noMatch(
                part: selector.description, reason: "the model has \(blocks.count) blocks", suggestion: "")
        }
        return selection(of: found.flatMap(\.nodes))
    }

    private func normalizations() -> Selection {
        let graph = model.graph
        var result = selection(
            of: graph.order.filter { ParameterSlots.normalizations.contains(graph[$0].op.canonical) })
        // Normalizations that the exporter wrote out in arithmetic are known by their parameters.
        for (value, entry) in table.entries where entry.role == .scale || entry.role == .shift {
            result.parameters.insert(value)
        }
        return result
    }

    private func byRole(_ selector: Selector, _ roles: Set<ParameterRole>, _ reason: String) throws -> Selection {
        let found = parameters.filter { table[$0].map(roles.contains) ?? false }
        return try required(Selection(parameters: Set(found)), selector, reason)
    }

    private func group(_ name: String, _ selector: Selector) throws -> Selection {
        let annotations = try model.annotations()
        let glob = Glob(name)
        let found = parameters.filter { id in
            annotations.groupOfParameter[model.graph[id].name].map(glob.matches) ?? false
        }
        if found.isEmpty {
            throw SelectorError.noMatch(
                part: selector.description, reason: "no parameter is in such a group",
                suggestion: Suggestion.sentence(name, in: annotations.groups.keys))
        }
        return Selection(parameters: Set(found))
    }

    private func byOperator(_ pattern: String, _ selector: Selector) throws -> Selection {
        let glob = Glob(pattern)
        let graph = model.graph
        let found = graph.order.filter { glob.matches(graph[$0].op.description) || glob.matches(graph[$0].op.type) }
        if found.isEmpty {
            throw SelectorError.noMatch(
                part: selector.description, reason: "the model has no such operator",
                suggestion: Suggestion.sentence(
                    pattern, in: OrderedSet(graph.order.map { graph[$0].op.type })))
        }
        return selection(of: found)
    }

    private func flow(from start: Selection, next: (Graph, NodeID) -> [NodeID]) throws -> Selection {
        var nodes = start.nodes
        for parameter in start.parameters { if let entry = table.entries[parameter] { nodes.insert(entry.node) } }
        var pending = Array(nodes)
        while let node = pending.popLast() {
            for neighbour in next(model.graph, node) where nodes.insert(neighbour).inserted {
                pending.append(neighbour)
            }
        }
        return selection(of: nodes)
    }
}

import GraftCore
import OrderedCollections

/// Sorts the nodes of a graph into layers.
struct LayerBuilder {
    private let graph: Graph
    private let table: ParameterTable
    /// The path of each node that computes on data, as far as decided.
    private var paths: [NodeID: LayerPath] = [:]
    /// The leaf that a node joins although it has no path of its own.
    private var joined: [NodeID: NodeID] = [:]
    private var ordinals: [String: Int] = [:]
    private var taken = Set<String>()

    init(_ graph: Graph, table: ParameterTable) {
        self.graph = graph
        self.table = table
    }

    mutating func build() -> (layers: [Layer], leafOfNode: [NodeID: Int]) {
        let data = graph.order.filter { !table.isPlumbing($0, in: graph) }
        for id in data { paths[id] = namedPath(of: id) }
        shareAcrossBiases(data)
        stripCommonScope()
        for id in data where paths[id] == nil { placeByGraph(id) }
        let groups = groupPaths()
        var leaves: OrderedDictionary<String, (path: LayerPath, nodes: [NodeID])> = [:]
        for id in data {
            let owner = resolved(id)
            var path = paths[owner] ?? LayerPath([operationName(owner)], separator: ".")
            if groups.contains(path.text) || path.parts.isEmpty {
                path = path.appending(uniqueOperationName(owner, in: path))
                paths[owner] = path
            }
            leaves[path.text, default: (path, [])].nodes.append(id)
        }
        attachPlumbing(to: &leaves)
        return assemble(leaves)
    }

    // MARK: Paths

    private func namedPath(of id: NodeID) -> LayerPath? {
        let node = graph[id]
        if let path = LayerPath.fromMetadata(node.metadata) { return path }
        let named = table.parameters(of: id).compactMap { ParameterNames.layerPath(of: graph[$0].name) }
        if let path = named.max(by: { $0.parts.count < $1.parts.count }) { return path }
        return LayerPath.fromTorchScopes(node.metadata) ?? LayerPath.fromNodeName(node.name)
    }

    /// A product and the bias added right after it are one layer, also where only one of them has a name.
    private mutating func shareAcrossBiases(_ data: [NodeID]) {
        for id in data {
            guard table.parameters(of: id).contains(where: { table[$0] == .bias }),
                !ParameterSlots.products.contains(graph[id].op.canonical)
            else { continue }
            for case let input? in graph[id].inputs {
                guard let product = graph[input].producer,
                    ParameterSlots.products.contains(graph[product].op.canonical), graph[input].uses.count == 1
                else { continue }
                switch (paths[product], paths[id]) {
                case (nil, nil), (_?, nil): joined[id] = product
                case (nil, let path?): paths[product] = path
                case (let a?, let b?):
                    let isNamed = !table.parameters(of: product).allSatisfy {
                        ParameterNames.layerPath(of: graph[$0].name) == nil
                    }
                    if isNamed { paths[id] = a } else { paths[product] = b }
                }
            }
        }
    }

    /// Drops the scopes around the whole network, such as the model's own name.
    private mutating func stripCommonScope() {
        // A Keras layer has its name, whatever surrounds it.
        if graph.order.contains(where: { graph[$0].metadata["keras.layer"] != nil }) { return }
        let owners = paths.filter { !table.parameters(of: $0.key).isEmpty && $0.value.separator == "/" }
        let distinct = Set(owners.values.map(\.parts))
        guard distinct.count > 1, var common = distinct.first else { return }
        for parts in distinct {
            let length = zip(common, parts).prefix { $0 == $1 }.count
            common = Array(common[..<min(length, parts.count - 1)])
        }
        guard !common.isEmpty else { return }
        for (id, path) in paths where path.separator == "/" {
            let length = zip(common, path.parts).prefix { $0 == $1 }.count
            paths[id] = LayerPath(Array(path.parts[length...]), separator: "/")
        }
    }

    /// Finds a place for a node that no name places: an activation joins the layer that feeds it, anything else is a
    /// layer of its own beside those that feed it.
    private mutating func placeByGraph(_ id: NodeID) {
        if joined[id] != nil { return }
        let node = graph[id]
        let feeding = graph.operands(of: id).compactMap { graph[$0].producer }.filter { placed($0) != nil }
        let kind = LayerKind.of(node.op)
        // The slope of an activation does not make it a layer.
        let isParametric = table.parameters(of: id).contains { table[$0] != .slope }
        if feeding.count == 1, !isParametric, kind == .activation || kind == .reshape {
            let owner = resolved(feeding[0])
            if kind == .activation || !table.parameters(of: owner).isEmpty {
                joined[id] = owner
                return
            }
        }
        var scope = feeding.compactMap { placed($0) }.map {
            LayerPath(Array($0.parts.dropLast()), separator: $0.separator)
        }
        .reduce(nil as LayerPath?) { common, path in
            guard let common else { return path }
            let length = zip(common.parts, path.parts).prefix { $0 == $1 }.count
            return LayerPath(Array(common.parts[..<length]), separator: common.separator)
        }
        if isParametric { scope = nil }
        paths[id] = (scope ?? LayerPath([], separator: ".")).appending(
            uniqueOperationName(id, in: scope ?? LayerPath([], separator: ".")))
    }

    private func placed(_ id: NodeID) -> LayerPath? { paths[resolved(id)] }

    private func resolved(_ id: NodeID) -> NodeID {
        var owner = id
        while let next = joined[owner] { owner = next }
        return owner
    }

    /// The node's own name without its scopes, or its operator.
    private func operationName(_ id: NodeID) -> String {
        let last = graph[id].name.split(separator: "/").last.map(String.init) ?? ""
        return last.isEmpty ? graph[id].op.type : last
    }

    private mutating func uniqueOperationName(_ id: NodeID, in scope: LayerPath) -> String {
        let base = operationName(id)
        var name = graph[id].name.isEmpty ? "\(base)_\(ordinals[base, default: 0])" : base
        if graph[id].name.isEmpty { ordinals[base, default: 0] += 1 }
        var number = 1
        while !taken.insert(scope.appending(name).text).inserted {
            name = "\(base)_\(number)"
            number += 1
        }
        return name
    }

    /// The paths that are scopes of other paths.
    private func groupPaths() -> Set<String> {
        var groups = Set<String>()
        for path in Set(paths.values) {
            for length in 0..<path.parts.count where length > 0 {
                groups.insert(LayerPath(Array(path.parts[..<length]), separator: path.separator).text)
            }
        }
        return groups
    }

    // MARK: Layers

    /// Nodes that only work out sizes and constants belong to the layer that first needs them.
    private func attachPlumbing(to leaves: inout OrderedDictionary<String, (path: LayerPath, nodes: [NodeID])>) {
        // By the index of a node: its leaf, and its place in the order.
        let slots = (graph.order.map(\.index).max() ?? -1) + 1
        var leafOf = [Int](repeating: -1, count: slots)
        var position = [Int](repeating: 0, count: slots)
        for (number, leaf) in leaves.values.enumerated() { for node in leaf.nodes { leafOf[node.index] = number } }
        for (index, id) in graph.order.enumerated() { position[id.index] = index }
        var grown = Set<Int>()
        for id in graph.order.reversed() where leafOf[id.index] < 0 {
            var first: NodeID?
            for case let output? in graph[id].outputs {
                for node in graph[output].consumers where leafOf[node.index] >= 0 {
                    if first.map({ position[node.index] < position[$0.index] }) ?? true { first = node }
                }
            }
            if first == nil, leaves.isEmpty {
                leaves[operationName(id)] = (LayerPath([operationName(id)], separator: "."), [])
            }
            let leaf = first.map { leafOf[$0.index] } ?? leaves.count - 1
            leafOf[id.index] = leaf
            leaves.values[leaf].nodes.append(id)
            grown.insert(leaf)
        }
        for leaf in grown { leaves.values[leaf].nodes.sort { position[$0.index] < position[$1.index] } }
    }

    private func assemble(
        _ leaves: OrderedDictionary<String, (path: LayerPath, nodes: [NodeID])>
    ) -> (layers: [Layer], leafOfNode: [NodeID: Int]) {
        /// A part of the tree while it is put together, in order of depth.
        final class Part {
            let path: LayerPath
            var children: OrderedDictionary<String, Part> = [:]
            var nodes: [NodeID] = []
            var depth = 0
            init(_ path: LayerPath) { self.path = path }
        }
        let root = Part(LayerPath([], separator: "."))
        for (depth, leaf) in leaves.values.enumerated() {
            var part = root
            for index in leaf.path.parts.indices {
                let path = LayerPath(Array(leaf.path.parts[...index]), separator: leaf.path.separator)
                if let next = part.children[path.parts[index]] {
                    part = next
                } else {
                    let next = Part(path)
                    next.depth = depth
                    part.children[path.parts[index]] = next
                    part = next
                }
            }
            part.nodes += leaf.nodes
        }
        var layers: [Layer] = []
        var leafOfNode: [NodeID: Int] = [:]
        func place(_ part: Part, parent: Int?) -> Int {
            let index = layers.count
            let own = part.nodes.flatMap { node in
                table.parameters(of: node).filter { table.entries[$0]?.node == node }
            }
            layers.append(
                Layer(
                    path: part.path.text, name: part.path.parts.last ?? "",
                    kind: part.children.isEmpty ? kind(of: part.nodes) : .group,
                    depth: part.depth, parent: parent, children: [], nodes: part.nodes,
                    parameters: own.filter { table[$0]?.isTrainable ?? false },
                    statistics: own.filter { table[$0]?.isStatistic ?? false }))
            for node in part.nodes { leafOfNode[node] = index }
            let children = part.children.values.map { place($0, parent: index) }
            layers[index].children = children
            return index
        }
        for part in root.children.values { _ = place(part, parent: nil) }
        return (layers, leafOfNode)
    }

    private func kind(of nodes: [NodeID]) -> LayerKind {
        let roles = Set(nodes.flatMap { table.parameters(of: $0) }.compactMap { table[$0] })
        if roles.isDisjoint(with: [.weight, .quantized, .embedding]), !roles.isDisjoint(with: [.scale, .shift, .mean]) {
            return .normalization
        }
        if roles.contains(.embedding), !roles.contains(.weight) { return .embedding }
        return LayerKind.of(nodes.map { graph[$0].op })
    }
}

import GraftCore

/// A unit of a network that thaws as one: a stage, a residual block, or one layer with its normalization.
public struct Block: Sendable {
    /// The path of the group or of the first layer that it is made of.
    public let name: String
    /// Its leaves, as indices into ``LayerTree/layers``, in order of depth.
    public let layers: [Int]
    /// Its nodes, in order.
    public let nodes: [NodeID]
    /// Its stored tensors that training may change.
    public let parameters: [ValueID]
    /// Its running statistics.
    public let statistics: [ValueID]
}

/// Divides the body of a network into blocks.
///
/// Names decide where they group layers: the children of the scope that holds most of the network (`layer1` to
/// `layer4`; `features.0` to `features.18`; `encoder.layers.0` to `11`), or common beginnings of flat names
/// (`block_16_expand`, `conv5_block3_1_conv`). Otherwise the graph decides: a block is what lies between two places
/// that all data passes through, with a depthwise convolution kept together with the pointwise ones around it.
/// Normalizations belong to what they follow.
struct BlockFinder {
    let layers: [Layer]
    let graph: Graph
    let table: ParameterTable
    let headNodes: Set<NodeID>

    /// The leaves with parameters that are not the head's, in order of depth.
    private var body: [Int] {
        layers.indices.filter { index in
            layers[index].isLeaf && isParametric(index)
                && !layers[index].nodes.contains { headNodes.contains($0) && !table.parameters(of: $0).isEmpty }
        }
    }

    func blocks() -> [Block] {
        let body = body
        guard !body.isEmpty else { return [] }
        var keys = treeKeys(body) ?? flatKeys(body) ?? structuralKeys(body)
        if Set(keys.values).count == 1 { keys = layerKeys(body) }
        return assemble(body, keys: keys)
    }

    private func isParametric(_ index: Int) -> Bool {
        layers[index].nodes.contains { !table.parameters(of: $0).isEmpty }
    }

    /// Whether a leaf only normalizes, scales or bends: it belongs to what it follows.
    private func isAccessory(_ index: Int) -> Bool {
        !layers[index].nodes.contains { node in
            table.parameters(of: node).contains {
                table[$0] == .weight || table[$0] == .embedding || table[$0] == .quantized
            }
        }
    }

    // MARK: Names in a tree

    private func bodyLeaves(under index: Int, _ body: Set<Int>) -> [Int] {
        layers[index].children.isEmpty
            ? (body.contains(index) ? [index] : []) : layers[index].children.flatMap { bodyLeaves(under: $0, body) }
    }

    /// For each leaf the part of the tree that is its block; nil where the tree has no groups to speak of.
    private func treeKeys(_ body: [Int]) -> [Int: String]? {
        let members = Set(body)
        var units = layers.indices.filter { layers[$0].parent == nil }
        var counts: [Int: Int] = [:]
        for index in layers.indices { counts[index] = bodyLeaves(under: index, members).count }
        func isGroup(_ index: Int) -> Bool { !layers[index].isLeaf && counts[index, default: 0] > 1 }
        while let largest = units.filter(isGroup).max(by: { counts[$0, default: 0] < counts[$1, default: 0] }),
            counts[largest, default: 0] * 2 > body.count, units.filter(isGroup).count <= 2,
            let position = units.firstIndex(of: largest)
        {
            units.replaceSubrange(position...position, with: layers[largest].children)
        }
        guard units.filter(isGroup).count > 1 else { return nil }
        var keys: [Int: String] = [:]
        var run: String?
        for unit in units.sorted(by: { layers[$0].depth < layers[$1].depth }) where counts[unit, default: 0] > 0 {
            let leaves = bodyLeaves(under: unit, members)
            if isGroup(unit) {
                run = nil
                for leaf in leaves { keys[leaf] = layers[unit].path }
            } else {
                // Single layers between groups stand together: conv1 and bn1 are the stem.
                let key = run ?? layers[unit].path
                run = key
                for leaf in leaves { keys[leaf] = key }
            }
        }
        return keys
    }

    // MARK: Flat names

    /// Names that Keras gives by itself: they count layers of a class and say nothing about blocks.
    private static let automatic: Set<String> = [
        "conv1d", "conv2d", "conv3d", "conv2d_transpose", "depthwise_conv2d", "separable_conv2d", "separable_conv1d",
        "batch_normalization", "layer_normalization", "dense", "lstm", "gru", "embedding", "p_re_lu", "re_lu",
        "bidirectional",
    ]

    /// The beginning of a flat name that its block shares: through the first number, with a letter after it.
    static func flatKey(_ name: String) -> String? {
        let characters = Array(name)
        if let cut = name.range(ofLast: "_"), name[cut.upperBound...].allSatisfy(\.isNumber),
            automatic.contains(String(name[..<cut.lowerBound]))
        {
            return nil
        }
        if automatic.contains(name) { return nil }
        var index = characters.firstIndex { $0.isNumber } ?? characters.count
        guard index > 0, index < characters.count else { return nil }
        while index < characters.count, characters[index].isNumber { index += 1 }
        if index < characters.count, characters[index].isLowercase,
            index + 1 == characters.count || characters[index + 1] == "_"
        {
            index += 1
        }
        guard index == characters.count || characters[index] == "_" else { return nil }
        return String(characters[..<index]).replacing("_dw_", with: "_").replacing("_pw_", with: "_")
    }

    private func flatKeys(_ body: [Int]) -> [Int: String]? {
        let products = body.filter { !isAccessory($0) }
        let known = products.compactMap { Self.flatKey(layers[$0].path) }
        let distinct = Set(known).count
        guard distinct > 1, distinct < products.count, known.count * 10 >= products.count * 6 else { return nil }
        var keys: [Int: String] = [:]
        var previous: String?
        for leaf in body {
            let own = isAccessory(leaf) ? nil : Self.flatKey(layers[leaf].path)
            let key = own ?? previous ?? layers[leaf].path
            keys[leaf] = key
            previous = key
        }
        return keys
    }

    // MARK: Structure

    private func structuralKeys(_ body: [Int]) -> [Int: String] {
        var leafOf: [NodeID: Int] = [:]
        for leaf in body { for node in layers[leaf].nodes { leafOf[node] = leaf } }
        var keys: [Int: String] = [:]
        var current: (key: String, isSeparable: Bool, isPlain: Bool)?
        for segment in segments() {
            let leaves = segment.compactMap { leafOf[$0] }.filter { keys[$0] == nil }
            let products = segment.filter { node in leafOf[node] != nil && isProduct(node) }
            guard let first = leaves.first else { continue }
            let isDepthwise = products.count == 1 && isDepthwise(products[0])
            let isPointwise = products.count == 1 && isPointwise(products[0])
            if let present = current,
                products.isEmpty || present.isSeparable && isPointwise || isDepthwise && present.isPlain
            {
                // A separable convolution ends with the first pointwise convolution after the depthwise one.
                current = (present.key, isDepthwise || present.isSeparable && products.isEmpty, false)
            } else {
                current = (layers[first].path, isDepthwise, isPointwise)
            }
            for leaf in leaves { keys[leaf] = current?.key ?? layers[leaf].path }
        }
        for leaf in body where keys[leaf] == nil { keys[leaf] = current?.key ?? layers[leaf].path }
        return keys
    }

    /// Each layer for itself, with what normalizes it.
    private func layerKeys(_ body: [Int]) -> [Int: String] {
        var keys: [Int: String] = [:]
        var current: String?
        for leaf in body {
            if !isAccessory(leaf) || current == nil { current = layers[leaf].path }
            keys[leaf] = current
        }
        return keys
    }

    private func isProduct(_ node: NodeID) -> Bool {
        table.parameters(of: node).contains {
            table[$0] == .weight || table[$0] == .embedding || table[$0] == .quantized
        }
    }

    private func isDepthwise(_ node: NodeID) -> Bool {
        graph[node].op.isONNX("Conv") && (graph[node].attributes.int("group") ?? 1) > 1
    }

    private func isPointwise(_ node: NodeID) -> Bool {
        guard graph[node].op.isONNX("Conv"), (graph[node].attributes.int("group") ?? 1) == 1,
            let weight = table.parameters(of: node).first, let shape = graph.constantTensor(of: weight)?.shape
        else { return false }
        return shape.dropFirst(2).allSatisfy { $0 == 1 }
    }

    /// The nodes that compute on data, divided at the places where a single value carries everything.
    private func segments() -> [[NodeID]] {
        let data = graph.order.filter { !table.isPlumbing($0, in: graph) }
        var remaining: [ValueID: Int] = [:]
        for id in data {
            for value in graph.operands(of: id) where !table.plumbing.contains(value) {
                remaining[value, default: 0] += 1
            }
        }
        var live = Set(graph.inputs.filter { remaining[$0] != nil })
        var result: [[NodeID]] = [[]]
        for id in data {
            result[result.count - 1].append(id)
            for value in graph.operands(of: id) where !table.plumbing.contains(value) {
                remaining[value, default: 0] -= 1
                if remaining[value] == 0 { live.remove(value) }
            }
            for case let output? in graph[id].outputs where remaining[output] ?? 0 > 0 { live.insert(output) }
            if live.count <= 1 { result.append([]) }
        }
        return result.filter { !$0.isEmpty }
    }

    // MARK: Assembly

    private func assemble(_ body: [Int], keys: [Int: String]) -> [Block] {
        var order: [String] = []
        var members: [String: [Int]] = [:]
        let inBody = Set(body)
        // A block that would hold nothing but normalizations joins the one before.
        let whole = Set(body.lazy.filter { !isAccessory($0) }.compactMap { keys[$0] })
        var previous: String?
        for leaf in layers.indices.filter({ layers[$0].isLeaf }).sorted(by: { layers[$0].depth < layers[$1].depth }) {
            let isHead = layers[leaf].nodes.contains { headNodes.contains($0) }
            let own = inBody.contains(leaf) ? keys[leaf] : nil
            let joined = own.map { whole.contains($0) ? $0 : previous ?? $0 }
            guard !isHead, let key = joined ?? previous else { continue }
            if members[key] == nil { order.append(key) }
            members[key, default: []].append(leaf)
            previous = key
        }
        return order.map { key in
            let leaves = members[key] ?? []
            return Block(
                name: key, layers: leaves, nodes: leaves.flatMap { layers[$0].nodes },
                parameters: leaves.flatMap { layers[$0].parameters },
                statistics: leaves.flatMap { layers[$0].statistics })
        }
    }
}

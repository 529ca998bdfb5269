import GraftCore
import GraftIR

/// Reads the trees of TreeEnsembleClassifier and TreeEnsembleRegressor (`nodes_*` name nodes by tree and number) and of
/// TreeEnsemble (`nodes_*` and `leaf_*` are counted from 0).
struct TreeForestReader<Scalar: BinaryFloatingPoint & BitwiseCopyable & Sendable> {
    typealias Forest = TreeForest<Scalar>
    let attributes: Attributes

    /// Numbers that a file gives as a list, or as a tensor of 64-bit numbers.
    func numbers(_ name: String) throws -> [Scalar] {
        if let tensor = attributes.tensor(name + "_as_tensor") { return try Self.numbers(tensor) }
        return (attributes.floats(name) ?? []).map { Scalar($0) }
    }

    static func numbers(_ tensor: Tensor) throws -> [Scalar] {
        if tensor.elementType == .float64 { return try tensor.elements(as: Double.self).map { Scalar($0) } }
        return try tensor.floats().map { Scalar($0) }
    }

    private func list(_ name: String, _ count: Int) throws -> [Int] {
        let values = attributes.ints(name) ?? []
        guard values.count == count else {
            throw KernelFailure("\(name) has \(values.count) entries; there are \(count) nodes")
        }
        return values
    }

    private struct Key: Hashable { let tree, node: Int }

    /// The trees of the operators up to version 3.
    ///
    /// - Parameter votes: `class` or `target`: what the attributes of the leaves are named after.
    func forest(votes prefix: String, targets: Int) throws -> Forest {
        let numbersOfNodes = attributes.ints("nodes_nodeids") ?? []
        let count = numbersOfNodes.count
        guard count > 0, count < 1 << 30 else { throw KernelFailure("trees of \(count) nodes") }
        let trees = try list("nodes_treeids", count)
        let features = try list("nodes_featureids", count)
        let (trueNodes, falseNodes) = (try list("nodes_truenodeids", count), try list("nodes_falsenodeids", count))
        let modes = attributes.strings("nodes_modes") ?? []
        let values = try numbers("nodes_values")
        let tracks = attributes.ints("nodes_missing_value_tracks_true") ?? []
        guard modes.count == count, values.count == count, tracks.isEmpty || tracks.count == count else {
            throw KernelFailure(
                "nodes_modes, nodes_values or nodes_missing_value_tracks_true do not fit \(count) nodes")
        }
        // Nodes and leaves are numbered apart from each other.
        var branches: [Key: Int32] = [:]
        branches.reserveCapacity(count)
        var (nodeCount, leafCount): (Int32, Int32) = (0, 0)
        var roots: [Int32] = []
        var rooted: Set<Int> = []
        var kinds: [TreeMode?] = []
        for index in 0..<count {
            let mode = try TreeMode.named(modes[index])
            kinds.append(mode)
            let branch = mode == nil ? ~leafCount : nodeCount
            if mode == nil { leafCount += 1 } else { nodeCount += 1 }
            guard branches.updateValue(branch, forKey: Key(tree: trees[index], node: numbersOfNodes[index])) == nil
            else { throw KernelFailure("tree \(trees[index]) has two nodes \(numbersOfNodes[index])") }
            if rooted.insert(trees[index]).inserted { roots.append(branch) }
        }
        func branch(_ tree: Int, _ node: Int) throws -> Int32 {
            guard let branch = branches[Key(tree: tree, node: node)] else {
                throw KernelFailure("tree \(tree) has no node \(node)")
            }
            return branch
        }
        var nodes: [Forest.Node] = []
        nodes.reserveCapacity(Int(nodeCount))
        for index in 0..<count {
            guard let mode = kinds[index] else { continue }
            guard let feature = Int32(exactly: features[index]) else {
                throw KernelFailure("a node reads the feature \(features[index])")
            }
            nodes.append(
                Forest.Node(
                    value: values[index], feature: feature, whenTrue: try branch(trees[index], trueNodes[index]),
                    whenFalse: try branch(trees[index], falseNodes[index]), mode: mode,
                    tracksTrue: !tracks.isEmpty && tracks[index] != 0))
        }

        let ids = attributes.ints("\(prefix)_ids") ?? []
        let (voteTrees, voteNodes) = (
            try list("\(prefix)_treeids", ids.count), try list("\(prefix)_nodeids", ids.count)
        )
        let weights = try numbers("\(prefix)_weights")
        guard weights.count == ids.count else {
            throw KernelFailure("\(weights.count) of \(prefix)_weights for \(ids.count) of \(prefix)_ids")
        }
        var places: [Int] = []
        for index in ids.indices {
            let branch = try branch(voteTrees[index], voteNodes[index])
            guard branch < 0 else { throw KernelFailure("a node that is no leaf votes") }
            places.append(Int(~branch))
        }
        return try Forest(
            nodes: nodes, roots: roots, leafStarts: Self.starts(places, Int(leafCount)),
            votes: try Self.sorted(places, ids, weights), targets: targets)
    }

    /// Where the votes of each leaf start, from the leaf of each vote.
    private static func starts(_ places: [Int], _ leaves: Int) -> [Int32] {
        var starts = [Int32](repeating: 0, count: leaves + 1)
        for place in places { starts[place + 1] += 1 }
        for leaf in 0..<leaves { starts[leaf + 1] += starts[leaf] }
        return starts
    }

    /// The votes in the order of their leaves, those of a leaf in the order of the file.
    private static func sorted(_ places: [Int], _ targets: [Int], _ weights: [Scalar]) throws -> [Forest.Vote] {
        let order = places.indices.sorted { (places[$0], $0) < (places[$1], $1) }
        return try order.map { index in
            guard let target = Int32(exactly: targets[index]) else {
                throw KernelFailure("a leaf votes for the target \(targets[index])")
            }
            return Forest.Vote(target: target, weight: weights[index])
        }
    }

    /// The trees of TreeEnsemble.
    func countedForest() throws -> Forest {
        let features = attributes.ints("nodes_featureids") ?? []
        let count = features.count
        guard count > 0, count < 1 << 30, let splitTensor = attributes.tensor("nodes_splits"),
            let modeTensor = attributes.tensor("nodes_modes"), let weightTensor = attributes.tensor("leaf_weights")
        else { throw KernelFailure("nodes_featureids, nodes_splits, nodes_modes or leaf_weights are missing") }
        let (splits, weights) = (try Self.numbers(splitTensor), try Self.numbers(weightTensor))
        let modes = try modeTensor.integers() ?? []
        let (trueNodes, falseNodes) = (try list("nodes_truenodeids", count), try list("nodes_falsenodeids", count))
        let (trueLeafs, falseLeafs) = (try list("nodes_trueleafs", count), try list("nodes_falseleafs", count))
        let tracks = attributes.ints("nodes_missing_value_tracks_true") ?? []
        let targetIDs = attributes.ints("leaf_targetids") ?? []
        guard splits.count == count, modes.count == count, tracks.isEmpty || tracks.count == count,
            targetIDs.count == weights.count, !weights.isEmpty, weights.count < 1 << 30
        else { throw KernelFailure("the attributes of \(count) nodes and \(weights.count) leaves do not fit") }
        func branch(_ position: Int, isLeaf: Bool) throws -> Int32 {
            guard position >= 0, position < (isLeaf ? weights.count : count) else {
                throw KernelFailure("a branch leads to \(isLeaf ? "leaf" : "node") \(position), which is not there")
            }
            return isLeaf ? ~Int32(position) : Int32(position)
        }
        let sets = try memberSets()
        var nextSet = 0
        let nodes = try (0..<count).map { index -> Forest.Node in
            guard let raw = UInt8(exactly: modes[index]), let mode = TreeMode(rawValue: raw),
                let feature = Int32(exactly: features[index])
            else { throw KernelFailure("a node of the mode \(modes[index]) on the feature \(features[index])") }
            var node = Forest.Node(
                value: splits[index], feature: feature,
                whenTrue: try branch(trueNodes[index], isLeaf: trueLeafs[index] != 0),
                whenFalse: try branch(falseNodes[index], isLeaf: falseLeafs[index] != 0), mode: mode,
                tracksTrue: !tracks.isEmpty && tracks[index] != 0)
            if mode == .member {
                guard nextSet < sets.ranges.count else { throw KernelFailure("a set of membership_values is missing") }
                node.members = sets.ranges[nextSet]
                nextSet += 1
            }
            return node
        }
        let roots = try (attributes.ints("tree_roots") ?? []).map { root -> Int32 in
            let position = try branch(root, isLeaf: false)
            let node = nodes[Int(position)]
            // Both branches to one leaf: a tree that is a leaf.
            return node.whenTrue < 0 && node.whenTrue == node.whenFalse ? node.whenTrue : position
        }
        let targets = attributes.int("n_targets") ?? (targetIDs.max() ?? 0) + 1
        return try Forest(
            nodes: nodes, roots: roots, leafStarts: (0...weights.count).map { Int32($0) },
            votes: try Self.sorted(Array(weights.indices), targetIDs, weights), members: sets.values, targets: targets)
    }

    /// The sets of ``TreeMode/member`` nodes in the order of the nodes; the file ends each with a NaN.
    private func memberSets() throws -> (values: [Scalar], ranges: [Forest.Range32]) {
        guard let tensor = attributes.tensor("membership_values") else { return ([], []) }
        guard tensor.count < 1 << 30 else { throw KernelFailure("\(tensor.count) membership_values") }
        var values: [Scalar] = []
        var ranges: [Forest.Range32] = []
        var start = 0
        for value in try Self.numbers(tensor) {
            if value.isNaN {
                ranges.append(Forest.Range32(start: Int32(start), end: Int32(values.count)))
                start = values.count
            } else {
                values.append(value)
            }
        }
        if start < values.count {
            ranges.append(Forest.Range32(start: Int32(start), end: Int32(values.count)))
        }
        return (values, ranges)
    }
}

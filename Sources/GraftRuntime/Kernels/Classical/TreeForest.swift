import GraftCore
import GraftIR

/// How a node of a tree compares a feature with its value.
enum TreeMode: UInt8 {
    case lessOrEqual, less, greaterOrEqual, greater, equal, notEqual
    /// Whether the feature is one of a set of values.
    case member

    /// The mode that a file names.
    ///
    /// - Returns: nil for a leaf.
    static func named(_ name: String) throws -> TreeMode? {
        switch name {
        case "BRANCH_LEQ": .lessOrEqual
        case "BRANCH_LT": .less
        case "BRANCH_GTE": .greaterOrEqual
        case "BRANCH_GT": .greater
        case "BRANCH_EQ": .equal
        case "BRANCH_NEQ": .notEqual
        case "LEAF": nil
        default: throw KernelFailure("a node of the mode \"\(name)\"")
        }
    }
}

/// What becomes of the votes of the leaves that a row reaches.
enum TreeAggregate: Int {
    case average, sum, minimum, maximum
}

/// Decision trees as flat arrays that are checked: every index is in range and no path comes back to a node.
///
/// A branch is the number of a node, or for a leaf the number's complement.
struct TreeForest<Scalar: BinaryFloatingPoint & BitwiseCopyable & Sendable>: Sendable {
    struct Node: BitwiseCopyable, Sendable {
        var value: Scalar
        var feature: Int32
        var whenTrue: Int32
        var whenFalse: Int32
        var mode: TreeMode
        /// Whether a feature that is not a number takes the branch of true.
        var tracksTrue: Bool
        /// For ``TreeMode/member``: the set's place among the members.
        var members: Range32 = Range32(start: 0, end: 0)
    }

    struct Range32: BitwiseCopyable, Sendable { var start, end: Int32 }

    /// What a leaf adds to a target.
    struct Vote: BitwiseCopyable, Sendable {
        var target: Int32
        var weight: Scalar
    }

    let nodes: [Node]
    /// The first node, or leaf, of each tree.
    let roots: [Int32]
    /// Where the votes of each leaf start; one more than there are leaves.
    let leafStarts: [Int32]
    let votes: [Vote]
    let members: [Scalar]
    let targets: Int
    /// One more than the highest feature that is read.
    let features: Int
    /// The mode of all nodes, where it is one and a missing feature takes the branch of false.
    private let commonMode: TreeMode?

    /// Checks and keeps the trees.
    ///
    /// - Throws: ``KernelFailure`` where an index is out of range or a path has no end.
    init(
        nodes: [Node], roots: [Int32], leafStarts: [Int32], votes: [Vote], members: [Scalar] = [], targets: Int
    ) throws {
        guard targets > 0, targets < 1 << 24, !roots.isEmpty else {
            throw KernelFailure("\(roots.count) trees with \(targets) targets")
        }
        func check(_ branch: Int32) throws {
            guard branch >= 0 ? Int(branch) < nodes.count : Int(~branch) < leafStarts.count - 1 else {
                throw KernelFailure("a branch leads to a node that is not there")
            }
        }
        var highest: Int32 = -1
        for node in nodes {
            guard node.feature >= 0 else { throw KernelFailure("a node reads the feature \(node.feature)") }
            highest = max(highest, node.feature)
            try check(node.whenTrue)
            try check(node.whenFalse)
        }
        for root in roots { try check(root) }
        for vote in votes where vote.target < 0 || Int(vote.target) >= targets {
            throw KernelFailure("a leaf votes for the target \(vote.target) of \(targets)")
        }
        try Self.requireNoCycle(nodes, roots)
        self.nodes = nodes
        self.roots = roots
        self.leafStarts = leafStarts
        self.votes = votes
        self.members = members
        self.targets = targets
        features = Int(highest) + 1
        let first = nodes.first?.mode
        let isCommon = nodes.allSatisfy { $0.mode == first && !$0.tracksTrue }
        commonMode = isCommon ? first : nil
    }

    private static func requireNoCycle(_ nodes: [Node], _ roots: [Int32]) throws {
        // 0: not seen, 1: on the path, 2: done.
        var states = [UInt8](repeating: 0, count: nodes.count)
        var path: [Int] = []
        for root in roots where root >= 0 && states[Int(root)] == 0 {
            path.append(Int(root))
            while let index = path.last {
                if states[index] == 1 {
                    states[index] = 2
                    path.removeLast()
                    continue
                }
                if states[index] == 2 {
                    path.removeLast()
                    continue
                }
                states[index] = 1
                for branch in [nodes[index].whenTrue, nodes[index].whenFalse] where branch >= 0 {
                    switch states[Int(branch)] {
                    case 0: path.append(Int(branch))
                    case 1: throw KernelFailure("a path through a tree comes back to a node")
                    default: break
                    }
                }
            }
        }
    }

    /// Adds the votes for each row to its scores.
    ///
    /// - Parameters:
    ///   - scores: `targets` numbers a row, 0 where the votes are added up.
    ///   - voted: for each score whether a leaf voted for it.
    func evaluate(
        _ rows: Range<Int>, _ x: UnsafePointer<Scalar>, columns: Int, _ aggregate: TreeAggregate,
        _ scores: UnsafeMutablePointer<Scalar>, _ voted: UnsafeMutablePointer<Bool>
    ) {
        nodes.withUnsafeBufferPointer { nodes in
            votes.withUnsafeBufferPointer { votes in
                leafStarts.withUnsafeBufferPointer { leafStarts in
                    // Tree by tree over the rows: the nodes of a tree stay in the cache.
                    for root in roots {
                        for row in rows {
                            let place = (row - rows.lowerBound) * targets
                            let leaf = Int(~leaf(from: root, nodes, x + row * columns))
                            for index in Int(leafStarts[leaf])..<Int(leafStarts[leaf + 1]) {
                                let target = place + Int(votes[index].target)
                                let weight = votes[index].weight
                                switch aggregate {
                                case .sum, .average: scores[target] += weight
                                case .minimum:
                                    if !voted[target] || weight < scores[target] { scores[target] = weight }
                                case .maximum:
                                    if !voted[target] || weight > scores[target] { scores[target] = weight }
                                }
                                voted[target] = true
                            }
                        }
                    }
                }
            }
        }
    }

    /// The leaf that a row reaches, as a branch.
    @inline(__always)
    private func leaf(
        from root: Int32, _ nodes: UnsafeBufferPointer<Node>, _ row: UnsafePointer<Scalar>
    ) -> Int32 {
        var branch = root
        if commonMode == .lessOrEqual {
            while branch >= 0 {
                let node = nodes[Int(branch)]
                branch = row[Int(node.feature)] <= node.value ? node.whenTrue : node.whenFalse
            }
            return branch
        }
        while branch >= 0 {
            let node = nodes[Int(branch)]
            let feature = row[Int(node.feature)]
            let holds =
                switch node.mode {
                case .lessOrEqual: feature <= node.value
                case .less: feature < node.value
                case .greaterOrEqual: feature >= node.value
                case .greater: feature > node.value
                case .equal: feature == node.value
                case .notEqual: feature != node.value
                case .member: isMember(feature, node.members)
                }
            branch = holds || (node.tracksTrue && feature.isNaN) ? node.whenTrue : node.whenFalse
        }
        return branch
    }

    private func isMember(_ feature: Scalar, _ range: Range32) -> Bool {
        for index in Int(range.start)..<Int(range.end) where members[index] == feature { return true }
        return false
    }
}

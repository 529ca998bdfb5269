import GraftCore

/// Follows the axis of the classes from a classifier to the output, through everything that comes after.
struct ClassAxis {
    private let graph: Graph
    private let table: ParameterTable
    private let classCount: Int
    /// The axis of each value that holds class scores; negative ones count from the end.
    private var axisOf: [ValueID: Int] = [:]
    /// Whether nothing but classes is left beside the batch.
    private var isPooled: Bool
    private let start: Int
    /// The axis in the value that each node passed so far makes.
    private(set) var axes: [Int] = []
    /// What a vector of scores stands for, as far as seen.
    private(set) var kind: HeadCandidate.Kind

    init(graph: Graph, table: ParameterTable, form: HeadCandidate.Form, classCount: Int, features: ValueID) {
        self.graph = graph
        self.table = table
        self.classCount = classCount
        let shape = graph[features].shape
        switch form {
        case .gemmRows, .gemmColumns:
            start = 1
            isPooled = true
            kind = .sample
        case .matMul:
            start = -1
            let rank = shape?.rank ?? Self.rankMade(by: graph[features].producer, in: graph)
            isPooled = rank.map { $0 <= 2 } ?? true
            kind = isPooled ? .sample : .position
        case .convolution:
            start = 1
            isPooled = shape?.dimensions.dropFirst(2).allSatisfy { $0.count == 1 } ?? false
            if !isPooled { isPooled = Self.comesFromPooling(features, in: graph) }
            kind = isPooled ? .sample : shape.map { $0.rank == 3 } ?? false ? .position : .pixel
        }
    }

    /// Passes one node after the classifier.
    ///
    /// - Returns: why there is no class axis behind it, or nil where there is one.
    mutating func pass(_ id: NodeID, from logits: ValueID) -> String? {
        if axisOf.isEmpty { axisOf[logits] = start }
        let node = graph[id]
        guard let input = node.inputs.lazy.compactMap({ $0 }).first(where: { axisOf[$0] != nil }),
            let axis = axisOf[input]
        else {
            // A body that captures the scores.
            axes.append(start)
            for case let output? in node.outputs { axisOf[output] = start }
            return nil
        }
        guard let next = axis == Self.gone ? Self.gone : self.axis(after: id, from: axis, input: input) else {
            return "\(node.op) \(node.label(in: graph)) mixes the classes with other axes"
        }
        axes.append(next)
        for case let output? in node.outputs { axisOf[output] = next }
        return nil
    }

    /// The axis was reduced to the best class.
    static let gone = Int.max

    private mutating func axis(after id: NodeID, from axis: Int, input: ValueID) -> Int? {
        let node = graph[id]
        switch node.op.type {
        case "GlobalAveragePool", "GlobalMaxPool":
            pooled()
            return axis
        case "AveragePool", "MaxPool":
            if graph[node.outputs[0] ?? input].shape?.dimensions.dropFirst(2).allSatisfy({ $0.count == 1 }) ?? false {
                pooled()
            }
            return axis
        case "ReduceMean", "ReduceMax", "ReduceSum":
            let reduced = graph.integers("axes", orInput: 1, of: id)
            if let reduced, !reduced.contains(axis), reduced.allSatisfy({ $0 >= 0 }), axis >= 0, reduced.count > 1 {
                pooled()
                return node.attributes.int("keepdims") ?? 1 == 1 ? axis : axis - reduced.filter { $0 < axis }.count
            }
            // A reduction over the classes is a part of a softmax that is written out.
            return axis
        case "ArgMax", "TopK": return Self.gone
        case "Flatten":
            guard isPooled, node.attributes.int("axis") ?? 1 == 1 else { return nil }
            return 1
        case "Transpose":
            guard let permutation = node.attributes.ints("perm") else { return axis == -1 ? 0 : nil }
            let front = axis < 0 ? permutation.count + axis : axis
            return permutation.firstIndex(of: front)
        case "Squeeze":
            guard axis >= 0, let axes = graph.integers("axes", orInput: 1, of: id) else { return axis }
            return axes.contains(axis) ? nil : axis - axes.filter { $0 >= 0 && $0 < axis }.count
        case "Unsqueeze":
            guard axis >= 0, let axes = graph.integers("axes", orInput: 1, of: id) else { return axis }
            return axes.sorted().reduce(axis) { $1 >= 0 && $1 <= $0 ? $0 + 1 : $0 }
        case "Reshape": return reshaped(id, from: axis)
        case "DepthToSpace", "SpaceToDepth", "Gather", "GatherND", "NonMaxSuppression": return nil
        default: return axis
        }
    }

    private mutating func pooled() {
        isPooled = true
        kind = .sample
    }

    private func reshaped(_ id: NodeID, from axis: Int) -> Int? {
        let node = graph[id]
        guard let target = graph.integers("shape", orInput: 1, of: id) else {
            let rank = node.outputs.first.flatMap { $0 }.flatMap { graph[$0].shape?.rank }
            return rank == 2 || isPooled ? 1 : axis
        }
        if let position = target.lastIndex(of: classCount), classCount > 1 || isPooled && target.count <= 2 {
            return position
        }
        if axis >= 0, target.indices.contains(axis), target[axis] == 0 { return axis }
        guard let open = target.firstIndex(of: -1), isPooled || target.last == -1 && axis == -1 else { return nil }
        // [0, -1] and [1, -1] after pooling; [-1] for a batch of one.
        return target.enumerated().allSatisfy { $0.offset == open || [0, 1].contains($0.element) } ? open : nil
    }

    /// Whether a value is a pooled picture, through views of it.
    private static func comesFromPooling(_ id: ValueID, in graph: Graph) -> Bool {
        var value = id
        for _ in 0..<8 {
            guard let node = graph[value].producer else { return false }
            switch graph[node].op.type {
            case "GlobalAveragePool", "GlobalMaxPool": return true
            case "ReduceMean": return (graph.integers("axes", orInput: 1, of: node)?.count ?? 0) > 1
            case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Transpose", "Identity", "QuantizeLinear",
                "DequantizeLinear", "Cast", "Relu", "Clip":
                guard let next = graph[node].inputs.first.flatMap({ $0 }) else { return false }
                value = next
            default: return false
            }
        }
        return false
    }

    /// The rank of what a node makes, where the node alone tells.
    private static func rankMade(by node: NodeID?, in graph: Graph, depth: Int = 0) -> Int? {
        guard let node, depth < 16 else { return nil }
        switch graph[node].op.type {
        case "Flatten", "Gemm": return 2
        case "Reshape":
            guard graph[node].inputs.count > 1, let shape = graph[node].inputs[1] else { return nil }
            return graph.constantIntegers(of: shape)?.count ?? graph[shape].shape?.dimensions.first?.count
        case "Transpose": return graph[node].attributes.ints("perm")?.count
        case "Dropout", "Identity", "Relu", "Cast", "Add", "Mul":
            let input = graph[node].inputs.first.flatMap { $0 }
            return input.flatMap {
                graph[$0].shape?.rank ?? rankMade(by: graph[$0].producer, in: graph, depth: depth + 1)
            }
        default: return nil
        }
    }
}

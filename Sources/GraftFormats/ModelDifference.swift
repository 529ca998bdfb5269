import GraftCore
import GraftIR

/// What two models have in common and where they differ: interface, operators, weights, annotations.
///
/// Weights are matched by name, then by identical content, so models of different formats can be compared.
public struct ModelDifference: Sendable {
    /// Two weights that belong together.
    public struct WeightPair: Sendable {
        /// The name in the first model.
        public let first: String
        /// The name in the second model.
        public let second: String
        /// The shape.
        public let shape: [Int]
        /// The largest difference of two elements.
        public let largestDifference: Double
        /// The largest magnitude in the first.
        public let scale: Double

        /// Whether every element is the same.
        public var isIdentical: Bool { largestDifference == 0 }
    }

    /// Sentences on inputs, outputs and what the models say about themselves.
    public private(set) var interface: [String] = []
    /// How often each operator stands in the first and the second model, where that differs.
    public private(set) var operators: [(name: String, first: Int, second: Int)] = []
    /// The weights that belong together and differ.
    public private(set) var changedWeights: [WeightPair] = []
    /// How many weights are the same.
    public private(set) var identicalWeights = 0
    /// How many weights are the same under another name.
    public private(set) var renamedWeights: [WeightPair] = []
    /// The weights that only the first model has.
    public private(set) var onlyInFirst: [String] = []
    /// The weights that only the second model has.
    public private(set) var onlyInSecond: [String] = []
    /// The annotation keys whose texts differ.
    public private(set) var annotations: [String] = []

    /// Whether nothing differs.
    public var isEmpty: Bool {
        interface.isEmpty && operators.isEmpty && changedWeights.isEmpty && onlyInFirst.isEmpty
            && onlyInSecond.isEmpty && renamedWeights.isEmpty && annotations.isEmpty
    }

    /// Compares two models.
    ///
    /// - Throws: what reading a deferred tensor throws.
    public init(_ first: Model, _ second: Model) throws {
        compareInterface(first, second)
        compareOperators(first.graph, second.graph)
        try compareWeights(first.graph, second.graph)
        let keys = Set((first.metadata.entries + second.metadata.entries).map(\.key)).filter { $0.hasPrefix("graft.") }
        annotations = keys.filter { first.metadata[$0] != second.metadata[$0] }.sorted()
    }

    private mutating func compareInterface(_ first: Model, _ second: Model) {
        func signature(_ graph: Graph, _ ids: [ValueID]) -> [String] {
            ids.filter { graph[$0].initializer == nil }.map {
                let value = graph[$0]
                return "\(value.name) \(value.elementType?.name ?? "?") \(value.shape?.description ?? "[...]")"
            }
        }
        for (word, a, b) in [
            ("inputs", signature(first.graph, first.graph.inputs), signature(second.graph, second.graph.inputs)),
            ("outputs", signature(first.graph, first.graph.outputs), signature(second.graph, second.graph.outputs)),
        ] where a != b {
            interface.append("\(word): \(a.joined(separator: ", ")) and \(b.joined(separator: ", "))")
        }
        let (a, b) = (first.opset() ?? 0, second.opset() ?? 0)
        if a != b { interface.append("opset: \(a) and \(b)") }
    }

    private mutating func compareOperators(_ first: Graph, _ second: Graph) {
        func counts(_ graph: Graph) -> [String: Int] {
            graph.order.reduce(into: [:]) { $0[graph[$1].op.canonical.description, default: 0] += 1 }
        }
        let (a, b) = (counts(first), counts(second))
        for name in Set(a.keys).union(b.keys).sorted() where a[name] != b[name] {
            operators.append((name, a[name] ?? 0, b[name] ?? 0))
        }
    }

    private mutating func compareWeights(_ first: Graph, _ second: Graph) throws {
        var left: [ValueID] = []
        var right = Set(second.initializers)
        for id in first.initializers {
            guard let tensor = first[id].tensor else { continue }
            if let other = second.value(named: first[id].name), let match = second[other].tensor,
                match.shape == tensor.shape
            {
                right.remove(other)
                let pair = try Self.pair(first[id], second[other], tensor, match)
                if pair.isIdentical { identicalWeights += 1 } else { changedWeights.append(pair) }
            } else {
                left.append(id)
            }
        }
        var byContent: [ContentHash: [ValueID]] = [:]
        for id in second.initializers where right.contains(id) {
            if let tensor = second[id].tensor { byContent[try Self.digest(tensor), default: []].append(id) }
        }
        for id in left {
            guard let tensor = first[id].tensor else { continue }
            let digest = try Self.digest(tensor)
            if let other = byContent[digest]?.first {
                byContent[digest]?.removeFirst()
                right.remove(other)
                renamedWeights.append(
                    WeightPair(
                        first: first[id].name, second: second[other].name, shape: tensor.shape,
                        largestDifference: 0, scale: 0))
            } else {
                onlyInFirst.append(first[id].name)
            }
        }
        onlyInSecond = second.initializers.filter { right.contains($0) }.map { second[$0].name }
    }

    private static func digest(_ tensor: Tensor) throws -> ContentHash {
        let hasher = ContentHash.Hasher()
        hasher.update("\(tensor.elementType.name) \(tensor.shape)")
        if let strings = tensor.strings {
            strings.forEach { hasher.update($0) }
        } else {
            try tensor.withBytes { hasher.update($0) }
        }
        return hasher.finish()
    }

    private static func pair(_ a: Value, _ b: Value, _ first: Tensor, _ second: Tensor) throws -> WeightPair {
        if try first.isIdentical(to: second) {
            return WeightPair(
                first: a.name, second: b.name, shape: first.shape, largestDifference: 0, scale: 0)
        }
        let comparison = try ArrayComparison(first, second)
        return WeightPair(
            first: a.name, second: b.name, shape: first.shape, largestDifference: comparison.largestDifference,
            scale: comparison.scale)
    }
}

/// How far two arrays of the same shape are apart.
public struct ArrayComparison: Sendable {
    /// The largest difference of two elements; infinite where only one of them is a number, or the types have none.
    public let largestDifference: Double
    /// The largest finite magnitude in the first array.
    public let scale: Double

    /// The largest difference relative to the scale of the first array.
    public var relativeDifference: Double {
        largestDifference == 0 ? 0 : scale > 0 ? largestDifference / scale : .infinity
    }

    /// Compares element by element.
    public init(_ first: Tensor, _ second: Tensor) throws {
        guard first.shape == second.shape else {
            (largestDifference, scale) = (.infinity, 0)
            return
        }
        if let a = first.strings, let b = second.strings {
            (largestDifference, scale) = (a == b ? 0 : .infinity, 0)
            return
        }
        guard let a = try? first.floats(), let b = try? second.floats() else {
            // Types without a conversion to numbers are the same or they are not.
            (largestDifference, scale) = (try first.isIdentical(to: second) ? 0 : .infinity, 0)
            return
        }
        var largest = 0.0
        var magnitude = 0.0
        for index in a.indices {
            let (x, y) = (Double(a[index]), Double(b[index]))
            if x.isFinite { magnitude = max(magnitude, abs(x)) }
            if x == y || x.isNaN && y.isNaN { continue }
            let difference = abs(x - y)
            largest = max(largest, difference.isNaN ? .infinity : difference)
        }
        largestDifference = largest
        scale = magnitude
    }
}

import GraftCore
import OrderedCollections

/// Finds the classifier of a network.
///
/// From each output the search goes back through everything that holds no weights (softmax, flatten, reshape, pooling,
/// resize, dropout) to the first nodes that do. A single `Gemm`, `MatMul` with or without a bias, or convolution there
/// is the classifier; several, as in a detector, are candidates between which the user decides.
public struct HeadFinder {
    let model: Model
    let table: ParameterTable
    private var graph: Graph { model.graph }

    /// The score from which a candidate counts as a classifier.
    static let threshold = 0.5

    /// A search in a model.
    public init(_ model: Model) {
        self.init(model, table: ParameterTable(model.graph))
    }

    init(_ model: Model, table: ParameterTable) {
        self.model = model
        self.table = table
    }

    /// All candidates, best first, with reasons for the places that are none.
    public func candidates() -> (candidates: [HeadCandidate], rejected: [String]) {
        var found: OrderedDictionary<NodeID, HeadCandidate> = [:]
        var rejected: [String] = []
        for output in OrderedSet(graph.outputs) {
            let frontier = frontier(of: output)
            for node in frontier {
                switch candidate(node, output: output, rivals: frontier.count - 1) {
                case .success(let candidate):
                    if candidate.score > found[node]?.score ?? 0 { found[node] = candidate }
                case .failure(let refusal):
                    rejected.append("\(graph[node].label(in: graph)): \(refusal.reason)")
                }
            }
        }
        let sorted = found.values.enumerated().sorted { a, b in
            a.element.score != b.element.score ? a.element.score > b.element.score : a.offset < b.offset
        }
        return (sorted.map(\.element), rejected)
    }

    /// Whether something in the model is likely to be a classifier.
    public var hasLikelyHead: Bool { candidates().candidates.contains { $0.score >= Self.threshold } }

    /// The classifier.
    ///
    /// - Parameter place: the name of a node, layer, value or parameter to take; nil to search.
    /// - Throws: ``HeadError``.
    public func head(at place: String? = nil) throws(HeadError) -> HeadCandidate {
        if let place { return try head(named: place) }
        let (candidates, rejected) = candidates()
        let likely = candidates.filter { $0.score >= Self.threshold }
        guard let best = likely.first else {
            let refused = rejected + candidates.map { "\($0.reason), score \(Self.rounded($0.score))" }
            throw candidates.count > 1 ? .ambiguous(candidates: candidates.map(\.reason)) : .none(rejected: refused)
        }
        if likely.count > 1, likely[1].score > best.score - 0.15 { throw .ambiguous(candidates: likely.map(\.reason)) }
        return best
    }

    private func head(named place: String) throws(HeadError) -> HeadCandidate {
        var nodes: [NodeID] = []
        if let node = graph.node(named: place) {
            nodes = [node]
        } else if let value = graph.value(named: place) {
            nodes = table.entries[value].map { [$0.node] } ?? graph[value].producer.map { [$0] } ?? []
        } else {
            var builder = LayerBuilder(graph, table: table)
            let (layers, _) = builder.build()
            guard let index = layers.firstIndex(where: { $0.path == place }) else {
                let names = layers.map(\.path) + graph.order.map { graph[$0].name }
                throw .noSuchPlace(name: place, suggestion: Suggestion.sentence(place, in: names))
            }
            nodes = layers[index].nodes
        }
        let products = nodes.filter { isClassifying($0) }
        guard let node = products.last ?? nodes.lazy.compactMap({ self.product(before: $0) }).first else {
            throw .notAClassifier(name: place, reason: "no Gemm, MatMul or convolution with weights is there")
        }
        let outputs = OrderedSet(graph.outputs).filter { ancestors(of: $0).contains(node) }
        var reason = "no output of the graph depends on it"
        for output in outputs {
            switch candidate(node, output: output, rivals: 0) {
            case .success(let candidate): return candidate
            case .failure(let refusal): reason = refusal.reason
            }
        }
        throw .notAClassifier(name: place, reason: reason)
    }

    /// The product that a bias is added to.
    private func product(before node: NodeID) -> NodeID? {
        graph[node].inputs.lazy.compactMap { $0 }.compactMap { self.graph[$0].producer }.first {
            self.isClassifying($0)
        }
    }

    /// The head that the model says it has, or else the one that is found, with its nodes.
    static func present(in model: Model, table: ParameterTable) throws -> (HeadCandidate?, Set<NodeID>) {
        let finder = HeadFinder(model, table: table)
        let graph = model.graph
        if let marker = try model.annotations().head, let node = graph.node(named: marker.node),
            let features = graph.value(named: marker.features)
        {
            let candidate = try? finder.head(named: marker.node)
            let after = finder.descendants(of: features)
            var nodes = candidate?.nodes ?? [node]
            if let candidate { nodes.formUnion(after.intersection(finder.ancestors(of: candidate.features))) }
            return (candidate, nodes)
        }
        guard let candidate = try? finder.head() else { return (nil, []) }
        return (candidate, candidate.nodes)
    }

    /// The nodes that a value depends on: the body of a network, where the value is its features.
    public static func body(of model: Model, before value: ValueID) -> Set<NodeID> {
        HeadFinder(model).ancestors(of: value)
    }

    // MARK: Walking

    private func isClassifying(_ node: NodeID) -> Bool {
        ParameterSlots.products.contains(graph[node].op.canonical)
            && table.parameters(of: node).contains { table[$0] == .weight || table[$0] == .quantized }
    }

    /// The first nodes with weights on the way back from an output.
    private func frontier(of output: ValueID) -> [NodeID] {
        var result: OrderedSet<NodeID> = []
        var seen = Set<ValueID>()
        var pending = [output]
        while let value = pending.popLast() {
            guard seen.insert(value).inserted, !table.plumbing.contains(value), let node = graph[value].producer else {
                continue
            }
            let roles = Set(table.parameters(of: node).compactMap { table[$0] })
            if roles.contains(.weight) || roles.contains(.embedding) || roles.contains(.quantized) {
                result.append(node)
            } else {
                pending.append(contentsOf: graph.operands(of: node).reversed())
            }
        }
        return Array(result)
    }

    /// The nodes that a value depends on.
    func ancestors(of value: ValueID) -> Set<NodeID> {
        var result = Set<NodeID>()
        var pending = [value]
        while let next = pending.popLast() {
            guard let node = graph[next].producer, result.insert(node).inserted else { continue }
            pending.append(contentsOf: graph.operands(of: node))
        }
        return result
    }

    /// The nodes that depend on a value.
    func descendants(of value: ValueID) -> Set<NodeID> {
        var result = Set<NodeID>()
        var pending = [value]
        while let next = pending.popLast() {
            for node in graph[next].consumers where result.insert(node).inserted {
                pending.append(contentsOf: graph[node].outputs.compactMap { $0 })
            }
        }
        return result
    }

    static func rounded(_ score: Double) -> String { String(Int((score * 100).rounded())) + " %" }
}

extension HeadFinder {
    /// Why a place is no classifier.
    struct Refusal: Error { let reason: String }

    /// Judges one node as the classifier of an output.
    func candidate(_ node: NodeID, output: ValueID, rivals: Int) -> Result<HeadCandidate, Refusal> {
        let graph = model.graph
        let operation = graph[node]
        guard let (features, form, featureCount, classCount) = matrix(of: node) else {
            return .failure(Refusal(reason: "\(operation.op) is no product of features with a stored matrix"))
        }
        guard var logits = operation.outputs.first.flatMap({ $0 }) else {
            return .failure(Refusal(reason: "it makes nothing"))
        }
        var biasNode: NodeID?
        if let add = graph[logits].consumers.first, graph[logits].uses.count == 1, graph[add].op.isONNX("Add"),
            table.parameters(of: add).contains(where: { table[$0] == .bias }), let sum = graph[add].outputs[0]
        {
            biasNode = add
            logits = sum
        }
        let before = ancestors(of: output)
        let after = descendants(of: logits)
        let tail = graph.order.filter {
            before.contains($0) && after.contains($0) && !table.isPlumbing($0, in: graph)
        }
        var walk = ClassAxis(graph: graph, table: table, form: form, classCount: classCount, features: features)
        for id in tail { if let refusal = walk.pass(id, from: logits) { return .failure(Refusal(reason: refusal)) } }

        var score = 0.6 / Double(rivals + 1)
        let activation = tail.last {
            ["Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid"].contains(graph[$0].op.type)
        }
        if activation != nil || tail.isEmpty { score += 0.15 }
        if walk.kind == .sample { score += 0.15 }
        if let labels = model.classLabels, labels.names.count == classCount { score += 0.1 }
        if case .convolution(let kernel) = form, walk.kind == .pixel || kernel.contains(where: { $0 != 1 }) {
            score -= kernel.contains { $0 > 3 } ? 0.35 : kernel.contains { $0 != 1 } ? 0.2 : 0.1
            if tail.contains(where: { LayerKind.of(graph[$0].op) == .resize }) { score += 0.15 }
        }
        if tail.contains(where: { !table.parameters(of: $0).isEmpty }) { score -= 0.3 }
        // The last convolution of a body without a classifier reads several positions, or is followed by a smooth or
        // bounded activation, as MobileNet's; one that scores classes is at most followed by a ReLU.
        if case .convolution(let kernel) = form, tail.count > 1, let first = tail.first,
            activation == nil || activation == first
        {
            let isActivated =
                switch graph[first].op.type {
                case "Relu": kernel.contains { $0 != 1 }
                case "Softmax", "LogSoftmax": false
                // A sigmoid that the scores are multiplied by, as in Swish, is a part of the body.
                case "Sigmoid", "HardSigmoid": graph[logits].uses.count > 1
                default: LayerKind.of(graph[first].op) == .activation
                }
            if isActivated { score -= 0.4 }
        }
        let name = operation.label(in: graph)
        var words = "\(operation.op) \(name): "
        words += rivals == 0 ? "last node with weights" : "one of \(rivals + 1) last nodes with weights"
        words += ", \(featureCount) features from \(source(of: features)), \(classCount) outputs"
        switch walk.kind {
        case .sample: break
        case .position: words += " for each position"
        case .pixel: words += " for each pixel"
        }
        if let activation { words += ", then \(graph[activation].op.type)" }
        if graph.outputs.count > 1 {
            words += ", to \(graph[output].name) \(graph[output].type?.shape?.description ?? "of unknown shape")"
        }
        return .success(
            HeadCandidate(
                node: node, biasNode: biasNode, form: form, kind: walk.kind, features: features, logits: logits,
                output: output, tail: tail, tailAxes: walk.axes, activation: activation, featureCount: featureCount,
                classCount: classCount, score: max(0.01, min(1, score)), reason: words))
    }

    /// The features, the matrix and its layout, of a node that multiplies features with a stored matrix.
    private func matrix(
        of node: NodeID
    ) -> (features: ValueID, form: HeadCandidate.Form, featureCount: Int, classCount: Int)? {
        let graph = model.graph
        let operation = graph[node]
        guard operation.inputs.count > 1, let features = operation.inputs[0], let weight = operation.inputs[1],
            !table.constants.contains(features), table.constants.contains(weight),
            let shape = graph.constantShape(of: weight)
        else { return nil }
        switch operation.op.canonical {
        case "Gemm":
            guard shape.count == 2, operation.attributes.int("transA") ?? 0 == 0 else { return nil }
            return operation.attributes.int("transB") ?? 0 == 0
                ? (features, .gemmColumns, shape[0], shape[1]) : (features, .gemmRows, shape[1], shape[0])
        case "MatMul":
            guard shape.count == 2 else { return nil }
            return (features, .matMul, shape[0], shape[1])
        case "Conv":
            guard shape.count > 2, operation.attributes.int("group") ?? 1 == 1 else { return nil }
            return (features, .convolution(kernel: Array(shape[2...])), shape[1], shape[0])
        default: return nil
        }
    }

    /// What makes the features, in words: the pooling or product behind views of them.
    private func source(of features: ValueID) -> String {
        let graph = model.graph
        var value = features
        for _ in 0..<12 {
            guard let node = graph[value].producer else { break }
            let kind = LayerKind.of(graph[node].op)
            guard kind == .reshape || kind == .dropout, let next = graph[node].inputs.first.flatMap({ $0 }) else {
                return graph[node].name.isEmpty ? graph[node].op.type : "\(graph[node].op.type) \(graph[node].name)"
            }
            value = next
        }
        return graph[value].name
    }
}

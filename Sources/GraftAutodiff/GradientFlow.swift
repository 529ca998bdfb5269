import GraftCore
import GraftIR

/// Which nodes a gradient passes on its way from a loss back to values.
///
/// A node is on the way where one of its outputs leads to the loss and one of its inputs depends on a wanted value, both
/// through operators that gradients flow through and tensors of floating-point numbers.
struct GradientFlow {
    /// The values that depend on a wanted value.
    private(set) var dependent: Set<ValueID> = []
    /// The nodes on the way, in the order of the graph.
    private(set) var nodes: [NodeID] = []

    private let graph: Graph
    private let types: InferredTypes

    init(from loss: ValueID, to wanted: [ValueID], in graph: Graph, types: InferredTypes) {
        self.graph = graph
        self.types = types
        dependent = Set(wanted)
        var active: [NodeID] = []
        for id in graph.order where carriesGradient(id) {
            guard Self.reads(of: id, in: graph).contains(where: { dependent.contains($0) }) else { continue }
            active.append(id)
            for case let output? in graph[id].outputs where isDifferentiable(output) { dependent.insert(output) }
        }
        var leading: Set<ValueID> = [loss]
        for id in active.reversed() {
            let node = graph[id]
            guard node.outputs.contains(where: { $0.map { leading.contains($0) && dependent.contains($0) } ?? false })
            else { continue }
            nodes.append(id)
            leading.formUnion(Self.reads(of: id, in: graph).filter { dependent.contains($0) })
        }
        nodes.reverse()
    }

    /// The values that a node reads, also in its bodies.
    static func reads(of id: NodeID, in graph: Graph) -> [ValueID] {
        graph[id].inputs.compactMap { $0 } + captures(of: id, in: graph)
    }

    /// The values of the graph that bodies of a node capture.
    static func captures(of id: NodeID, in graph: Graph) -> [ValueID] {
        graph.bodies(of: id).flatMap { body in
            body.graph.values.compactMap {
                if case .capture(let outer) = body.graph[$0].origin { outer } else { nil }
            }
        }
    }

    private func carriesGradient(_ id: NodeID) -> Bool {
        guard let schema = OperatorRegistry.schema(for: graph[id].op) else { return true }
        if case .none = schema.gradient { return false }
        return true
    }

    /// Whether a value may hold numbers that a gradient exists for; a value of unknown type may.
    func isDifferentiable(_ value: ValueID) -> Bool {
        guard let type = types.type(of: value) ?? graph[value].type else { return true }
        guard case .tensor(let element, _) = type.kind else { return true }
        return element.map(Self.isDifferentiable) ?? true
    }

    /// Whether a value is known to hold numbers that no gradient exists for.
    static func isDifferentiable(_ type: ElementType) -> Bool {
        switch type {
        case .float32, .float64, .float16, .bfloat16: true
        default: false
        }
    }

    /// The names along a shortest way from a wanted value through a node to the loss.
    func path(through node: NodeID, from wanted: Set<ValueID>, to loss: ValueID) -> [String] {
        let onWay = Set(nodes)
        // Back to a wanted value.
        var before: [String] = []
        var queue = [node]
        var next: [NodeID: NodeID] = [:]
        var seen: Set<NodeID> = [node]
        search: while !queue.isEmpty {
            let id = queue.removeFirst()
            for value in Self.reads(of: id, in: graph) where dependent.contains(value) {
                if wanted.contains(value) {
                    before = [graph[value].name]
                    var step = id
                    while step != node, let following = next[step] {
                        before.append(graph[step].label(in: graph))
                        step = following
                    }
                    break search
                }
                if let producer = graph[value].producer, onWay.contains(producer), seen.insert(producer).inserted {
                    next[producer] = id
                    queue.append(producer)
                }
            }
        }
        // On to the loss.
        var after: [String] = []
        var previous: [NodeID: NodeID] = [:]
        queue = [node]
        seen = [node]
        forward: while !queue.isEmpty {
            let id = queue.removeFirst()
            for case let output? in graph[id].outputs where dependent.contains(output) {
                if output == loss {
                    var step = id
                    after = [graph[loss].name]
                    while step != node, let source = previous[step] {
                        after.insert(graph[step].label(in: graph), at: 0)
                        step = source
                    }
                    break forward
                }
                for consumer in graph[output].consumers where onWay.contains(consumer) {
                    if seen.insert(consumer).inserted {
                        previous[consumer] = id
                        queue.append(consumer)
                    }
                }
            }
        }
        return before + [graph[node].label(in: graph)] + after
    }
}

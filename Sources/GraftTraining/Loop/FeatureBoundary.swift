import GraftIR

/// Where the frozen, deterministic part of a network ends and the part that trains begins.
///
/// A node belongs to the prefix where it depends on the inputs of the model, and neither it nor anything before it trains,
/// draws random numbers or uses statistics of the batch. What crosses from the prefix to the rest are the features; they
/// are the same at every step.
struct FeatureBoundary {
    /// The values that cross, in the order in which they are made; inputs of the model among them.
    let values: [ValueID]
    /// The nodes of the prefix.
    let prefix: Set<NodeID>

    /// Finds the boundary.
    ///
    /// - Parameters:
    ///   - targets: the values that the rest leads to: the loss.
    ///   - inputs: what the samples give.
    ///   - network: the nodes that may belong to the prefix: those of the model, which validation has too.
    ///   - changing: the values that change from step to step: parameters that train, statistics that follow batches.
    init(
        in graph: Graph, towards targets: [ValueID], inputs: [ValueID], network: Set<NodeID>, changing: Set<ValueID>
    ) {
        var needed = Set<NodeID>()
        var pending = targets.compactMap { graph[$0].producer }
        var read = Set(targets)
        while let id = pending.popLast() {
            guard needed.insert(id).inserted else { continue }
            for value in Self.operands(of: id, in: graph) {
                read.insert(value)
                if let producer = graph[value].producer { pending.append(producer) }
            }
        }
        var fromData = Set(inputs)
        var unsettled = changing
        var prefix = Set<NodeID>()
        for id in graph.order where needed.contains(id) {
            let operands = Self.operands(of: id, in: graph)
            let outputs = graph[id].outputs.compactMap { $0 }
            let isUnsettled =
                !network.contains(id) || Self.isRandom(graph[id]) || operands.contains { unsettled.contains($0) }
            if operands.contains(where: { fromData.contains($0) }) { fromData.formUnion(outputs) }
            if isUnsettled {
                unsettled.formUnion(outputs)
            } else if operands.contains(where: { fromData.contains($0) }) {
                prefix.insert(id)
            }
        }
        var crossing: [ValueID] = []
        var seen = Set<ValueID>()
        for id in graph.order where needed.contains(id) && !prefix.contains(id) {
            for value in Self.operands(of: id, in: graph) where fromData.contains(value) && !unsettled.contains(value) {
                if seen.insert(value).inserted { crossing.append(value) }
            }
        }
        for value in targets where fromData.contains(value) && !unsettled.contains(value) {
            if seen.insert(value).inserted { crossing.append(value) }
        }
        values = crossing
        self.prefix = prefix
    }

    /// Whether nothing lies before the boundary.
    var isEmpty: Bool { prefix.isEmpty }

    private static func isRandom(_ node: Node) -> Bool {
        // An operator that is not known may do anything.
        guard let schema = OperatorRegistry.schema(for: node.op) else { return true }
        // A dropout in its training form follows from its inputs.
        return !schema.isDeterministic && !node.op.type.hasSuffix("Training")
    }

    /// What a node reads, also in its bodies.
    static func operands(of id: NodeID, in graph: Graph) -> [ValueID] {
        graph[id].inputs.compactMap { $0 }
            + graph.bodies(of: id).flatMap { body in
                body.graph.values.compactMap { value in
                    if case .capture(let outer) = body.graph[value].origin { outer } else { nil }
                }
            }
    }
}

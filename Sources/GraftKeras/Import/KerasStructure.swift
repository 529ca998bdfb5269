import GraftCore
import GraftIR

/// The nodes of a graph that a record of calls speaks about.
enum KerasStructure {
    /// The nodes of a call, in order, without those that only change a layout.
    struct Key: Hashable {
        let layer: String
        let call: Int
    }

    /// The nodes of each call.
    static func nodes(of graph: Graph) -> [Key: [NodeID]] {
        var result: [Key: [NodeID]] = [:]
        for id in graph.order {
            let metadata = graph[id].metadata
            guard let layer = metadata[GraphBuilder.layerKey], metadata[GraphBuilder.layoutKey] == nil else { continue }
            let call = metadata[GraphBuilder.callKey].flatMap { Int($0) } ?? 0
            result[Key(layer: layer, call: call), default: []].append(id)
        }
        return result
    }

    /// The digest of the graph, without names of nodes and without the weights that the record knows.
    static func digest(of graph: Graph, _ record: KerasRecord) -> String {
        let positions = Dictionary(graph.order.enumerated().map { ($1, $0) }, uniquingKeysWith: { a, _ in a })
        let nodes = nodes(of: graph)
        var slots = Set<GraphSignature.Slot>()
        for call in record.calls {
            guard let members = nodes[Key(layer: call.layer, call: call.call)] else { continue }
            for slot in call.slots where members.indices.contains(slot.node) {
                if let position = positions[members[slot.node]] {
                    slots.insert(GraphSignature.Slot(node: position, input: slot.input))
                }
            }
        }
        return GraphSignature.whole(graph, weights: slots)
    }
}

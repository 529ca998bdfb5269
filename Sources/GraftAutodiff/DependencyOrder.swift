import GraftIR

/// An order of a graph's nodes in which each comes behind those whose results it reads.
enum DependencyOrder {
    /// Nodes that depend on each other in a circle.
    struct Circle: Error { let nodes: [NodeID] }

    /// The order, as close to the present one as that allows.
    static func of(_ graph: Graph) -> Result<[NodeID], Circle> {
        var result: [NodeID] = []
        result.reserveCapacity(graph.nodeCount)
        var done: Set<NodeID> = []
        var open: Set<NodeID> = []
        // Without recursion: graphs may be long.
        var path: [(node: NodeID, needs: [NodeID])] = []
        func enter(_ id: NodeID) {
            open.insert(id)
            path.append((id, GradientFlow.reads(of: id, in: graph).compactMap { graph[$0].producer }.reversed()))
        }
        for id in graph.order where !done.contains(id) {
            enter(id)
            while let last = path.last {
                guard let next = last.needs.last else {
                    path.removeLast()
                    open.remove(last.node)
                    done.insert(last.node)
                    result.append(last.node)
                    continue
                }
                path[path.count - 1].needs.removeLast()
                if open.contains(next) {
                    let start = path.firstIndex { $0.node == next } ?? 0
                    return .failure(Circle(nodes: path[start...].map(\.node)))
                }
                if !done.contains(next) { enter(next) }
            }
        }
        return .success(result)
    }
}

/// The order in which Keras lists the layers of a functional model.
///
/// Keras loads legacy weights by position in that order, so a writer has to know it: by depth, the layers farthest from
/// an output first, and within a depth in the order in which a walk back from the outputs finds them (`map_graph` in
/// `keras/src/ops/function.py`; Keras 2 does the same in `_map_graph_network`).
enum LayerOrder {
    private struct Call: Hashable {
        let layer: Int
        let call: Int
    }

    /// The positions of the layers; those that no output depends on come last.
    static func order(_ layers: [RaisedLayer], outputs: [RaisedTensor]) -> [Int] {
        func parents(_ call: Call) -> [Call] {
            layers[call.layer].calls[call.call].map { Call(layer: $0.layer, call: $0.call) }
        }
        var indices: [Int: Int] = [:]
        var finished = Set<Call>()
        var decreasing: [Call] = []
        for output in outputs {
            // A walk in depth, with the calls whose parents are being visited on a stack.
            var stack: [(call: Call, next: Int)] = []
            func enter(_ call: Call) {
                guard !finished.contains(call) else { return }
                if indices[call.layer] == nil { indices[call.layer] = indices.count }
                stack.append((call, 0))
            }
            enter(Call(layer: output.layer, call: output.call))
            while let (call, next) = stack.last {
                let sources = parents(call)
                if next < sources.count {
                    stack[stack.count - 1].next += 1
                    enter(sources[next])
                } else {
                    stack.removeLast()
                    if finished.insert(call).inserted { decreasing.append(call) }
                }
            }
        }
        var callDepth: [Call: Int] = [:]
        var layerDepth: [Int: Int] = [:]
        for call in decreasing.reversed() {
            let depth = max(callDepth[call] ?? 0, layerDepth[call.layer] ?? 0)
            layerDepth[call.layer] = depth
            callDepth[call] = depth
            for parent in parents(call) { callDepth[parent] = max(callDepth[parent] ?? 0, depth + 1) }
        }
        return layers.indices.sorted { a, b in
            let (depthA, depthB) = (layerDepth[a] ?? -1, layerDepth[b] ?? -1)
            if depthA != depthB { return depthA > depthB }
            return (indices[a] ?? a) < (indices[b] ?? b)
        }
    }
}

import GraftIR
import GraftReport

extension ModelSummary {
    /// The model drawn as boxes and arrows: layers, or blocks where there are more layers than anyone reads.
    func diagram(title: String, limit: Int = 500) -> Diagram {
        let units = self.units(limit: limit)
        var unitOfNode: [NodeID: Int] = [:]
        for (index, unit) in units.enumerated() { for node in unit.nodes { unitOfNode[node] = index } }
        let graph = model.graph
        var boxes: [Diagram.Box] = []
        var boxOfInput: [ValueID: Int] = [:]
        for id in graph.inputs where graph[id].initializer == nil {
            boxOfInput[id] = boxes.count
            boxes.append(
                Diagram.Box(
                    title: graph[id].name, lines: [types.shape(of: id)?.description ?? ""], style: .input))
        }
        let offset = boxes.count
        boxes += units.map(\.box)
        var edges: [(from: Int, to: Int, label: String)] = []
        var seen = Set<[Int]>()
        for id in graph.values {
            let from: Int?
            switch graph[id].origin {
            case .node(let node, _): from = unitOfNode[node].map { $0 + offset }
            case .input: from = boxOfInput[id]
            default: from = nil
            }
            guard let from else { continue }
            for consumer in graph[id].consumers {
                guard let to = unitOfNode[consumer].map({ $0 + offset }), to != from,
                    seen.insert([from, to]).inserted
                else { continue }
                edges.append((from, to, types.shape(of: id)?.description ?? ""))
            }
        }
        for output in graph.outputs {
            guard let node = graph[output].producer, let from = unitOfNode[node] else { continue }
            edges.append((from + offset, boxes.count, types.shape(of: output)?.description ?? ""))
            boxes.append(Diagram.Box(title: graph[output].name, style: .output))
        }
        return Diagram(title: title, boxes: boxes, edges: edges)
    }

    private struct Unit {
        let nodes: [NodeID]
        let box: Diagram.Box
    }

    private func units(limit: Int) -> [Unit] {
        let indices = tree.layers.indices.filter { tree.layers[$0].isLeaf }
        let shown: [Int]
        if indices.count <= limit {
            shown = indices
        } else {
            // Too many leaves: the outermost layers stand for what they hold.
            shown = tree.layers.indices.filter { tree.layers[$0].parent == nil }
        }
        let positions = Dictionary(
            uniqueKeysWithValues: model.graph.order.enumerated().map { ($0.element, $0.offset) })
        return shown.map { index in
            let row = rows[index]
            var lines = [row.operators.prefix(4).joined(separator: " ")]
            if row.parameters > 0 { lines.append("\(Format.count(row.parameters)) parameters") }
            return Unit(
                nodes: tree.nodes(under: index),
                box: Diagram.Box(
                    title: row.path, lines: lines, style: Self.style(row.kind), isTrainable: row.trainable > 0))
        }.sorted { ($0.nodes.first.flatMap { positions[$0] } ?? 0) < ($1.nodes.first.flatMap { positions[$0] } ?? 0) }
    }

    private static func style(_ kind: LayerKind) -> Diagram.Box.Style {
        switch kind {
        case .convolution: .convolution
        case .linear, .embedding, .recurrent: .linear
        case .normalization: .normalization
        case .pooling: .pooling
        case .activation: .activation
        case .merge: .merge
        default: .other
        }
    }
}

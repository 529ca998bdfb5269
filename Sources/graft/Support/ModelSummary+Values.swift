import GraftCore
import GraftIR

extension ModelSummary {
    /// What is known of one value that a node makes.
    private struct Line {
        let name: String
        let type: String
        let op: String
    }

    private var lines: [Line] {
        model.graph.order.flatMap { id -> [Line] in
            let node = model.graph[id]
            return node.outputs.compactMap { output in
                guard let output else { return nil }
                let type = types.type(of: output) ?? model.graph[output].type
                return Line(
                    name: model.graph[output].name, type: type.map(Self.text) ?? "?", op: node.op.description)
            }
        }
    }

    private static func text(_ type: ValueType) -> String {
        switch type.kind {
        case .tensor(let element, let shape), .sparseTensor(let element, let shape):
            "\(element?.name ?? "?") \(shape?.description ?? "of unknown rank")"
        case .sequence(let element): "sequence of \(element.map(text) ?? "?")"
        case .optional(let element): "optional \(element.map(text) ?? "?")"
        case .map(let key, let value): "map of \(key?.name ?? "?") to \(value.map(text) ?? "?")"
        case .opaque(let domain, let name): "\(domain).\(name)"
        case .unspecified: "?"
        }
    }

    /// Every value that a node makes, in order, with its type and shape.
    var valuesText: String {
        var table = Table([("value", .left), ("type and shape", .left), ("made by", .left)])
        for line in lines { table.add([line.name, line.type, line.op]) }
        return table.text()
    }
}

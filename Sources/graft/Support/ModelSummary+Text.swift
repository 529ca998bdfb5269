import GraftCore
import GraftData
import GraftFormats
import GraftIR
import OrderedCollections

extension ModelSummary {
    /// The summary as lines that fit 80 columns.
    func text(path: String, format: String, depth: Int?) -> String {
        let graph = model.graph
        var lines = ["\(path)  (\(origin(format)))"]
        func field(_ name: String, _ value: String) {
            let title = name + String(repeating: " ", count: max(1, 15 - name.count))
            lines.append(title + value)
        }
        for (title, ids) in [("input", graph.inputs), ("output", graph.outputs)] {
            for id in ids where title == "output" || graph[id].initializer == nil {
                let type = types.type(of: id) ?? graph[id].type
                field(
                    title,
                    "\(graph[id].name)  \(type?.elementType?.name ?? "?") \(type?.shape?.description ?? "[...]")")
            }
        }
        if let labels = model.classLabels {
            let shown = labels.names.prefix(6).joined(separator: ", ")
            field("labels", "\(labels.names.count): \(shown)\(labels.names.count > 6 ? ", ..." : "")")
        }
        field("head", headText)
        if let contract = annotations.preprocessing.flatMap({ try? Preprocessing(json: $0) }) {
            field("preprocessing", contract.summary)
        }
        let multiply = multiplyAdds.map { ", \(Format.short($0)) multiply-adds a sample" } ?? ""
        field(
            "parameters",
            "\(Format.count(parameterCount)), \(Format.count(trainableCount)) trainable\(multiply); "
                + Format.bytes(weightBytes))
        lines.append("")
        lines.append(table(depth: depth))
        return lines.joined(separator: "\n")
    }

    private func origin(_ format: String) -> String {
        var parts = [format]
        if format.hasPrefix("onnx") {
            parts.append("opset \(model.opset().map(String.init) ?? "?")")
            parts.append("IR \(model.irVersion)")
        }
        let producer = [model.producerName, model.producerVersion].filter { !$0.isEmpty }.joined(separator: " ")
        if !producer.isEmpty { parts.append(producer) }
        return parts.joined(separator: ", ")
    }

    private var headText: String {
        if let head = tree.head { return head.reason }
        do {
            _ = try HeadFinder(model).head()
            return "none found"
        } catch {
            return error.description
        }
    }

    private func table(depth: Int?) -> String {
        var table = Table([
            ("layer", .left), ("kind", .left), ("output", .left), ("params", .right), ("madds", .right),
            ("state", .left),
        ])
        for row in rows where depth.map({ row.indentation < $0 }) ?? true {
            table.add([
                String(repeating: "  ", count: row.indentation) + (row.indentation == 0 ? row.path : row.name),
                row.kind == .other ? row.operators.first ?? "" : row.kind.rawValue, row.shape,
                row.parameters == 0 ? "" : Format.count(row.parameters),
                row.multiplyAdds.map { $0 == 0 ? "" : Format.short($0) } ?? "?", state(row),
            ])
        }
        return table.text(width: 100)
    }

    private func state(_ row: Row) -> String {
        guard row.parameters > 0 else { return "" }
        let share = row.trainable == 0 ? "frozen" : row.trainable == row.parameters ? "trains" : "partly"
        return row.groups.isEmpty ? share : "\(share) \(row.groups.joined(separator: ","))"
    }

    /// The summary for machines.
    func json(path: String, format: String) -> JSON {
        let graph = model.graph
        func port(_ id: ValueID) -> JSON {
            let type = types.type(of: id) ?? graph[id].type
            return [
                "name": JSON(graph[id].name), "type": JSON(optional: type?.elementType?.name),
                "shape": type?.shape.map(Self.json) ?? .null,
            ]
        }
        var result: JSON = [
            "path": JSON(path), "format": JSON(format), "producer": JSON(model.producerName),
            "producer_version": JSON(model.producerVersion), "ir_version": JSON(model.irVersion),
            "opsets": .object(
                .init(
                    model.opsets.map { ($0.domain.isEmpty ? "ai.onnx" : $0.domain, JSON($0.version)) },
                    uniquingKeysWith: { $1 })),
            "inputs": JSON(graph.inputs.filter { graph[$0].initializer == nil }.map(port)),
            "outputs": JSON(graph.outputs.map(port)),
            "labels": model.classLabels.map { JSON($0.names) } ?? .null,
            "parameters": JSON(parameterCount), "trainable_parameters": JSON(trainableCount),
            "multiply_adds": multiplyAdds.map { JSON($0) } ?? .null, "weight_bytes": JSON(weightBytes),
            "nodes": JSON(graph.nodeCount),
        ]
        result["head"] =
            tree.head.map {
                [
                    "node": JSON(graph[$0.node].label(in: graph)), "features": JSON(graph[$0.features].name),
                    "logits": JSON(graph[$0.logits].name), "feature_count": JSON($0.featureCount),
                    "class_count": JSON($0.classCount), "reason": JSON($0.reason),
                ]
            } ?? .null
        result["preprocessing"] = annotations.preprocessing ?? .null
        result["layers"] = JSON(
            rows.map {
                [
                    "path": JSON($0.path), "kind": JSON($0.kind.rawValue), "operators": JSON($0.operators),
                    "output": JSON($0.shape), "parameters": JSON($0.parameters), "trainable": JSON($0.trainable),
                    "multiply_adds": $0.multiplyAdds.map { JSON($0) } ?? .null, "groups": JSON($0.groups),
                ]
            })
        result["values"] = JSON(
            graph.order.flatMap { graph[$0].outputs.compactMap { $0 } }.map { id in
                ["name": JSON(graph[id].name), "shape": types.shape(of: id).map(Self.json) ?? .null]
            })
        return result
    }

    private static func json(_ shape: SymbolicShape) -> JSON {
        JSON(
            shape.dimensions.map { dimension in
                switch dimension.extent {
                case .fixed(let count) where count >= 0: JSON(count)
                case .symbol(let name) where !name.isEmpty: JSON(name)
                default: .null
                }
            })
    }
}

extension Preprocessing {
    /// The contract in a line.
    var summary: String {
        let how =
            switch resize {
            case .crop(let side): "short side to \(side), middle cut out"
            case .stretch: "stretched"
            case .pad: "fitted and padded"
            }
        func list(_ numbers: [Double]) -> String {
            let all = Set(numbers).count == 1 ? Array(numbers.prefix(1)) : numbers
            return all.map { Format.decimal($0, digits: 3) }.joined(separator: " ")
        }
        return "\(height)x\(width) \(channels.rawValue), \(how), \(filter.rawValue); x \(Format.scientific(scale)), "
            + "mean \(list(mean)), std \(list(std))"
    }
}

import GraftCore
import GraftIR
import GraftRuntime

/// A run's time line in Chrome's trace event format: an array of complete events, one each time a node ran.
struct ChromeTrace {
    private let events: JSON

    /// The events of a profile.
    ///
    /// - Parameters:
    ///   - model: the model that ran, for layers and shapes.
    ///   - inputs: what it ran on.
    init(_ profile: Profile, of model: Model, inputs: [String: Tensor]) {
        let details = Self.details(model, inputs)
        let origin = profile.events.first?.start ?? 0
        events = JSON(
            profile.events.map { event -> JSON in
                let entry = profile.entries[event.entry]
                return [
                    "name": JSON(entry.node), "cat": JSON(entry.op.description), "ph": "X",
                    "ts": JSON(Double(event.start &- origin) / 1000), "dur": JSON(Double(event.nanoseconds) / 1000),
                    "pid": 1, "tid": 1, "args": details[entry.node] ?? [:],
                ]
            })
    }

    /// Writes the events.
    func write(to path: String) throws { try AtomicFile.write(text: events.text(.indented) + "\n", to: path) }

    /// The layer and the shapes of each node, by the name that a profile lists it under.
    private static func details(_ model: Model, _ inputs: [String: Tensor]) -> [String: JSON] {
        let graph = model.graph
        let tree = try? LayerTree(model)
        let known = Set(graph.inputs.map { graph[$0].name })
        let shapes = inputs.filter { known.contains($0.key) }.mapValues { ShapeOverride(SymbolicShape($0.shape)) }
        let types = try? Inference.inferTypes(of: model, inputs: shapes)
        func list(_ values: [ValueID?]) -> JSON {
            JSON(
                values.map { value -> JSON in
                    guard let value else { return .null }
                    let shape = types?.shape(of: value) ?? graph[value].shape
                    return shape.map { JSON($0.description) } ?? .null
                })
        }
        var result: [String: JSON] = [:]
        for id in graph.order {
            let node = graph[id]
            var entry: JSON = ["inputs": list(node.inputs), "outputs": list(node.outputs)]
            if let layer = tree?.layer(of: id)?.path { entry["layer"] = JSON(layer) }
            for name in [node.name, node.label(in: graph)] where !name.isEmpty && result[name] == nil {
                result[name] = entry
            }
        }
        return result
    }
}

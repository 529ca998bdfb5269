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
        let details = NodeDetails(model, inputs).entries
        let origin = profile.events.map(\.start).min() ?? 0
        events = JSON(
            profile.events.sorted { $0.start < $1.start }.map { event -> JSON in
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
}

/// The layer and the shapes of each node, by the name that a profile lists it under.
private struct NodeDetails {
    private(set) var entries: [String: JSON] = [:]
    private let functions: [OperatorName: Function]

    init(_ model: Model, _ inputs: [String: Tensor]) {
        let graph = model.graph
        functions = Dictionary(model.functions.map { ($0.name.canonical, $0) }) { first, _ in first }
        let known = Set(graph.inputs.map { graph[$0].name })
        let shapes = inputs.filter { known.contains($0.key) }.mapValues { ShapeOverride(SymbolicShape($0.shape)) }
        let tree = try? LayerTree(model)
        add(graph, try? Inference.inferTypes(of: model, inputs: shapes), prefix: "") { tree?.layer(of: $0)?.path }
    }

    /// Adds the nodes of a graph, and those of bodies and called functions, which are in the layer of their node.
    private mutating func add(
        _ graph: Graph, _ types: InferredTypes?, prefix: String, layer: (NodeID) -> String?
    ) {
        func list(_ values: [ValueID?]) -> JSON {
            JSON(
                values.map { value -> JSON in
                    guard let value else { return .null }
                    let shape = types?.shape(of: value) ?? graph[value].shape
                    return shape.map { JSON($0.description) } ?? .null
                })
        }
        for id in graph.order {
            let node = graph[id]
            let label = node.label(in: graph)
            let path = layer(id)
            var entry: JSON = ["inputs": list(node.inputs), "outputs": list(node.outputs)]
            if let path { entry["layer"] = JSON(path) }
            for name in [node.name, label] where !name.isEmpty && entries[prefix + name] == nil {
                entries[prefix + name] = entry
            }
            for (attribute, index, body) in graph.bodies(of: id) {
                let inner = types?.bodies[InferredTypes.Body(node: id, attribute: attribute, index: index)]
                add(body, inner, prefix: "\(prefix)\(label)/") { _ in path }
            }
            if let inner = types?.calls[id], let function = functions[node.op.canonical] {
                add(function.body(boundTo: node.attributes), inner, prefix: "\(prefix)\(label)/") { _ in path }
            }
        }
    }
}

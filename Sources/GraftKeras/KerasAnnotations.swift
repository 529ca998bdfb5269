import GraftCore
import GraftHDF5
import GraftIR
import OrderedCollections

/// Annotations in Keras files: `trainable` of each layer, and one root attribute with everything that Keras has no word
/// for.
enum KerasAnnotations {
    /// The root attribute: a JSON object of the model's metadata under `graft.`.
    static let attribute = "graft"

    /// Takes over what the file says.
    ///
    /// Of what both say, `trainable` counts: another program may have changed it.
    static func read(_ root: HDF5Group, _ record: KerasRecord, into model: inout Model) throws {
        if let text = root.attributes[attribute]?.string, let json = try? JSON(parsing: text) {
            for (key, value) in json.object ?? [:] where key.hasPrefix("graft.") {
                if let text = value.string { model.metadata[key] = text }
            }
        }
        var annotations = try model.annotations()
        let parameters = LayerParameters(model.graph, record)
        for (layer, isTrainable) in record.trainable {
            let names = parameters.trained[layer] ?? []
            if !isTrainable {
                annotations.frozen.formUnion(names)
                for mean in parameters.means[layer] ?? [] { annotations.batchNorm[mean] = .frozen }
            } else if !names.isEmpty, names.allSatisfy({ annotations.frozen.contains($0) }) {
                annotations.frozen.subtract(names)
                for mean in parameters.means[layer] ?? [] { annotations.batchNorm[mean] = nil }
            }
        }
        // Scales of one and shifts of zero that stand in for switched-off ones are no parameters.
        annotations.frozen.formUnion(parameters.substitutes)
        if annotations != (try model.annotations()) { model.setAnnotations(annotations) }
    }

    /// The text of the root attribute; nil where there is nothing to say.
    static func text(_ metadata: Metadata) -> String? {
        var object: OrderedDictionary<String, JSON> = [:]
        for entry in metadata.entries where entry.key.hasPrefix("graft.") { object[entry.key] = JSON(entry.value) }
        return object.isEmpty ? nil : JSON.object(object).text()
    }
}

/// The stored tensors of each layer, by the layer's path.
struct LayerParameters {
    /// Those that training may change.
    private(set) var trained: [String: [String]] = [:]
    /// The running means of batch normalizations.
    private(set) var means: [String: [String]] = [:]
    /// Scales and shifts of batch normalizations that the layer does not have.
    private(set) var substitutes: [String] = []

    /// The names of weights that are never trained.
    static let statistics: Set<String> = ["moving_mean", "moving_variance", "mean", "variance", "count"]

    init(_ graph: Graph, _ record: KerasRecord) {
        let nodes = KerasStructure.nodes(of: graph)
        for call in record.calls {
            guard let members = nodes[KerasStructure.Key(layer: call.layer, call: call.call)] else { continue }
            for slot in call.slots {
                guard members.indices.contains(slot.node),
                    graph[members[slot.node]].inputs.indices.contains(slot.input),
                    let value = graph[members[slot.node]].inputs[slot.input], graph[value].isInitializer
                else { continue }
                let name = graph[value].name
                if slot.leaf == "moving_mean" { Self.append(name, to: &means[call.layer, default: []]) }
                if !Self.statistics.contains(slot.leaf) { Self.append(name, to: &trained[call.layer, default: []]) }
            }
            for id in members where graph[id].op.isONNX("BatchNormalization") {
                for input in [1, 2] {
                    guard let value = graph[id].inputs[input], graph[value].isInitializer,
                        !(trained[call.layer] ?? []).contains(graph[value].name)
                    else { continue }
                    Self.append(graph[value].name, to: &substitutes)
                }
            }
        }
    }

    private static func append(_ name: String, to list: inout [String]) {
        if !list.contains(name) { list.append(name) }
    }
}

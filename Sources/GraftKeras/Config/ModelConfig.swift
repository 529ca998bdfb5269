import GraftCore
import OrderedCollections

/// One tensor of a model's graph: an output of a call of a layer.
struct TensorReference: Hashable, Sendable {
    let layer: String
    let call: Int
    let output: Int
}

/// One call of a layer.
struct LayerCall: Sendable {
    /// The tensors that the call takes, in order of appearance in its arguments.
    var inputs: [TensorReference]
    /// The arguments as the file holds them.
    var arguments: JSON
}

/// The graph of layers of a model, whatever dialect its configuration is written in.
struct ModelConfig: Sendable {
    /// The name of the model.
    let name: String
    /// `Functional` or `Sequential`; older files say `Model`.
    let className: String
    /// The layers in the file's order with their calls.
    let layers: OrderedDictionary<String, (config: LayerConfig, calls: [LayerCall])>
    /// The tensors that the caller gives.
    let inputs: [TensorReference]
    /// The tensors that the model gives out.
    let outputs: [TensorReference]
    /// Whether the model is trained as a whole.
    let isTrainable: Bool

    /// Reads a model's configuration.
    init(_ layer: LayerConfig, limits: Limits) throws(KerasError) {
        className = layer.className
        name = layer.settings["name"]?.string ?? layer.name
        isTrainable = layer.isTrainable
        let list = layer.settings.array ?? layer.settings["layers"]?.array
        guard let list, !list.isEmpty else { throw layer.malformed("layers", expected: "a list of layers") }
        guard list.count <= limits.objectCount else { throw layer.malformed("layers", expected: "fewer layers") }
        if layer.className == "Sequential" {
            (layers, inputs, outputs) = try Self.sequential(layer, list)
        } else {
            (layers, inputs, outputs) = try Self.functional(layer, list)
        }
    }

    private typealias Parts = (
        OrderedDictionary<String, (config: LayerConfig, calls: [LayerCall])>, [TensorReference], [TensorReference]
    )

    /// A chain of layers; where it does not begin with an input, one is made from the first layer's declared shape.
    private static func sequential(_ model: LayerConfig, _ list: [JSON]) throws(KerasError) -> Parts {
        var layers: OrderedDictionary<String, (config: LayerConfig, calls: [LayerCall])> = [:]
        var configs: [LayerConfig] = []
        for json in list { configs.append(try LayerConfig(json, file: model.file, place: "model \"\(model.name)\"")) }
        if configs[0].className != "InputLayer" {
            var shape = configs[0].declaredShape.map { JSON($0.map { $0.map { JSON($0) } ?? .null }) }
            if configs[0].isModel {
                shape = shape ?? firstShape(of: configs[0])
            }
            guard let shape = shape ?? model["build_input_shape"] else {
                throw model.unsupported("it does not say the shape of its input; build the model before saving it")
            }
            let name = "\(configs[0].name)_input"
            configs.insert(
                LayerConfig(
                    className: "InputLayer", name: name, settings: ["batch_shape": shape, "name": JSON(name)],
                    file: model.file), at: 0)
        }
        var previous: TensorReference?
        for config in configs {
            guard layers[config.name] == nil else { throw model.malformed(config.name, expected: "one layer a name") }
            let inputs = previous.map { [$0] } ?? []
            layers[config.name] = (config, [LayerCall(inputs: inputs, arguments: [:])])
            previous = TensorReference(layer: config.name, call: 0, output: 0)
        }
        let input = TensorReference(layer: configs[0].name, call: 0, output: 0)
        return (layers, [input], previous.map { [$0] } ?? [])
    }

    private static func firstShape(of model: LayerConfig) -> JSON? {
        let first = (model.settings.array ?? model.settings["layers"]?.array)?.first
        return first?["config"]?["batch_shape"] ?? first?["config"]?["batch_input_shape"]
    }

    private static func functional(_ model: LayerConfig, _ list: [JSON]) throws(KerasError) -> Parts {
        var layers: OrderedDictionary<String, (config: LayerConfig, calls: [LayerCall])> = [:]
        for json in list {
            let config = try LayerConfig(json, file: model.file, place: "model \"\(model.name)\"")
            guard layers[config.name] == nil else { throw model.malformed(config.name, expected: "one layer a name") }
            layers[config.name] = (config, try InboundNodes.calls(of: config, json["inbound_nodes"] ?? []))
        }
        var resolver = NodeIndexResolver(layers: layers)
        for (name, entry) in layers {
            for (index, call) in entry.calls.enumerated() {
                for (position, input) in call.inputs.enumerated() {
                    layers[name]!.calls[index].inputs[position] = try resolver.resolve(input, in: model)
                }
            }
        }
        resolver.isInOutputs = true
        var ends: [[TensorReference]] = []
        for setting in ["input_layers", "output_layers"] {
            var references: [TensorReference] = []
            for reference in InboundNodes.references(in: model.settings[setting] ?? []) {
                references.append(try resolver.resolve(reference, in: model))
            }
            guard !references.isEmpty else { throw model.malformed(setting, expected: "layers") }
            ends.append(references)
        }
        return (layers, ends[0], ends[1])
    }
}

/// Reads the calls of a layer from `inbound_nodes`.
enum InboundNodes {
    /// The calls of a layer.
    ///
    /// Keras 2 writes a list of `[layer, node, tensor, kwargs]` for each call, or one such entry for a function of one
    /// tensor; Keras 3 writes `{args, kwargs}` with serialized tensors. An input layer has one call without inputs.
    static func calls(of layer: LayerConfig, _ json: JSON) throws(KerasError) -> [LayerCall] {
        guard let nodes = json.array else { throw layer.malformed("inbound_nodes", expected: "a list") }
        if nodes.isEmpty { return [LayerCall(inputs: [], arguments: [:])] }
        var calls: [LayerCall] = []
        for node in nodes {
            if node.object != nil {
                guard node["args"] != nil else { throw layer.malformed("inbound_nodes", expected: "args and kwargs") }
                var found: [TensorReference] = []
                collect(node, keras3: true, into: &found, depth: 0)
                calls.append(LayerCall(inputs: found, arguments: node))
            } else {
                let entries = node.array ?? []
                var found: [TensorReference] = []
                for entry in entries.first?.string != nil ? [node] : entries {
                    guard let reference = triple(entry) else {
                        throw layer.malformed("inbound_nodes", expected: "entries of layer, node and tensor")
                    }
                    found.append(reference)
                    if let keywords = entry[3]?.object {
                        for value in keywords.values { collect(value, keras3: false, into: &found, depth: 0) }
                    }
                }
                calls.append(LayerCall(inputs: found, arguments: node))
            }
        }
        return calls
    }

    /// The references in `input_layers` or `output_layers`: one triple, a list, or a dictionary of them.
    static func references(in json: JSON) -> [TensorReference] {
        if let one = triple(json) { return [one] }
        if let members = json.object { return members.values.flatMap(references) }
        return json.array?.flatMap(references) ?? []
    }

    private static func triple(_ json: JSON) -> TensorReference? {
        guard let parts = json.array, parts.count >= 3, let layer = parts[0].string, let call = parts[1].int,
            let output = parts[2].int
        else { return nil }
        return TensorReference(layer: layer, call: call, output: output)
    }

    private static func collect(_ json: JSON, keras3: Bool, into found: inout [TensorReference], depth: Int) {
        guard depth < 100 else { return }
        if keras3, json["class_name"]?.string == "__keras_tensor__" {
            if let history = json["config"]?["keras_history"], let reference = triple(history) {
                found.append(reference)
            }
            return
        }
        if !keras3, let reference = triple(json), json.array?.count == 3 {
            found.append(reference)
            return
        }
        for value in json.array ?? json.object.map({ Array($0.values) }) ?? [] {
            collect(value, keras3: keras3, into: &found, depth: depth + 1)
        }
    }
}

/// Turns the call numbers of a file into positions in the list of a layer's calls.
///
/// Keras 2 counts the call by which a nested model was built, so its first use is number 1; Keras 3 does so only in
/// `output_layers`.
private struct NodeIndexResolver {
    let layers: OrderedDictionary<String, (config: LayerConfig, calls: [LayerCall])>
    var isInOutputs = false

    func resolve(_ reference: TensorReference, in model: LayerConfig) throws(KerasError) -> TensorReference {
        if reference.layer == "_CONSTANT_VALUE" || reference.call < 0 {
            throw model.unsupported("a call takes a constant as its first argument")
        }
        guard let (config, calls) = layers[reference.layer] else {
            throw model.malformed(reference.layer, expected: "a layer of that name")
        }
        var call = reference.call
        if config.isModel {
            let isKeras2 = !calls.contains { $0.arguments.object?["args"] != nil }
            let countsBuilding = isKeras2 || isInOutputs && config.className != "Sequential"
            if countsBuilding && call > 0 || call >= calls.count { call -= 1 }
        }
        guard calls.indices.contains(call), reference.output >= 0 else {
            throw model.malformed(
                "\(reference.layer), node \(reference.call)", expected: "a call that the layer has")
        }
        return TensorReference(layer: reference.layer, call: call, output: reference.output)
    }
}

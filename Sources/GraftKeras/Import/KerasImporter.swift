import GraftCore
import GraftHDF5
import GraftIR
import OrderedCollections

/// Turns a Keras model's configuration and weights into a graph.
struct KerasImporter {
    private var builder: GraphBuilder
    private let file: String
    private let limits: Limits
    private let weightGroups: [String: WeightGroup]
    /// Whether each layer, by its path, is trained.
    private(set) var trainable: OrderedDictionary<String, Bool> = [:]
    /// How the calls were lowered.
    private(set) var calls: [CallRecord] = []

    init(file: String, isKeras2: Bool, weights: [String: WeightGroup], limits: Limits) {
        builder = GraphBuilder(file: file, isKeras2: isKeras2)
        self.file = file
        self.limits = limits
        weightGroups = weights
    }

    /// The graph of a model with its inputs and outputs in the form that Keras gives them.
    mutating func build(_ model: ModelConfig) throws -> GraphBuilder {
        try checkCovered(model, path: "", depth: 0)
        var inputs: [ImportedTensor] = []
        for reference in model.inputs {
            guard let config = model.layers[reference.layer]?.config else { continue }
            inputs.append(try input(config))
        }
        let outputs = try lower(
            model, inputs, path: "", topLevel: nil, isTrainable: model.isTrainable, call: 0, depth: 0)
        for (index, output) in outputs.enumerated() {
            builder.begin(model.outputs[index].layer, call: 0, arguments: .null, weights: [:])
            try giveOut(builder.plain(output).value, name: model.outputs[index].layer)
        }
        return builder
    }

    /// Names every layer that is not covered before anything is built.
    private func checkCovered(_ model: ModelConfig, path: String, depth: Int) throws {
        guard depth < limits.nestingDepth else {
            throw KerasError.malformed(path: file, place: path, expected: "models that are not nested so deeply")
        }
        for (name, (config, calls)) in model.layers {
            if config.className == "InputLayer" { continue }
            if config.isModel {
                try checkCovered(try ModelConfig(config, limits: limits), path: "\(path)\(name)/", depth: depth + 1)
                continue
            }
            guard LayerRegistry.family(of: config.className) != nil else {
                let shown = LayerConfig(
                    className: config.className, name: path + name, settings: config.settings, file: file)
                throw shown.unsupported("layers of this class are not covered yet")
            }
            let dtype = config.dtypeName
            guard dtype == "float32" else {
                throw config.unsupported("it computes in \(dtype); only float32 is covered")
            }
            guard !calls.isEmpty else { throw config.malformed("inbound_nodes", expected: "a call") }
        }
    }

    private mutating func input(_ config: LayerConfig) throws -> ImportedTensor {
        guard let shape = config.declaredShape, !shape.isEmpty, shape.count <= 8,
            shape.dropFirst().allSatisfy({ $0 == nil || $0! > 0 })
        else { throw config.malformed("batch_shape", expected: "a shape") }
        guard config.dtypeName == "float32" else {
            throw config.unsupported("inputs of type \(config.dtypeName); only float32 is covered")
        }
        return builder.input(config.name, shape: shape, type: .float32)
    }

    private mutating func giveOut(_ value: ValueID, name: String) throws {
        var value = value
        // A value can be an input, or be given out twice; an output has a name of its own.
        if builder.graph[value].producer == nil || builder.graph[value].isOutput {
            value = builder.emit("Identity", [value], shape: builder.shape(of: value), suffix: "output")
        }
        if let other = builder.graph.value(named: name), other != value {
            if builder.graph[other].origin == .input {
                builder.graph.rename(value, to: builder.graph.uniqueValueName("\(name)_output"))
            } else {
                builder.graph.rename(other, to: builder.graph.uniqueValueName("\(name)_inner"))
                builder.graph.rename(value, to: name)
            }
        } else {
            builder.graph.rename(value, to: name)
        }
        builder.graph.addOutput(value)
    }

    /// One call of one layer.
    private struct CallKey: Hashable {
        let layer: String
        let call: Int
    }

    /// Lowers all calls of a model, each after those that it takes its inputs from.
    private mutating func lower(
        _ model: ModelConfig, _ inputs: [ImportedTensor], path: String, topLevel: String?, isTrainable: Bool, call: Int,
        depth: Int
    ) throws -> [ImportedTensor] {
        var results: [CallKey: [ImportedTensor]] = [:]
        for (reference, input) in zip(model.inputs, inputs) {
            results[CallKey(layer: reference.layer, call: reference.call)] = [input]
        }
        var waiting: [CallKey: Int] = [:]
        var followers: [CallKey: [CallKey]] = [:]
        var ready: [CallKey] = []
        for (name, (_, calls)) in model.layers {
            for (index, call) in calls.enumerated() {
                let key = CallKey(layer: name, call: index)
                if results[key] != nil { continue }
                let sources = Set(call.inputs.map { CallKey(layer: $0.layer, call: $0.call) })
                    .filter { results[$0] == nil }
                waiting[key] = sources.count
                for source in sources { followers[source, default: []].append(key) }
                if sources.isEmpty { ready.append(key) }
            }
        }
        var next = 0
        var done = 0
        while next < ready.count {
            let key = ready[next]
            next += 1
            done += 1
            guard let (config, calls) = model.layers[key.layer] else { continue }
            let arguments = try calls[key.call].inputs.map { try self.tensor($0, in: results, config) }
            results[key] = try lowerCall(
                config, calls[key.call], arguments, path: path, topLevel: topLevel, isTrainable: isTrainable,
                call: call + key.call, depth: depth)
            for follower in followers[key] ?? [] {
                waiting[follower]! -= 1
                if waiting[follower] == 0 { ready.append(follower) }
            }
        }
        guard done == waiting.count else {
            throw KerasError.malformed(
                path: file, place: "model \"\(model.name)\"", expected: "layers without a circle")
        }
        return try model.outputs.map { reference in
            guard let config = model.layers[reference.layer]?.config else {
                throw KerasError.malformed(path: file, place: reference.layer, expected: "a layer")
            }
            return try tensor(reference, in: results, config)
        }
    }

    private func tensor(
        _ reference: TensorReference, in results: [CallKey: [ImportedTensor]], _ config: LayerConfig
    ) throws -> ImportedTensor {
        guard let made = results[CallKey(layer: reference.layer, call: reference.call)],
            made.indices.contains(reference.output)
        else { throw config.malformed(reference.layer, expected: "an output number \(reference.output)") }
        return made[reference.output]
    }

    private mutating func lowerCall(
        _ config: LayerConfig, _ given: LayerCall, _ arguments: [ImportedTensor], path: String, topLevel: String?,
        isTrainable: Bool, call: Int, depth: Int
    ) throws -> [ImportedTensor] {
        let layerPath = path + config.name
        if config.className == "InputLayer" {
            throw config.unsupported("an input of a model that is not among its inputs")
        }
        if config.isModel {
            let model = try ModelConfig(config, limits: limits)
            guard model.inputs.count == arguments.count else {
                throw config.malformed("inbound_nodes", expected: "\(model.inputs.count) inputs")
            }
            return try lower(
                model, arguments, path: "\(layerPath)/", topLevel: topLevel ?? config.name,
                isTrainable: isTrainable && model.isTrainable, call: call, depth: depth + 1)
        }
        guard let family = LayerRegistry.family(of: config.className) else {
            throw config.unsupported("layers of this class are not covered yet")
        }
        let isTopLevel = topLevel == nil
        let group = weightGroups[topLevel ?? config.name]
        var weights: OrderedDictionary<String, WeightGroup.Weight> = [:]
        for weight in group?.weights(ofLayer: config.name, isTopLevel: isTopLevel) ?? [] {
            guard weights[weight.leaf] == nil else {
                throw KerasError.weights(
                    path: file, layer: layerPath,
                    reason: "several weights are named \(weight.leaf), so it cannot be told which belongs to it")
            }
            weights[weight.leaf] = weight
        }
        // Layers of one name in different nested models are different layers.
        trainable[layerPath] = isTrainable && config.isTrainable
        builder.begin(layerPath, call: call, arguments: given.arguments, weights: weights)
        let named = LayerConfig(className: config.className, name: layerPath, settings: config.settings, file: file)
        let first = builder.graph.order.count
        let results = try family.lower(named, arguments, &builder)
        record(named, topLevel: topLevel ?? config.name, call: call, from: first, arguments, results, weights: weights)
        return results
    }

    /// Notes how a call was lowered, so that the layer can be written back.
    private mutating func record(
        _ layer: LayerConfig, topLevel: String, call: Int, from first: Int, _ arguments: [ImportedTensor],
        _ results: [ImportedTensor], weights: OrderedDictionary<String, WeightGroup.Weight>
    ) {
        let graph = builder.graph
        let nodes = graph.order[first...].filter { graph[$0].metadata[GraphBuilder.layoutKey] == nil }
        let records = builder.records[layer.name] ?? [:]
        var slots: [CallRecord.Slot] = []
        for (index, id) in nodes.enumerated() {
            for (position, input) in graph[id].inputs.enumerated() {
                for (leaf, record) in records where record.value == input {
                    slots.append(
                        CallRecord.Slot(
                            leaf: leaf, name: record.name, node: index, input: position, layout: record.layout))
                }
            }
        }
        let signature = GraphSignature(
            nodes, in: graph, weights: Set(slots.map { GraphSignature.Slot(node: $0.node, input: $0.input) }))
        // Each value from outside is an argument or an argument in another layout.
        var inputs: [BorderTensor] = []
        for value in signature.inputs {
            let isSame = { (argument: ImportedTensor) in
                argument.value == value || builder.origins[value] == argument.value
                    || builder.origins[argument.value] == value
            }
            guard let argument = arguments.first(where: isSame),
                let known = builder.tensors[value] ?? (argument.value == value ? argument : nil)
            else { return }
            inputs.append(BorderTensor(layout: known.layout, shape: known.shape))
        }
        var positions: [Int] = []
        for argument in arguments {
            let position = signature.inputs.firstIndex { value in
                argument.value == value || builder.origins[value] == argument.value
                    || builder.origins[argument.value] == value
            }
            guard let position else { return }
            positions.append(position)
        }
        var outputs: [(node: Int, tensor: BorderTensor)] = []
        for result in results {
            guard let producer = graph[result.value].producer, let node = nodes.firstIndex(of: producer) else { return }
            outputs.append((node, BorderTensor(layout: result.layout, shape: result.shape)))
        }
        let bound = Set(slots.map(\.leaf))
        calls.append(
            CallRecord(
                layer: layer.name, call: call, topLevel: topLevel, className: layer.className,
                settings: layer.settings, signature: signature.text, inputs: inputs, arguments: positions,
                outputs: outputs, slots: slots,
                otherWeights: weights.filter { !bound.contains($0.key) }.map { $0.value.name }))
    }
}

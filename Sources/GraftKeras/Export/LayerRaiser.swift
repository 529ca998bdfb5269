import GraftCore
import GraftIR
import OrderedCollections

/// Turns a graph into Keras layers.
///
/// Nodes that still are what a Keras layer was lowered to become that layer again, with its own configuration; others
/// become layers by their operators. Image values with channels first are images with channels last in Keras; where
/// the graph needs the other order, a Permute layer stands.
struct LayerRaiser {
    let model: Model
    var graph: Graph { model.graph }
    /// Whether the layers are for Keras 2.
    let isKeras2: Bool
    private(set) var layers: [RaisedLayer] = []
    private(set) var inputs: [RaisedTensor] = []
    private(set) var outputs: [RaisedTensor] = []
    /// The layers in the order in which Keras lists them.
    private(set) var order: [Int] = []
    private let record: KerasRecord?
    private var tensors: [ValueID: RaisedTensor] = [:]
    private var converted: [RaisedTensor: [TensorLayout: RaisedTensor]] = [:]
    private var done: Set<NodeID> = []
    private var names: Set<String> = []
    private var layerOfPath: [String: Int] = [:]
    private var currentNode: NodeID?

    init(_ model: Model, record: KerasRecord?) {
        self.model = model
        self.record = record
        isKeras2 = record?.isKeras2 ?? false
    }

    /// Makes the layers of the whole graph.
    mutating func raise() throws {
        let reused = reusableCalls()
        let composed = Composition.all(in: self).filter { entry in
            // A composition inside a layer that was read is that layer.
            !reused.values.contains { call in call.nodes.contains { entry.value.nodes.contains($0) } }
        }
        let inside = Set(composed.values.flatMap(\.nodes))
        try checkCovered(except: inside.union(reused.values.flatMap(\.nodes)))
        for input in graph.inputs where graph[input].initializer == nil { try raiseInput(input) }
        let callOfNode = Dictionary(
            reused.flatMap { key, call in call.nodes.map { ($0, key) } }, uniquingKeysWith: { a, _ in a })
        for id in graph.order where !done.contains(id) {
            currentNode = id
            if let key = callOfNode[id], let call = reused[key] {
                guard id == call.nodes.last else { continue }
                if try fits(call.record, call.inputs) {
                    try reuse(call.record, call.nodes, call.inputs)
                } else {
                    // Something before the layer has changed its shape, such as a new head: its operators become layers
                    // of their own.
                    for node in call.nodes { try raise(node) }
                }
                continue
            }
            if let whole = composed[id] {
                let input = try tensor(whole.input)
                let result = add(
                    whole.className, whole.settings, [input], shape: input.shape, layout: input.layout, for: id)
                define(id, as: result)
                continue
            }
            if inside.contains(id) { continue }
            // What is stored, or follows from what is stored, is a weight and no layer.
            if let output = graph[id].outputs.first, let output, !graph[output].isOutput, constant(output) != nil {
                continue
            }
            try raise(id)
        }
        for output in graph.outputs {
            let tensor = try plain(output)
            outputs.append(try named(tensor, kerasName(graph[output].name)))
        }
        order = LayerOrder.order(layers, outputs: outputs)
    }

    /// Names all operators that no layer does before anything is made.
    private func checkCovered(except covered: Set<NodeID>) throws {
        for id in graph.order where !covered.contains(id) {
            let node = graph[id]
            guard RaisingRegistry.family(of: node.op) != nil else { throw failure(id, "no Keras layer does it") }
        }
    }

    // MARK: Layers that were read

    private struct ReusableCall {
        let record: CallRecord
        let nodes: [NodeID]
        let inputs: [ValueID]
    }

    /// The calls whose nodes are as they were.
    private func reusableCalls() -> [KerasStructure.Key: ReusableCall] {
        var result: [KerasStructure.Key: ReusableCall] = [:]
        let nodes = KerasStructure.nodes(of: graph)
        for call in record?.calls ?? [] where !FunctionLayers.classNames.contains(call.className) {
            let key = KerasStructure.Key(layer: call.layer, call: call.call)
            guard let members = nodes[key], !members.isEmpty, call.outputs.count == 1 else { continue }
            let slots = Set(call.slots.map { GraphSignature.Slot(node: $0.node, input: $0.input) })
            let signature = GraphSignature(members, in: graph, weights: slots)
            guard signature.text == call.signature, signature.inputs.count == call.inputs.count,
                call.outputs.allSatisfy({ members.indices.contains($0.node) }),
                call.slots.allSatisfy({ slot in
                    graph[members[slot.node]].inputs[slot.input].map { graph[$0].tensor != nil } ?? false
                }),
                call.otherWeights.allSatisfy({
                    model.attachedTensors[KerasH5.attachedName(call.topLevel, $0)] != nil
                }), innerValuesStayInside(members, result: members[call.outputs[0].node])
            else { continue }
            result[key] = ReusableCall(record: call, nodes: members, inputs: signature.inputs)
        }
        return result
    }

    private func innerValuesStayInside(_ nodes: [NodeID], result: NodeID) -> Bool {
        let members = Set(nodes)
        for id in nodes where id != result {
            for output in graph[id].outputs.compactMap({ $0 }) {
                if graph[output].isOutput || !graph[output].consumers.allSatisfy(members.contains) { return false }
            }
        }
        return true
    }

    private mutating func raise(_ id: NodeID) throws {
        currentNode = id
        guard let family = RaisingRegistry.family(of: graph[id].op) else {
            throw failure(id, "no Keras layer does it")
        }
        try family.raise(id, &self)
    }

    /// Whether a layer's inputs have the shapes that it was made for.
    private mutating func fits(_ call: CallRecord, _ values: [ValueID]) throws -> Bool {
        for (value, border) in zip(values, call.inputs) {
            let shape = try convert(try tensor(value), to: border.layout).shape
            let agrees = zip(shape.dropFirst(), border.shape.dropFirst()).allSatisfy {
                $0 == nil || $1 == nil || $0 == $1
            }
            guard shape.count == border.shape.count, agrees else { return false }
        }
        return true
    }

    private mutating func reuse(_ call: CallRecord, _ nodes: [NodeID], _ values: [ValueID]) throws {
        var given: [RaisedTensor] = []
        for (value, border) in zip(values, call.inputs) {
            given.append(try convert(try tensor(value), to: border.layout))
        }
        let arguments = call.arguments.map { given[$0] }
        let border = call.outputs[0].tensor
        let layer: Int
        if let present = layerOfPath[call.layer], layers[present].className == call.className {
            layer = present
            layers[layer].calls.append(arguments)
        } else {
            var settings = call.settings.object ?? [:]
            let name = uniqueName(
                call.layer.split(separator: "/").last.map(String.init) ?? call.layer, full: call.layer)
            settings["name"] = JSON(name)
            layer = layers.count
            layerOfPath[call.layer] = layer
            layers.append(
                RaisedLayer(
                    className: call.className, name: name, settings: settings, calls: [arguments],
                    weights: try weights(of: call, nodes), shape: border.shape))
        }
        if let value = graph[nodes[call.outputs[0].node]].outputs.first, let value {
            tensors[value] = RaisedTensor(
                layer: layer, call: layers[layer].calls.count - 1, shape: border.shape, layout: border.layout)
        }
    }

    /// The weights of a layer in the file's order.
    private func weights(of call: CallRecord, _ nodes: [NodeID]) throws -> [RaisedLayer.Weight] {
        var byName: [String: RaisedLayer.Weight] = [:]
        for slot in call.slots {
            guard let value = graph[nodes[slot.node]].inputs[slot.input], let tensor = graph[value].tensor else {
                continue
            }
            byName[slot.name] = RaisedLayer.Weight(
                leaf: slot.leaf, tensor: try slot.layout.invert(tensor), value: value)
        }
        for name in call.otherWeights {
            guard let tensor = model.attachedTensors[KerasH5.attachedName(call.topLevel, name)] else { continue }
            byName[name] = RaisedLayer.Weight(leaf: Self.leaf(of: name), tensor: tensor, value: nil)
        }
        return (record?.groups[call.topLevel] ?? []).compactMap { byName[$0] }
    }

    static func leaf(of name: String) -> String {
        let last = name.split(separator: "/").last ?? ""
        return String(last.split(separator: ":").first ?? "")
    }

    // MARK: What families use

    /// The Keras tensor that a value is.
    func tensor(_ value: ValueID) throws -> RaisedTensor {
        guard let tensor = tensors[value] else {
            if graph[value].isInitializer || constant(value) != nil {
                throw failure(currentNode, "its input \(graph[value].name) is a constant")
            }
            throw failure(currentNode, "its input \(graph[value].name) is made by nothing that became a layer")
        }
        return tensor
    }

    /// An input of a node as a Keras tensor.
    func input(_ id: NodeID, _ index: Int = 0) throws -> RaisedTensor {
        guard graph[id].inputs.indices.contains(index), let value = graph[id].inputs[index] else {
            throw failure(id, "its input \(index) is missing")
        }
        return try tensor(value)
    }

    /// An input image with channels last in Keras.
    mutating func image(_ id: NodeID, _ index: Int = 0) throws -> RaisedTensor {
        let tensor = try input(id, index)
        guard tensor.shape.count == 4 else {
            throw failure(id, "its input has \(tensor.shape.count) dimensions, and only images of 4 are covered")
        }
        return try convert(tensor, to: .channelsFirst)
    }

    /// A value in the order of its own elements.
    mutating func plain(_ value: ValueID) throws -> RaisedTensor { try convert(try tensor(value), to: .plain) }

    /// The stored tensor that an input of a node is; nil for one that is computed or left out.
    func constant(_ id: NodeID, _ index: Int) -> Tensor? {
        guard graph[id].inputs.indices.contains(index), let value = graph[id].inputs[index] else { return nil }
        return constant(value)
    }

    /// The stored tensor that a value is.
    func constant(_ value: ValueID) -> Tensor? {
        // An input with a stored tensor has a default, which Keras can only take as fixed.
        if let tensor = graph[value].tensor { return tensor }
        guard let producer = graph[value].producer else { return nil }
        if graph[producer].op.isONNX("Constant") { return graph[producer].attributes.tensor("value") }
        if graph[producer].op.isONNX("Identity") { return constant(producer, 0) }
        if graph[producer].op.isONNX("Reshape"), let tensor = constant(producer, 0),
            let target = integers(producer, 1), !target.contains(where: { $0 < 0 })
        {
            let extents = target.enumerated().map { index, extent in
                extent == 0 && tensor.shape.indices.contains(index) ? tensor.shape[index] : extent
            }
            return try? tensor.reshaped(extents)
        }
        return nil
    }

    /// The integers of a constant input.
    func integers(_ id: NodeID, _ index: Int) -> [Int]? {
        guard let tensor = constant(id, index) else { return nil }
        return (try? tensor.elements(as: Int64.self))?.map { Int($0) }
    }

    /// The numbers of a constant input.
    func floats(_ id: NodeID, _ index: Int) -> [Float]? {
        constant(id, index).flatMap { try? $0.elements(as: Float.self) }
    }

    /// An error about a node.
    func failure(_ id: NodeID?, _ reason: String) -> KerasError {
        guard let id else { return .cannotRaise(node: "", op: "", reason: reason) }
        return .cannotRaise(node: graph[id].label(in: graph), op: "\(graph[id].op)", reason: reason)
    }

    /// Marks a node that became part of another one's layer.
    mutating func take(_ id: NodeID) { done.insert(id) }

    /// Says that a node's output is a Keras tensor that is there already.
    mutating func define(_ id: NodeID, as tensor: RaisedTensor) {
        if let output = graph[id].outputs.first, let output { tensors[output] = tensor }
    }

    /// Adds a layer for a node and returns its output.
    @discardableResult
    mutating func add(
        _ className: String, _ settings: OrderedDictionary<String, JSON>, _ inputs: [RaisedTensor],
        weights: [RaisedLayer.Weight] = [], shape: [Int?], layout: TensorLayout, for id: NodeID, suffix: String = ""
    ) -> RaisedTensor {
        let name = uniqueName(layerName(of: id) + suffix)
        var all: OrderedDictionary<String, JSON> = ["name": JSON(name), "trainable": true, "dtype": "float32"]
        all.merge(settings) { $1 }
        layers.append(
            RaisedLayer(
                className: className, name: name, settings: all, calls: [inputs], weights: weights, shape: shape))
        return RaisedTensor(layer: layers.count - 1, call: 0, shape: shape, layout: layout)
    }

    // MARK: Names

    /// The name of a node's layer: the Keras layer that it came from, the module that its weights are named after, the
    /// node's own name, or its operator.
    private func layerName(of id: NodeID) -> String {
        let node = graph[id]
        if let layer = node.metadata[GraphBuilder.layerKey] {
            return layer.split(separator: "/").last.map(String.init) ?? layer
        }
        for input in node.inputs.dropFirst() {
            guard let input, graph[input].isInitializer else { continue }
            let name = graph[input].name
            for suffix in [".weight", ".running_mean"] where name.hasSuffix(suffix) {
                return String(name.dropLast(suffix.count))
            }
        }
        return node.name.isEmpty ? node.op.type.lowercased() : node.name
    }

    private mutating func uniqueName(_ wanted: String, full: String? = nil) -> String {
        // A layer that was read keeps its name as it is.
        if full == wanted, names.insert(wanted).inserted { return wanted }
        var name = kerasName(wanted)
        if names.contains(name), let full { name = kerasName(full) }
        var number = 1
        while names.contains(name) {
            name = "\(kerasName(wanted))_\(number)"
            number += 1
        }
        names.insert(name)
        return name
    }

    /// A name without what Keras or HDF5 give a meaning to.
    ///
    /// Keras 2 allows slashes and dots in the names of layers, Keras 3 no slashes and on PyTorch no dots.
    func kerasName(_ name: String) -> String {
        let refused = isKeras2 ? ":\\ " : "/:\\ ."
        let cleaned = String(name.map { refused.contains($0) ? "_" : $0 })
        let trimmed = cleaned.drop { $0 == "_" || $0 == "." || $0 == "/" }
        return trimmed.isEmpty ? "layer" : String(trimmed)
    }

    /// Gives the layer behind an output the output's name, as Keras names outputs by their layers.
    private mutating func named(_ tensor: RaisedTensor, _ name: String) throws -> RaisedTensor {
        let layer = tensor.layer
        if layers[layer].name == name || layers[layer].className == "InputLayer" || names.contains(name) {
            return tensor
        }
        names.remove(layers[layer].name)
        names.insert(name)
        layers[layer].name = name
        layers[layer].settings["name"] = JSON(name)
        return tensor
    }

    // MARK: Layouts

    private mutating func raiseInput(_ value: ValueID) throws {
        guard graph[value].elementType == .float32 || graph[value].elementType == nil,
            let shape = graph[value].shape, shape.rank >= 1
        else {
            throw KerasError.cannotRaise(
                node: graph[value].name, op: "input", reason: "only inputs of type float and known rank are covered")
        }
        let extents = shape.dimensions.enumerated().map { index, dimension in dimension.count }
        let name = uniqueName(graph[value].name)
        let dimensions = JSON(extents.map { $0.map { JSON($0) } ?? .null })
        let settings: OrderedDictionary<String, JSON> =
            isKeras2
            ? [
                "batch_input_shape": dimensions, "dtype": "float32", "sparse": false, "ragged": false,
                "name": JSON(name),
            ]
            : [
                "batch_shape": dimensions, "dtype": "float32", "sparse": false, "ragged": false, "name": JSON(name),
                "optional": false,
            ]
        layers.append(
            RaisedLayer(className: "InputLayer", name: name, settings: settings, calls: [[]], shape: extents))
        let tensor = RaisedTensor(layer: layers.count - 1, call: 0, shape: extents, layout: .plain)
        tensors[value] = tensor
        inputs.append(tensor)
    }

    /// The same value in another layout; Permute and Reshape layers where elements must move.
    mutating func convert(_ tensor: RaisedTensor, to layout: TensorLayout) throws -> RaisedTensor {
        if tensor.layout == layout { return tensor }
        if let known = converted[tensor]?[layout] { return known }
        let result: RaisedTensor
        let s = tensor.shape
        switch (tensor.layout, layout) {
        case (.plain, .channelsFirst) where s.count == 4:
            result = permute(tensor, [2, 3, 1], shape: [s[0], s[2], s[3], s[1]], layout: layout)
        case (.channelsFirst, .plain):
            result = permute(tensor, [3, 1, 2], shape: [s[0], s[3], s[1], s[2]], layout: layout)
        case (.flattened(let height, let width, let channels), .plain):
            let image = reshape(tensor, [height, width, channels])
            let moved = permute(image, [3, 1, 2], shape: [s[0], channels, height, width], layout: .plain)
            result = reshape(moved, [height * width * channels])
        case (.plain, .flattened(let height, let width, let channels)):
            let image = reshape(tensor, [channels, height, width])
            let moved = permute(image, [2, 3, 1], shape: [s[0], height, width, channels], layout: .plain)
            var flat = reshape(moved, [height * width * channels])
            flat.layout = layout
            result = flat
        default: throw failure(currentNode, "the elements of its input lie in an order that it cannot take")
        }
        converted[tensor, default: [:]][layout] = result
        converted[result, default: [:]][tensor.layout] = tensor
        return result
    }

    private mutating func permute(
        _ tensor: RaisedTensor, _ axes: [Int], shape: [Int?], layout: TensorLayout
    ) -> RaisedTensor {
        conversion("Permute", ["dims": JSON(axes)], tensor, shape: shape, layout: layout)
    }

    private mutating func reshape(_ tensor: RaisedTensor, _ shape: [Int]) -> RaisedTensor {
        conversion(
            "Reshape", ["target_shape": JSON(shape)], tensor, shape: [tensor.shape[0]] + shape.map { $0 },
            layout: .plain)
    }

    private mutating func conversion(
        _ className: String, _ settings: OrderedDictionary<String, JSON>, _ tensor: RaisedTensor, shape: [Int?],
        layout: TensorLayout
    ) -> RaisedTensor {
        let name = uniqueName(layers[tensor.layer].name + "_" + className.lowercased())
        var all: OrderedDictionary<String, JSON> = ["name": JSON(name), "trainable": true, "dtype": "float32"]
        all.merge(settings) { $1 }
        layers.append(
            RaisedLayer(className: className, name: name, settings: all, calls: [[tensor]], shape: shape))
        return RaisedTensor(layer: layers.count - 1, call: 0, shape: shape, layout: layout)
    }
}

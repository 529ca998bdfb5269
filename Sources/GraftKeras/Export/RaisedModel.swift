import GraftCore
import GraftHDF5
import GraftIR
import OrderedCollections

/// Writes a model as Keras layers that its nodes are turned into, in the dialect of the Keras that it came from.
struct RaisedModel {
    let model: Model
    let record: KerasRecord?

    private var isKeras2: Bool { record?.isKeras2 ?? false }

    func output() throws -> KerasExporter.Output {
        var raiser = LayerRaiser(model, record: record)
        try raiser.raise()
        let annotations = try model.annotations()
        var renamed = annotations
        var notices: [String] = []
        var groups: OrderedDictionary<String, [KerasExporter.NamedWeight]> = [:]
        var configs: [JSON] = []
        for index in raiser.order {
            var layer = raiser.layers[index]
            applyTrainable(&layer, annotations, &notices)
            groups[layer.name] = layer.weights.map { weight in
                .init(name: "\(layer.name)/\(weight.leaf)\(isKeras2 ? ":0" : "")", tensor: weight.tensor)
            }
            for weight in layer.weights {
                guard let value = weight.value else { continue }
                rename(model.graph[value].name, to: "\(layer.name)/\(weight.leaf)", in: &renamed)
            }
            configs.append(config(of: layer, raiser))
        }
        renamed.keep { name in
            raiser.layers.contains { layer in layer.weights.contains { "\(layer.name)/\($0.leaf)" == name } }
        }
        if record?.optimizer.isEmpty == false {
            notices.append("the optimizer's state was left out, since the model's layers have changed")
        }
        var named = model
        named.setAnnotations(renamed)
        var kept = record
        kept?.trainingConfig = nil
        return KerasExporter.Output(
            config: [
                "class_name": "Functional",
                "config": [
                    "name": JSON(raiser.kerasName(model.graph.name.isEmpty ? "model" : model.graph.name)),
                    "trainable": true, "layers": JSON(configs), "input_layers": ends(raiser.inputs, raiser),
                    "output_layers": ends(raiser.outputs, raiser),
                ],
            ], groups: groups, version: record?.version ?? "3.15.1", backend: record?.backend ?? "tensorflow",
            metadata: named.metadata, notices: notices, record: kept)
    }

    private func rename(_ old: String, to new: String, in annotations: inout Annotations) {
        guard old != new else { return }
        annotations.rename(old, to: new)
    }

    /// A layer whose parameters are all frozen is not trainable.
    private func applyTrainable(_ layer: inout RaisedLayer, _ annotations: Annotations, _ notices: inout [String]) {
        let names = layer.weights.filter { !LayerParameters.statistics.contains($0.leaf) }.compactMap { weight in
            weight.value.map { model.graph[$0].name }
        }
        guard !names.isEmpty else { return }
        let frozen = names.filter { annotations.frozen.contains($0) }
        layer.settings["trainable"] = JSON(frozen.count < names.count)
        if !frozen.isEmpty && frozen.count < names.count {
            notices.append(
                "layer \"\(layer.name)\" is frozen in part; Keras freezes whole layers, so there it is trainable")
        }
    }

    private func ends(_ tensors: [RaisedTensor], _ raiser: LayerRaiser) -> JSON {
        let triples = tensors.map { triple($0, raiser) }
        return triples.count == 1 && !isKeras2 ? triples[0] : JSON(triples)
    }

    private func triple(_ tensor: RaisedTensor, _ raiser: LayerRaiser) -> JSON {
        [JSON(raiser.layers[tensor.layer].name), JSON(tensor.call), 0]
    }

    private func config(of layer: RaisedLayer, _ raiser: LayerRaiser) -> JSON {
        let isMerging = MergingLayers.classNames.contains(layer.className)
        let calls = layer.className == "InputLayer" ? [] : layer.calls
        let nodes = calls.map { call -> JSON in
            if isKeras2 {
                return JSON(
                    call.map { [JSON(raiser.layers[$0.layer].name), JSON($0.call), 0, .object([:])] as JSON })
            }
            let tensors = call.map { tensor -> JSON in
                [
                    "class_name": "__keras_tensor__",
                    "config": [
                        "shape": JSON(tensor.shape.map { $0.map { JSON($0) } ?? .null }), "dtype": "float32",
                        "keras_history": triple(tensor, raiser),
                    ],
                ]
            }
            return ["args": isMerging ? [JSON(tensors)] : JSON(tensors), "kwargs": .object([:])]
        }
        return [
            "class_name": JSON(layer.className), "config": .object(layer.settings), "name": JSON(layer.name),
            "inbound_nodes": JSON(nodes),
        ]
    }
}

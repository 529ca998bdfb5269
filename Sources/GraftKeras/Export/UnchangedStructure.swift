import GraftCore
import GraftHDF5
import GraftIR
import OrderedCollections

/// Writes a model back whose graph is as it was read: the same configuration, with the present weights and `trainable`.
struct UnchangedStructure {
    let model: Model
    let record: KerasRecord

    func output() throws -> KerasExporter.Output {
        let annotations = try model.annotations()
        let parameters = LayerParameters(model.graph, record)
        var trainable = record.trainable
        var notices: [String] = []
        for (layer, names) in parameters.trained where !names.isEmpty {
            let frozen = names.filter { annotations.frozen.contains($0) }
            if frozen.count == names.count {
                trainable[layer] = false
            } else if frozen.isEmpty {
                trainable[layer] = true
            } else {
                trainable[layer] = true
                notices.append(
                    "layer \"\(layer)\" is frozen in part (\(frozen.joined(separator: ", "))); Keras freezes whole "
                        + "layers, so there it is trainable")
            }
        }
        let changed = Set(trainable.keys.filter { trainable[$0] != record.trainable[$0] })
        return KerasExporter.Output(
            config: changed.isEmpty ? record.config : Self.update(record.config, trainable, changed, path: ""),
            groups: try groups(trainable, reorders: !changed.isEmpty), version: record.version,
            backend: record.backend ?? "tensorflow", metadata: model.metadata, notices: notices, record: record,
            keepsOptimizer: true)
    }

    /// The configuration with `trainable` as it is now.
    private static func update(
        _ config: JSON, _ trainable: OrderedDictionary<String, Bool>, _ changed: Set<String>, path: String
    ) -> JSON {
        var config = config
        let settings = config["config"] ?? .null
        let list = settings.array ?? settings["layers"]?.array
        guard let list else {
            if changed.contains(path), let value = trainable[path] { config["config"]?["trainable"] = JSON(value) }
            return config
        }
        let layers = JSON(
            list.map { layer in
                let name = layer["name"]?.string ?? layer["config"]?["name"]?.string ?? ""
                return update(layer, trainable, changed, path: path.isEmpty ? name : "\(path)/\(name)")
            })
        if settings.array != nil {
            config["config"] = layers
        } else {
            config["config"]?["layers"] = layers
            // A model that is frozen as a whole would freeze what is in it.
            let prefix = path.isEmpty ? "" : "\(path)/"
            if settings["trainable"]?.bool == false,
                changed.contains(where: { $0.hasPrefix(prefix) && trainable[$0] == true })
            {
                config["config"]?["trainable"] = true
            }
        }
        return config
    }

    private struct Owned {
        let weight: KerasExporter.NamedWeight
        let isTrained: Bool
        let layer: Int
    }

    /// The weights of each top-level layer: in the file's order, or where `trainable` changed, trained ones first.
    private func groups(
        _ trainable: OrderedDictionary<String, Bool>, reorders: Bool
    ) throws -> OrderedDictionary<String, [KerasExporter.NamedWeight]> {
        let nodes = KerasStructure.nodes(of: model.graph)
        var found: [String: [String: Owned]] = [:]
        for call in record.calls {
            guard let members = nodes[KerasStructure.Key(layer: call.layer, call: call.call)] else { continue }
            let position = trainable.index(forKey: call.layer) ?? 0
            let isTrained = trainable[call.layer] ?? true
            for slot in call.slots {
                guard let value = model.graph[members[slot.node]].inputs[slot.input],
                    let tensor = model.graph[value].tensor
                else { continue }
                found[call.topLevel, default: [:]][slot.name] = Owned(
                    weight: .init(name: slot.name, tensor: try slot.layout.invert(tensor)),
                    isTrained: isTrained && !LayerParameters.statistics.contains(slot.leaf), layer: position)
            }
            for name in call.otherWeights {
                guard let tensor = model.attachedTensors[KerasH5.attachedName(call.topLevel, name)] else { continue }
                found[call.topLevel, default: [:]][name] = Owned(
                    weight: .init(name: name, tensor: tensor), isTrained: false, layer: position)
            }
        }
        var result: OrderedDictionary<String, [KerasExporter.NamedWeight]> = [:]
        for (layer, names) in record.groups {
            var list: [Owned] = []
            for name in names {
                if let owned = found[layer]?[name] {
                    list.append(owned)
                } else if let tensor = model.attachedTensors[KerasH5.attachedName(layer, name)] {
                    list.append(Owned(weight: .init(name: name, tensor: tensor), isTrained: false, layer: .max))
                } else {
                    throw KerasError.weights(path: model.graph.name, layer: layer, reason: "its weight \(name) is gone")
                }
            }
            if reorders {
                // Each layer's weights keep their order; Keras lists those that are trained first, layer by layer.
                let order = list.indices.sorted { a, b in
                    if list[a].isTrained != list[b].isTrained { return list[a].isTrained }
                    if list[a].layer != list[b].layer { return list[a].layer < list[b].layer }
                    return rank(list[a].weight.name, a) < rank(list[b].weight.name, b)
                }
                list = order.map { list[$0] }
            }
            result[layer] = list.map(\.weight)
        }
        return result
    }

    /// The place of a weight among those of its layer.
    private func rank(_ name: String, _ position: Int) -> Int {
        let order = [
            "kernel", "depthwise_kernel", "pointwise_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance",
        ]
        return order.firstIndex(of: LayerRaiser.leaf(of: name)) ?? order.count + position
    }
}

import GraftCore
import GraftIR
import OrderedCollections

/// What a model that was read from Keras keeps about its file, so that it can be written back: an attachment.
struct KerasRecord: Sendable {
    /// The name of the attachment and the first part of the names of attached tensors.
    static let key = "keras"

    var version = ""
    var backend: String?
    var config: JSON = .null
    /// The text of `training_config`.
    var trainingConfig: String?
    /// Other root attributes that are texts.
    var attributes: OrderedDictionary<String, String> = [:]
    /// The digest of the graph as it was read, ``GraphSignature``.
    var structure = ""
    /// The layers as they were lowered.
    var calls: [CallRecord] = []
    /// The weights of each top-level layer in the file's order.
    var groups: OrderedDictionary<String, [String]> = [:]
    /// The names of the optimizer's weights.
    var optimizer: [String] = []
    /// Whether the file has a group for weights that belong to the model itself, as Keras writes since 2.6.
    var hasTopLevelGroup = true
    /// Whether each layer, by its path, was trained.
    var trainable: OrderedDictionary<String, Bool> = [:]

    var isKeras2: Bool { version.hasPrefix("2.") }
}

/// A tensor at the border of a call.
struct BorderTensor: Sendable, Hashable {
    var layout: TensorLayout
    var shape: [Int?]
}

/// How one call of a layer was lowered.
struct CallRecord: Sendable {
    /// Where a weight goes in.
    struct Slot: Sendable {
        /// The last part of the weight's name, and its name in the file.
        let leaf: String
        let name: String
        /// The node of the call, counted from its first, and its input.
        let node: Int
        let input: Int
        let layout: WeightLayout
    }

    let layer: String
    let call: Int
    let topLevel: String
    let className: String
    let settings: JSON
    /// The nodes and edges inside the call.
    let signature: String
    /// The tensors from outside, in order of first use.
    let inputs: [BorderTensor]
    /// For each argument of the call the position in `inputs`.
    let arguments: [Int]
    /// What the call gives: node and tensor.
    let outputs: [(node: Int, tensor: BorderTensor)]
    let slots: [Slot]
    /// Weights of the file that became something else, such as statistics.
    let otherWeights: [String]
}

// MARK: JSON

extension TensorLayout {
    var json: JSON {
        switch self {
        case .plain: "plain"
        case .channelsFirst: "channels_first"
        case .flattened(let height, let width, let channels): JSON([height, width, channels])
        }
    }

    init?(_ json: JSON?) {
        if json?.string == "plain" {
            self = .plain
        } else if json?.string == "channels_first" {
            self = .channelsFirst
        } else if let parts = json?.array?.compactMap(\.int), parts.count == 3 {
            self = .flattened(height: parts[0], width: parts[1], channels: parts[2])
        } else {
            return nil
        }
    }
}

extension BorderTensor {
    var json: JSON { ["layout": layout.json, "shape": JSON(shape.map { $0.map { JSON($0) } ?? .null })] }

    init?(_ json: JSON?) {
        guard let layout = TensorLayout(json?["layout"]), let shape = json?["shape"]?.array else { return nil }
        self.init(layout: layout, shape: shape.map(\.int))
    }
}

extension CallRecord {
    var json: JSON {
        [
            "layer": JSON(layer), "call": JSON(call), "top": JSON(topLevel), "class_name": JSON(className),
            "config": settings, "signature": JSON(signature), "inputs": JSON(inputs.map(\.json)),
            "arguments": JSON(arguments),
            "outputs": JSON(outputs.map { ["node": JSON($0.node), "tensor": $0.tensor.json] }),
            "weights": JSON(
                slots.map { slot in
                    [
                        "leaf": JSON(slot.leaf), "name": JSON(slot.name), "node": JSON(slot.node),
                        "input": JSON(slot.input), "view": JSON(slot.layout.view),
                        "permutation": JSON(slot.layout.permutation), "shape": JSON(slot.layout.shape),
                        "keras_shape": JSON(slot.layout.kerasShape),
                    ]
                }), "other_weights": JSON(otherWeights),
        ]
    }

    init?(_ json: JSON) {
        guard let layer = json["layer"]?.string, let call = json["call"]?.int, let topLevel = json["top"]?.string,
            let className = json["class_name"]?.string, let settings = json["config"],
            let signature = json["signature"]?.string
        else { return nil }
        func ints(_ json: JSON?) -> [Int] { json?.array?.compactMap(\.int) ?? [] }
        self.init(
            layer: layer, call: call, topLevel: topLevel, className: className, settings: settings,
            signature: signature, inputs: (json["inputs"]?.array ?? []).compactMap { BorderTensor($0) },
            arguments: ints(json["arguments"]),
            outputs: (json["outputs"]?.array ?? []).compactMap { output in
                BorderTensor(output["tensor"]).flatMap { tensor in output["node"]?.int.map { ($0, tensor) } }
            },
            slots: (json["weights"]?.array ?? []).compactMap { slot in
                guard let leaf = slot["leaf"]?.string, let name = slot["name"]?.string, let node = slot["node"]?.int,
                    let input = slot["input"]?.int
                else { return nil }
                return Slot(
                    leaf: leaf, name: name, node: node, input: input,
                    layout: WeightLayout(
                        view: ints(slot["view"]), permutation: ints(slot["permutation"]), shape: ints(slot["shape"]),
                        kerasShape: ints(slot["keras_shape"])))
            },
            otherWeights: json["other_weights"]?.array?.compactMap(\.string) ?? [])
    }
}

extension KerasRecord {
    var json: JSON {
        [
            "keras_version": JSON(version), "backend": JSON(optional: backend), "model_config": config,
            "training_config": JSON(optional: trainingConfig),
            "attributes": .object(attributes.mapValues { JSON($0) }), "structure": JSON(structure),
            "calls": JSON(calls.map(\.json)), "groups": .object(groups.mapValues { JSON($0) }),
            "optimizer": JSON(optimizer), "top_level_group": JSON(hasTopLevelGroup),
            "trainable": .object(trainable.mapValues { JSON($0) }),
        ]
    }

    init?(_ json: JSON?) {
        guard let json, let version = json["keras_version"]?.string, let config = json["model_config"] else {
            return nil
        }
        self.init()
        self.version = version
        self.config = config
        backend = json["backend"]?.string
        trainingConfig = json["training_config"]?.string
        attributes = (json["attributes"]?.object ?? [:]).compactMapValues(\.string)
        structure = json["structure"]?.string ?? ""
        calls = (json["calls"]?.array ?? []).compactMap { CallRecord($0) }
        groups = (json["groups"]?.object ?? [:]).compactMapValues { $0.array?.compactMap(\.string) }
        optimizer = json["optimizer"]?.array?.compactMap(\.string) ?? []
        hasTopLevelGroup = json["top_level_group"]?.bool ?? true
        trainable = (json["trainable"]?.object ?? [:]).compactMapValues(\.bool)
    }
}

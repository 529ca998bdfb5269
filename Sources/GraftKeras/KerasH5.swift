import GraftCore
import GraftHDF5
import GraftIR
import OrderedCollections

/// Keras models in HDF5: the legacy full-model `.h5` of Keras 2 and 3.
public enum KerasH5 {
    /// The name of the format in ``Model/sourceFormat``.
    public static let formatName = "keras-h5"

    /// Reads a full model: its configuration as a graph, its weights as tensors that stay in the file.
    ///
    /// The graph is in ONNX operators of opset 17 with channels first; inputs and outputs are as Keras has them. What
    /// the file says beyond the graph is kept in the model's attachments and written back.
    /// - Throws: ``KerasError``, `HDF5Error` or `FileError`.
    public static func read(path: String, limits: Limits = Limits()) throws -> Model {
        let file = try HDF5File.open(path: path, limits: limits)
        let root = file.root
        guard let text = root.attributes["model_config"]?.string else {
            throw KerasError.notAModel(path: path, found: contents(of: root))
        }
        let config = try parse(text, path: path, limits: limits)
        let version = root.attributes["keras_version"]?.string ?? ""
        guard !version.hasPrefix("0."), !version.hasPrefix("1."), !version.isEmpty else {
            throw KerasError.notAModel(path: path, found: "a model of Keras 1, which is not covered")
        }
        guard let stored = root.group("model_weights") else {
            throw KerasError.notAModel(path: path, found: "a configuration without the group model_weights")
        }
        var weights: [String: WeightGroup] = [:]
        for name in stored.stringList("layer_names") ?? [] {
            guard let group = layerGroup(name, in: stored) else {
                throw KerasError.weights(path: path, layer: name, reason: "its group is not in model_weights")
            }
            weights[name] = try WeightGroup(group, layer: name, file: path)
        }
        let isKeras2 = version.hasPrefix("2.")
        let top = try LayerConfig(withName(config), file: path, place: "model_config")
        guard top.isModel else {
            throw KerasError.notAModel(path: path, found: "a model of class \(top.className), which is not covered")
        }
        let model = try ModelConfig(top, limits: limits)
        var importer = KerasImporter(file: path, isKeras2: isKeras2, weights: weights, limits: limits)
        let builder = try importer.build(model)

        var result = Model(graph: builder.graph, opset: 17, irVersion: 8)
        result.graph.name = model.name
        result.producerName = "keras"
        result.producerVersion = version
        result.sourceFormat = formatName
        try attach(root, config: config, version: version, weights: weights, importer: importer, to: &result)
        try Verifier.verify(result)
        return result
    }

    /// Keeps with the model what the file says beyond the graph.
    private static func attach(
        _ root: HDF5Group, config: JSON, version: String, weights: [String: WeightGroup], importer: KerasImporter,
        to model: inout Model
    ) throws {
        var record = KerasRecord()
        record.version = version
        record.backend = root.attributes["backend"]?.string
        record.config = config
        record.trainingConfig = root.attributes["training_config"]?.string
        record.calls = importer.calls
        record.trainable = importer.trainable
        record.hasTopLevelGroup = root.group("model_weights")?.group("top_level_model_weights") != nil
        let known = ["keras_version", "backend", "model_config", "training_config", KerasAnnotations.attribute]
        for (name, value) in root.attributes where !known.contains(name) {
            if let text = value.string { record.attributes[name] = text }
        }
        for name in root.group("model_weights")?.stringList("layer_names") ?? [] {
            record.groups[name] = weights[name]?.weights.map(\.name)
        }
        // What became no weight of the graph is kept as it is.
        let bound = Set(importer.calls.flatMap { call in call.slots.map { "\(call.topLevel)\n\($0.name)" } })
        for (layer, group) in weights {
            for weight in group.weights where !bound.contains("\(layer)\n\(weight.name)") {
                model.attachedTensors[attachedName(layer, weight.name)] = weight.tensor
            }
        }
        if let optimizer = root.group("optimizer_weights"), let names = optimizer.stringList("weight_names") {
            for name in names {
                guard case .dataset(let dataset)? = object(name, in: optimizer), let tensor = dataset.tensor else {
                    continue
                }
                record.optimizer.append(name)
                model.attachedTensors["\(KerasRecord.key)/optimizer/\(name)"] = tensor
            }
        }
        record.structure = KerasStructure.digest(of: model.graph, record)
        model.attachments[KerasRecord.key] = record.json
        try KerasAnnotations.read(root, record, into: &model)
    }

    /// The name of an attached tensor that holds a weight.
    static func attachedName(_ layer: String, _ weight: String) -> String { "\(KerasRecord.key)/\(layer)/\(weight)" }

    /// The object at a path below a group.
    static func object(_ path: String, in group: HDF5Group) -> HDF5Object? {
        var object = HDF5Object.group(group)
        for part in path.split(separator: "/") {
            guard case .group(let inner) = object, let child = inner.children[String(part)] else { return nil }
            object = child
        }
        return object
    }

    /// Finds out whether a model can be written, without writing it.
    ///
    /// - Throws: ``KerasError`` where an operator has no form in Keras.
    public static func checkWritable(_ model: Model) throws { _ = try KerasExporter(model: model).build() }

    /// Writes a model as a full-model `.h5` that Keras loads.
    ///
    /// A model that was read from Keras and whose graph is unchanged is written as it was, with its present weights and
    /// `trainable`; layers that were not touched keep their configuration also where others changed. A model from
    /// elsewhere becomes layers of Keras 3 with the same inputs and outputs. The weights of each layer are listed in
    /// the order in which Keras loads them: trained ones first.
    /// - Returns: what could not be kept, a sentence each.
    /// - Throws: ``KerasError`` where an operator has no form in Keras, before anything is written; `HDF5Error`.
    @discardableResult
    public static func write(_ model: Model, to path: String, durability: Durability = .synced) throws -> [String] {
        let (root, notices) = try KerasExporter(model: model).build()
        try HDF5Writer.write(root, to: path, durability: durability)
        return notices
    }

    /// A group whose name may hold slashes.
    static func layerGroup(_ name: String, in group: HDF5Group) -> HDF5Group? {
        var group = group
        for part in name.split(separator: "/") {
            guard let inner = group.group(String(part)) else { return nil }
            group = inner
        }
        return group
    }

    private static func parse(_ text: String, path: String, limits: Limits) throws -> JSON {
        do { return try JSON(parsing: text, limits: limits) } catch {
            throw KerasError.malformed(path: path, place: "the whole text", expected: "JSON (\(error))")
        }
    }

    /// Old Sequential models have a list as their configuration and no name.
    private static func withName(_ config: JSON) -> JSON {
        guard config["name"] == nil, config["config"]?["name"] == nil else { return config }
        var named = config
        named["name"] = "model"
        return named
    }

    /// What an HDF5 file without a model holds.
    private static func contents(of root: HDF5Group) -> String {
        if root.stringList("layer_names") != nil {
            return "weights without a configuration; bind them to a model of the same layers"
        }
        if ["layers", "_layer_checkpoint_dependencies", "vars"].contains(where: { root.children[$0] != nil }) {
            return "weights in the form of Keras 3, without a configuration"
        }
        return "no model_config"
    }
}

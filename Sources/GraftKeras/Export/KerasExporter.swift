import GraftCore
import GraftHDF5
import GraftIR
import OrderedCollections

/// Puts together the HDF5 tree of a Keras model.
struct KerasExporter {
    /// One weight under its full name.
    struct NamedWeight {
        let name: String
        let tensor: Tensor
    }

    /// A model that is ready to be written.
    struct Output {
        var config: JSON
        /// The weights of each top-level layer, trained ones first.
        var groups: OrderedDictionary<String, [NamedWeight]>
        var version: String
        var backend: String
        /// The metadata with the names that stored tensors have in the written model.
        var metadata: Metadata
        var notices: [String] = []
        var record: KerasRecord?
        var keepsOptimizer = false
    }

    let model: Model

    /// The tree of the file, and what could not be kept.
    func build() throws -> (HDF5Group, [String]) {
        let record = KerasRecord(model.attachments[KerasRecord.key])
        if let record, !record.structure.isEmpty, record.structure == KerasStructure.digest(of: model.graph, record) {
            let output = try UnchangedStructure(model: model, record: record).output()
            return (try tree(output), output.notices)
        }
        let output = try RaisedModel(model: model, record: record).output()
        return (try tree(output), output.notices)
    }

    private func tree(_ output: Output) throws -> HDF5Group {
        var root = HDF5Group()
        root.attributes["backend"] = .string(output.backend)
        root.attributes["keras_version"] = .string(output.version)
        root.attributes["model_config"] = .bytes(output.config.text(.spaced, ascii: true))
        if let text = output.record?.trainingConfig { root.attributes["training_config"] = .bytes(text) }
        for (name, text) in output.record?.attributes ?? [:] { root.attributes[name] = .string(text) }
        if let text = KerasAnnotations.text(output.metadata) {
            root.attributes[KerasAnnotations.attribute] = .string(text)
        }

        var weights = HDF5Group()
        try weights.setStringList("layer_names", Array(output.groups.keys))
        weights.attributes["backend"] = .bytes(output.backend)
        weights.attributes["keras_version"] = .bytes(output.version)
        // Keras makes the groups in the order of their names.
        for name in output.groups.keys.sorted(by: { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }) {
            var group = HDF5Group()
            let list = output.groups[name] ?? []
            try group.setStringList("weight_names", list.map(\.name))
            for weight in list { try group.set(HDF5Dataset(weight.tensor), at: weight.name) }
            try weights.setGroup(group, at: name)
        }
        if output.record?.hasTopLevelGroup ?? true {
            var top = HDF5Group()
            try top.setStringList("weight_names", [])
            weights.children["top_level_model_weights"] = .group(top)
        }
        root.children["model_weights"] = .group(weights)

        if output.keepsOptimizer, let record = output.record, !record.optimizer.isEmpty {
            var group = HDF5Group()
            try group.setStringList("weight_names", record.optimizer)
            for name in record.optimizer {
                guard let tensor = model.attachedTensors["\(KerasRecord.key)/optimizer/\(name)"] else { continue }
                try group.set(HDF5Dataset(tensor), at: name)
            }
            root.children["optimizer_weights"] = .group(group)
        }
        return root
    }
}

extension HDF5Group {
    /// Puts a group at a path, into groups that are there.
    fileprivate mutating func setGroup(_ group: HDF5Group, at path: String) throws(HDF5Error) {
        try setGroup(group, parts: path.split(separator: "/").map(String.init)[...], path: path)
    }

    private mutating func setGroup(
        _ group: HDF5Group, parts: ArraySlice<String>, path: String
    ) throws(HDF5Error) {
        guard let name = parts.first else { throw .cannotStore(object: path, reason: "its name is empty") }
        var present = self.group(name) ?? HDF5Group()
        if parts.count == 1 {
            present.attributes.merge(group.attributes) { $1 }
            for (child, object) in group.children { present.children[child] = object }
        } else {
            try present.setGroup(group, parts: parts.dropFirst(), path: path)
        }
        children[name] = .group(present)
    }
}

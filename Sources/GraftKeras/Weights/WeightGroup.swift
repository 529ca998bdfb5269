import GraftCore
import GraftHDF5
import OrderedCollections

/// The weights of one top-level layer as the file holds them: names and tensors in the file's order.
struct WeightGroup: Sendable {
    /// One stored weight.
    struct Weight: Sendable {
        /// The name in the list `weight_names`.
        let name: String
        let tensor: Tensor

        /// The path of the layer that has the weight.
        var owner: Substring { name.lastIndex(of: "/").map { name[..<$0] } ?? "" }

        /// The last part without Keras 2's suffix, such as `kernel`.
        var leaf: String {
            let last = name.lastIndex(of: "/").map { name[name.index(after: $0)...] } ?? name[...]
            return last.lastIndex(of: ":").map { String(last[..<$0]) } ?? String(last)
        }
    }

    let weights: [Weight]

    /// Reads the group of a layer.
    init(_ group: HDF5Group, layer: String, file: String) throws(KerasError) {
        guard let names = group.stringList("weight_names") else {
            throw .weights(path: file, layer: layer, reason: "its group has no weight_names")
        }
        var weights: [Weight] = []
        for name in names {
            var object = HDF5Object.group(group)
            for part in name.split(separator: "/") {
                guard case .group(let inner) = object, let child = inner.children[String(part)] else {
                    throw .weights(path: file, layer: layer, reason: "the weight \(name) is not in the file")
                }
                object = child
            }
            guard case .dataset(let dataset) = object, let tensor = dataset.tensor else {
                throw .weights(path: file, layer: layer, reason: "the weight \(name) is not an array of numbers")
            }
            weights.append(Weight(name: name, tensor: tensor))
        }
        self.weights = weights
    }

    /// The weights of one layer, by the last part of their names.
    ///
    /// A top-level layer has the whole group; a layer inside a nested model has those whose names it precedes.
    func weights(ofLayer name: String, isTopLevel: Bool) -> [Weight] {
        if isTopLevel { return weights }
        return weights.filter { $0.owner == name || $0.owner.hasSuffix("/\(name)") }
    }
}

import GraftCore
import GraftIR

/// Decides for each tensor of a write whether its bytes go into another file, and where in it.
final class ExternalPlacement {
    /// What is done with external data.
    enum Mode {
        /// Every tensor goes into the model's own file.
        case inline
        /// External tensors stay where they are.
        case keep
        /// External tensors are written into a file of that name; with `bound`, so is every other of so many bytes.
        case write(name: String, bound: Int?)
    }

    /// A tensor's place in the data file.
    struct Entry {
        var offset: Int
        var tensor: Tensor
        var label: String
    }

    /// Each tensor starts at a multiple of so many bytes, so that it can be mapped; what the standard recommends.
    static let alignment = 4096

    let mode: Mode
    /// What the data file holds, in order.
    private(set) var entries: [Entry] = []
    private var end = 0

    init(_ mode: Mode) { self.mode = mode }

    /// What the model's file says about a tensor whose bytes are elsewhere; nil for a tensor that it holds itself.
    func entries(for stored: StoredTensor, label: String) -> Metadata? {
        let tensor = stored.tensor
        guard tensor.elementType != .string else { return nil }
        var isExternal = false
        if case .external = stored.encoding { isExternal = true }
        switch mode {
        case .inline: return nil
        case .keep:
            guard case .external(let metadata) = stored.encoding else { return nil }
            return metadata
        case .write(let name, let bound):
            guard isExternal || bound.map({ tensor.byteCount >= $0 }) == true else { return nil }
            let offset = (end + Self.alignment - 1) / Self.alignment * Self.alignment
            entries.append(Entry(offset: offset, tensor: tensor, label: label))
            end = offset + tensor.byteCount
            return Metadata([
                Metadata.Entry(key: "location", value: name),
                Metadata.Entry(key: "offset", value: String(offset)),
                Metadata.Entry(key: "length", value: String(tensor.byteCount)),
            ])
        }
    }

    /// Whether the entries of an external tensor also hold for a model in `folder`: they name the file that the
    /// tensor is mapped from, and its place there.
    static func isKept(_ stored: StoredTensor, in folder: String) -> Bool {
        guard case .external(let entries) = stored.encoding, case .mapped(let file, let range) = stored.tensor.storage,
            let location = entries["location"], Int(entries["offset"] ?? "0") == range.lowerBound,
            Int(entries["length"] ?? String(range.count)) == range.count
        else { return false }
        return ExternalFiles.identity(of: location, in: folder) == file.identity
    }
}

extension Model {
    /// Calls `body` with every stored tensor: of graphs, bodies, functions and training steps.
    func forEachStoredTensor(_ body: (StoredTensor) -> Void) {
        graph.forEachStoredTensor(body)
        for function in functions {
            function.body.forEachStoredTensor(body)
            for attribute in function.attributeDefaults { attribute.value.forEachStoredTensor(body) }
        }
        for step in training {
            step.initialization?.forEachStoredTensor(body)
            step.algorithm?.forEachStoredTensor(body)
        }
    }
}

extension Graph {
    fileprivate func forEachStoredTensor(_ body: (StoredTensor) -> Void) {
        for id in initializers { if let stored = self[id].initializer { body(stored) } }
        for id in sparseInitializers {
            guard let stored = self[id].sparseInitializer else { continue }
            body(stored.values)
            body(stored.indices)
        }
        for id in order { for attribute in self[id].attributes.all { attribute.value.forEachStoredTensor(body) } }
    }
}

extension AttributeValue {
    fileprivate func forEachStoredTensor(_ body: (StoredTensor) -> Void) {
        switch self {
        case .tensor(let stored): body(stored)
        case .tensors(let all): all.forEach(body)
        case .sparseTensor(let stored): [stored.values, stored.indices].forEach(body)
        case .sparseTensors(let all): all.flatMap { [$0.values, $0.indices] }.forEach(body)
        case .graph(let graph): graph.forEachStoredTensor(body)
        case .graphs(let graphs): for graph in graphs { graph.forEachStoredTensor(body) }
        default: break
        }
    }
}

import GraftCore

/// The path of a layer: its parts from the outermost, and how its naming scheme separates them.
struct LayerPath: Hashable, Sendable {
    /// The parts, outermost first.
    var parts: [String]
    /// `.` for PyTorch's names, `/` for those of TensorFlow and Keras.
    var separator: Character

    /// The deepest tree that names may spell; what is deeper stays together in the last part.
    private static let depthLimit = 48

    init(_ parts: [String], separator: Character) {
        let kept = Self.depthLimit - 1
        self.parts =
            parts.count <= Self.depthLimit
            ? parts : parts[..<kept] + [parts[kept...].joined(separator: String(separator))]
        self.separator = separator
    }

    /// The path as people write it.
    var text: String { parts.joined(separator: String(separator)) }

    /// The path of a part inside.
    func appending(_ part: String) -> LayerPath { LayerPath(parts + [part], separator: separator) }

    /// The path that a node's metadata gives: the Keras importer's layer name, or the module scopes of PyTorch's
    /// exporter.
    static func fromMetadata(_ metadata: Metadata) -> LayerPath? {
        if let layer = metadata["keras.layer"], !layer.isEmpty {
            return LayerPath(layer.split(separator: "/").map(String.init), separator: "/")
        }
        return nil
    }

    /// The path in the scopes that PyTorch's exporter writes on a node: `['', 'layer1', 'layer1.0', 'relu']`, the last
    /// of which names the operation; or `: Net/layer1: Sequential/relu: aten.relu`.
    static func fromTorchScopes(_ metadata: Metadata) -> LayerPath? {
        if let text = metadata["pkg.torch.onnx.name_scopes"], let scopes = PythonLiteral.parse(text)?.array {
            guard let scope = scopes.dropLast().last?.string else { return nil }
            return LayerPath(scope.split(separator: ".").map(String.init), separator: ".")
        }
        guard let text = metadata["namespace"], text.contains(": ") else { return nil }
        let scopes = text.split(separator: "/").map { part in
            part.firstIndex(of: ":").map { String(part[..<$0]) } ?? String(part)
        }
        guard let scope = scopes.dropLast().last else { return nil }
        return LayerPath(scope.split(separator: ".").map(String.init), separator: ".")
    }

    /// The path in a scoped node name: `/layer4/layer4.0/conv1/Conv` of PyTorch, `net/block/conv2d/BiasAdd` of
    /// TensorFlow; the last part names the operation.
    static func fromNodeName(_ name: String) -> LayerPath? {
        guard name.contains("/") else { return nil }
        var parts = name.split(separator: "/").map(String.init)
        guard parts.count > 1 || name.hasPrefix("/") else { return nil }
        parts.removeLast()
        guard name.hasPrefix("/") else {
            if parts.first == "StatefulPartitionedCall" { parts.removeFirst() }
            return parts.isEmpty ? nil : LayerPath(parts, separator: "/")
        }
        var scopes: [String] = []
        for part in parts {
            // PyTorch repeats the path so far in the names of numbered modules: layer4, layer4.0.
            if let last = scopes.last, part.hasPrefix(last + ".") { scopes.removeLast() }
            scopes.append(part)
        }
        return LayerPath(scopes.flatMap { $0.split(separator: ".").map(String.init) }, separator: ".")
    }
}

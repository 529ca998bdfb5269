extension Graph {
    /// Lets nodes that name values in their attributes name them as they are called now.
    ///
    /// That is Gradient of `ai.onnx.preview.training`, which says by name what it differentiates.
    ///
    /// - Parameter old: the graph before values were renamed.
    public mutating func followRenamedValues(since old: Graph) {
        func renamed(_ name: [UInt8]) -> [UInt8] {
            guard let id = old.value(named: String(decoding: name, as: UTF8.self)), contains(id) else { return name }
            return Array(self[id].name.utf8)
        }
        for id in order where self[id].op == OperatorName("Gradient", domain: "ai.onnx.preview.training") {
            for name in ["xs", "zs", "y"] {
                switch self[id].attributes[name] {
                case .string(let text): setAttribute(name, of: id, to: .string(renamed(text)))
                case .strings(let texts): setAttribute(name, of: id, to: .strings(texts.map(renamed)))
                default: break
                }
            }
        }
    }
}

import GraftCore
import GraftData
import GraftIR

/// What `inspect` tells about a model: layers with shapes, parameters, multiply-adds, and what is frozen.
struct ModelSummary {
    /// One layer of the tree.
    struct Row {
        let path: String
        let name: String
        let kind: LayerKind
        let indentation: Int
        let shape: String
        let parameters: Int
        let trainable: Int
        let multiplyAdds: Int?
        let groups: [String]
        let operators: [String]
    }

    let model: Model
    let tree: LayerTree
    let annotations: Annotations
    let types: InferredTypes
    let rows: [Row]

    /// Summarises a model.
    ///
    /// - Throws: where the graph contradicts itself or annotations cannot be read.
    init(_ model: Model) throws {
        self.model = model
        let tree = try LayerTree(model)
        let annotations = try model.annotations()
        let types = try Inference.inferTypes(of: model)
        (self.tree, self.annotations, self.types) = (tree, annotations, types)
        let costs = Self.costs(model, types)
        var rows: [Row] = []
        for index in tree.layers.indices {
            let layer = tree.layers[index]
            var indentation = 0
            var parent = layer.parent
            while let up = parent {
                indentation += 1
                parent = tree.layers[up].parent
            }
            let nodes = tree.nodes(under: index)
            let parameters = tree.parameters(under: index)
            let output = tree.firstOutput(of: index)
            rows.append(
                Row(
                    path: layer.path, name: layer.name, kind: layer.kind, indentation: indentation,
                    shape: output.flatMap { types.shape(of: $0)?.description } ?? "",
                    parameters: Self.elements(parameters, model.graph),
                    trainable: Self.elements(
                        parameters.filter { annotations.isTrainable(model.graph[$0].name) }, model.graph),
                    multiplyAdds: Self.sum(nodes.lazy.map { costs[$0] }),
                    groups: Self.unique(parameters.compactMap { annotations.group(of: model.graph[$0].name)?.name }),
                    operators: Self.unique(nodes.map { model.graph[$0].op.type })))
        }
        self.rows = rows
    }

    /// All parameters.
    var parameterCount: Int { Self.elements(tree.parameters, model.graph) }
    /// The parameters that training would change.
    var trainableCount: Int {
        Self.elements(tree.parameters.filter { annotations.isTrainable(model.graph[$0].name) }, model.graph)
    }
    /// The multiply-adds of one sample, where all shapes are known.
    var multiplyAdds: Int? {
        Self.sum(zip(tree.layers, rows).filter { $0.0.parent == nil }.map { $0.1.multiplyAdds })
    }
    /// The bytes of all stored tensors.
    var weightBytes: Int { model.graph.initializers.reduce(0) { $0 + (model.graph[$1].tensor?.byteCount ?? 0) } }

    private static func unique(_ names: [String]) -> [String] {
        var seen = Set<String>()
        return names.filter { seen.insert($0).inserted }
    }

    private static func elements(_ ids: [ValueID], _ graph: Graph) -> Int {
        ids.reduce(0) { $0 + (graph[$1].shape?.counts.flatMap { Checked.product($0) } ?? 0) }
    }

    private static func sum(_ counts: some Sequence<Int?>) -> Int? {
        counts.reduce(0) { sum, count in sum.flatMap { sum in count.flatMap { Checked.sum(sum, $0) } } }
    }

    /// The multiply-adds of each node for one sample; none for a node whose shapes are not known.
    private static func costs(_ model: Model, _ types: InferredTypes) -> [NodeID: Int] {
        var bindings: [String: Extent] = [:]
        var single: [String: ShapeOverride] = [:]
        for id in model.graph.inputs where model.graph[id].initializer == nil {
            guard var shape = model.graph[id].shape, shape.rank > 0, shape[0].count == nil else { continue }
            if case .symbol(let name)? = types.shape(of: id)?[0].extent { bindings[name] = .fixed(1) }
            shape[0] = Dimension(.fixed(1))
            single[model.graph[id].name] = ShapeOverride(shape)
        }
        let costs = costs(model.graph, types, bindings)
        // What is not known with a free batch may be with a fixed one.
        guard costs.count < model.graph.nodeCount, !single.isEmpty,
            let fixed = try? Inference.inferTypes(of: model, inputs: single)
        else { return costs }
        return Self.costs(model.graph, fixed, [:])
    }

    private static func costs(_ graph: Graph, _ types: InferredTypes, _ bindings: [String: Extent]) -> [NodeID: Int] {
        func counts(_ values: [ValueID?]) -> [[Int]?] {
            values.map { value in
                guard let value, let shape = types.shape(of: value) ?? graph[value].shape else { return nil }
                return SymbolicShape(extents: shape.extents.map { $0.substituting(bindings) }).counts
            }
        }
        var result: [NodeID: Int] = [:]
        result.reserveCapacity(graph.nodeCount)
        for id in graph.order {
            guard let rule = OperatorRegistry.schema(for: graph[id].op)?.cost else {
                result[id] = 0
                continue
            }
            let node = graph[id]
            if let cost = rule(node, counts(node.inputs), counts(node.outputs)) { result[id] = cost }
        }
        return result
    }
}

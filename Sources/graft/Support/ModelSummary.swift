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
        let counted = (try? Inference.inferTypes(of: model, inputs: Self.singleSample(model))) ?? types
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
            let output = tree.outputs(of: index).first
            rows.append(
                Row(
                    path: layer.path, name: layer.name, kind: layer.kind, indentation: indentation,
                    shape: output.flatMap { types.shape(of: $0)?.description } ?? "",
                    parameters: Self.elements(parameters, model.graph),
                    trainable: Self.elements(
                        parameters.filter { annotations.isTrainable(model.graph[$0].name) }, model.graph),
                    multiplyAdds: Self.cost(nodes, model.graph, counted),
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
        let top = zip(tree.layers, rows).filter { $0.0.parent == nil }.map { $0.1.multiplyAdds }
        return top.contains { $0 == nil } ? nil : top.reduce(0) { $0 + ($1 ?? 0) }
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

    /// The multiply-adds of some nodes; nil where one that has a cost has an unknown shape.
    private static func cost(_ nodes: [NodeID], _ graph: Graph, _ types: InferredTypes) -> Int? {
        var total = 0
        for id in nodes {
            let node = graph[id]
            guard let rule = OperatorRegistry.schema(for: node.op)?.cost else { continue }
            func shapes(_ values: [ValueID?]) -> [[Int]?] {
                values.map { $0.flatMap { (types.shape(of: $0) ?? graph[$0].shape)?.counts } }
            }
            guard let cost = rule(node, shapes(node.inputs), shapes(node.outputs)) else { return nil }
            total += cost
        }
        return total
    }

    /// The inputs' shapes with one sample in the batch.
    private static func singleSample(_ model: Model) -> [String: ShapeOverride] {
        var result: [String: ShapeOverride] = [:]
        for id in model.graph.inputs where model.graph[id].initializer == nil {
            guard var shape = model.graph[id].shape, shape.rank > 0, shape[0].count == nil else { continue }
            shape[0] = Dimension(.fixed(1))
            result[model.graph[id].name] = ShapeOverride(shape)
        }
        return result
    }
}

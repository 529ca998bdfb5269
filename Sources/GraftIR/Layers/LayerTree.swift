import GraftCore
import OrderedCollections

/// A layer of a model: what people call by one name, made of nodes and stored tensors.
public struct Layer: Sendable {
    /// The path from the outermost part, such as `layer4.0.conv1` or `block_3/conv2d`; unique in the model.
    public let path: String
    /// The last part of the path.
    public let name: String
    /// What it does.
    public let kind: LayerKind
    /// The place of its first node in the order of computation, counted over layers that hold nodes.
    public let depth: Int
    /// The layer that holds it, as an index into ``LayerTree/layers``; nil at the top.
    public let parent: Int?
    /// The layers that it holds, as indices into ``LayerTree/layers``, in order of depth.
    public internal(set) var children: [Int]
    /// Its own nodes, in order; empty for a group.
    public let nodes: [NodeID]
    /// Its own stored tensors that training may change, in the order in which its nodes use them.
    public let parameters: [ValueID]
    /// Its own running statistics of batch normalization.
    public let statistics: [ValueID]

    /// Whether it holds nodes and no other layers.
    public var isLeaf: Bool { children.isEmpty }
}

/// The layers of a model: what people think in, derived from what its file holds.
///
/// Where a node belongs is taken from, in this order: the metadata `keras.layer` that the Keras reader writes; the names
/// of its parameters (`layer4.0.conv1.weight`); the module scopes in the metadata of PyTorch's exporter; a scoped node
/// name (`/layer4/layer4.0/conv1/Conv`, `net/conv1/BiasAdd`); and otherwise its place in the graph. Names of
/// parameters come before PyTorch's scopes since an exporter that folds a normalization into a convolution keeps
/// the names but writes the scope of the normalization. Every node of the graph belongs to one leaf.
public struct LayerTree: Sendable {
    /// The model that the layers are of.
    public let model: Model
    /// The parameters of the model and what they are.
    public let table: ParameterTable
    /// All layers: each group before what it holds, and in order of depth.
    public let layers: [Layer]
    /// The units that thaw together, from the input to the output; the head is not among them.
    public let blocks: [Block]
    /// The classifier, where it can be told.
    public let head: HeadCandidate?
    /// The nodes of the head: from the first value that belongs to the classifier to the output.
    public let headNodes: Set<NodeID>

    let leafOfNode: [NodeID: Int]
    /// For each layer the last one that it holds, itself where it holds none; those between are all in it.
    private let lastInside: [Int]
    let indexOfPath: [String: Int]

    /// Derives the layers of a model.
    ///
    /// - Throws: ``AnnotationError`` where the model's head annotation cannot be read.
    public init(_ model: Model) throws {
        self.model = model
        let graph = model.graph
        table = ParameterTable(graph)
        var builder = LayerBuilder(graph, table: table)
        (layers, leafOfNode) = builder.build()
        var lastInside = Array(layers.indices)
        for index in layers.indices.reversed() {
            if let parent = layers[index].parent { lastInside[parent] = max(lastInside[parent], lastInside[index]) }
        }
        self.lastInside = lastInside
        indexOfPath = Dictionary(
            layers.enumerated().map { ($0.element.path, $0.offset) }, uniquingKeysWith: { a, _ in a })
        let (head, headNodes) = try HeadFinder.present(in: model, table: table)
        self.head = head
        self.headNodes = headNodes
        blocks = BlockFinder(layers: layers, graph: graph, table: table, headNodes: headNodes).blocks()
    }

    /// The layers that hold nodes, in order of depth.
    public var leaves: [Layer] { layers.filter(\.isLeaf) }

    /// The layer of a path.
    public func layer(at path: String) -> Layer? { indexOfPath[path].map { layers[$0] } }

    /// The leaf that a node belongs to.
    public func layer(of node: NodeID) -> Layer? { leafOfNode[node].map { layers[$0] } }

    /// The leaf that a parameter or statistic belongs to: that of the first node that uses it.
    public func layer(of parameter: ValueID) -> Layer? { table.entries[parameter].flatMap { layer(of: $0.node) } }

    /// All stored tensors that training may change, in order of depth.
    public var parameters: [ValueID] { layers.flatMap(\.parameters) }

    /// All running statistics, in order of depth.
    public var statistics: [ValueID] { layers.flatMap(\.statistics) }

    /// The parameters of the head, in order.
    public var headParameters: [ValueID] {
        parameters.filter { table.entries[$0].map { headNodes.contains($0.node) } ?? false }
    }

    /// The values that a layer makes and something outside it reads.
    public func outputs(of index: Int) -> [ValueID] { Array(leaving(index)) }

    /// The first value that a layer makes and something outside it reads.
    public func firstOutput(of index: Int) -> ValueID? { leaving(index).first { _ in true } }

    private func leaving(_ index: Int) -> some Sequence<ValueID> {
        let graph = model.graph
        let inside = index...lastInside[index]
        return layers[inside].lazy.flatMap(\.nodes).flatMap { graph[$0].outputs.lazy.compactMap { $0 } }.filter {
            value in
            graph[value].uses.contains {
                switch $0 {
                case .node(let node, _), .capture(let node, _, _, _): !inside.contains(leafOfNode[node] ?? -1)
                case .output: true
                }
            }
        }
    }

    /// The nodes of a layer and of all layers that it holds, in order.
    public func nodes(under index: Int) -> [NodeID] { layers[index...lastInside[index]].flatMap(\.nodes) }

    /// The parameters of a layer and of all layers that it holds, in order.
    public func parameters(under index: Int) -> [ValueID] { layers[index...lastInside[index]].flatMap(\.parameters) }

    /// The index of a path in ``layers``.
    public func index(of path: String) -> Int? { indexOfPath[path] }
}

import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// A feature map of a network: channels over positions of the picture.
public struct FeatureMap: Sendable, Equatable {
    /// The value that holds it, as channels first.
    public let value: ValueID
    /// The value's name.
    public let name: String
    /// The path of the layer that makes it.
    public let layer: String
    /// The number of channels.
    public let channels: Int
    /// How many pixels of the input one position stands for, along each side: a power of two.
    public let stride: Int
    /// Whether everything that comes later is computed from it alone.
    public let isCut: Bool

    /// The map in words.
    public var summary: String { "\(name) (layer \(layer), \(channels) channels, stride \(stride))" }
}

/// The feature maps of a network, from which a head for each pixel can start.
public struct FeatureMaps: Sendable {
    /// The last map at each stride, finest first.
    public let candidates: [FeatureMap]
    /// The map to take where the user names none; nil where several would do.
    public let standard: FeatureMap?
    /// The model's picture: the input that the maps are computed from.
    let picture: ValueID
    /// Whether the picture comes with its channels last.
    let isChannelsLast: Bool

    private let reader: MapReader

    /// The side that an open input is taken to have while strides are worked out.
    private static let probeSide = 256

    /// Looks for the feature maps of a model.
    ///
    /// Where one value is all that later nodes read (the end of a residual stage), it is taken as the map of its stride;
    /// otherwise the last value with that stride. The head is no place for maps.
    /// - Throws: ``HeadSwapError`` where the model reads no picture.
    public init(_ model: Model) throws {
        let graph = model.graph
        let pictures = graph.inputs.filter { graph[$0].initializer == nil && graph[$0].type?.shape?.rank == 4 }
        guard pictures.count == 1, let picture = pictures.first, let shape = graph[picture].type?.shape else {
            throw HeadSwapError.option(
                "a head for each pixel needs a model with one input of rank 4; this one has \(pictures.count)")
        }
        self.picture = picture
        let readers = graph[picture].consumers
        isChannelsLast =
            !readers.isEmpty
            && readers.allSatisfy {
                graph[$0].op.isONNX("Transpose") && graph[$0].attributes.ints("perm") == [0, 3, 1, 2]
            }
        let sides = isChannelsLast ? 1...2 : 2...3
        var probe = shape
        probe[0] = 1
        for axis in sides where shape[axis].count == nil { probe[axis] = Dimension(.fixed(Self.probeSide)) }
        let reader = MapReader(
            model: model, tree: try LayerTree(model),
            types: try Inference.inferTypes(of: model, inputs: [graph[picture].name: ShapeOverride(probe)]),
            height: probe[sides.lowerBound].count ?? Self.probeSide)
        self.reader = reader

        let head = reader.tree.head
        let body = head.map { HeadFinder.body(of: model, before: $0.features) }
        let cuts = Self.cuts(in: graph, from: picture)
        var last: [Int: FeatureMap] = [:]
        var lastCut: [Int: FeatureMap] = [:]
        var final: FeatureMap?
        var newest: FeatureMap?
        for node in graph.order where body?.contains(node) ?? true {
            for case let value? in graph[node].outputs {
                guard let map = reader.map(value, isCut: cuts.contains(value)), map.stride >= 2 || map.isCut else {
                    continue
                }
                last[map.stride] = map
                newest = map
                if map.isCut {
                    lastCut[map.stride] = map
                    final = map
                }
            }
        }
        let strides = Set(last.keys).sorted()
        candidates = strides.compactMap { lastCut[$0] ?? last[$0] }
        if let head, head.kind == .pixel {
            standard = reader.map(head.features, isCut: true)
        } else {
            // Maps that come after the last cut, as in a detector, are as good as that one.
            standard = newest == final && (graph.outputs.count == 1 || head != nil) ? final : nil
        }
    }

    /// The values that everything behind them is computed from alone.
    private static func cuts(in graph: Graph, from picture: ValueID) -> Set<ValueID> {
        var position: [NodeID: Int] = [:]
        for (index, node) in graph.order.enumerated() { position[node] = index }
        var dependent: Set<ValueID> = [picture]
        var result = Set<ValueID>()
        // The values made so far that something still to come reads, by the position of their last reader.
        var open: [ValueID: Int] = [:]
        func lastUse(_ value: ValueID) -> Int {
            graph[value].isOutput ? Int.max : graph[value].consumers.compactMap { position[$0] }.max() ?? -1
        }
        open[picture] = lastUse(picture)
        for (index, node) in graph.order.enumerated() {
            let operands = graph[node].inputs.compactMap { $0 }
            // Extents are known ahead and carry nothing of the picture.
            if graph[node].op.type != "Shape", operands.contains(where: { dependent.contains($0) }) {
                for case let output? in graph[node].outputs {
                    dependent.insert(output)
                    let end = lastUse(output)
                    if end > index { open[output] = end }
                }
            }
            for (value, end) in open where end <= index { open[value] = nil }
            if open.count == 1, let only = open.first?.key { result.insert(only) }
        }
        return result
    }

    /// The feature map that a user means.
    ///
    /// - Parameter place: the name of a value, node or layer; nil for the standard one.
    /// - Throws: ``HeadError`` and ``HeadSwapError``, which list the candidates.
    public func map(at place: String?) throws -> FeatureMap {
        let (graph, tree) = (reader.model.graph, reader.tree)
        guard let place else {
            if let standard { return standard }
            guard !candidates.isEmpty else {
                throw HeadSwapError.option("the model has no feature map: no value of rank 4 with several positions")
            }
            throw HeadError.ambiguous(candidates: candidates.map(\.summary))
        }
        var values: [ValueID] = []
        if let value = graph.value(named: place) {
            values = [value]
        } else if let node = graph.node(named: place) {
            values = graph[node].outputs.compactMap { $0 }
        } else if let index = tree.index(of: place) {
            values = tree.outputs(of: index)
        } else {
            let names = candidates.map(\.name) + tree.layers.map(\.path) + graph.order.map { graph[$0].name }
            throw HeadError.noSuchPlace(name: place, suggestion: Suggestion.sentence(place, in: names))
        }
        if let map = values.compactMap({ reader.map($0, isCut: false) }).last { return map }
        let known = candidates.map(\.summary).joined(separator: "; ")
        throw HeadError.notAClassifier(
            name: place,
            reason: "it is no feature map (float, rank 4, channels first, several positions); "
                + (known.isEmpty ? "the model has none" : "the model has \(known)"))
    }

    /// By how much a map must grow to have the picture's size; nil where that is not fixed or no whole number.
    func factors(of map: FeatureMap) -> [Int]? {
        guard let given = reader.model.graph[picture].type?.shape, let shape = reader.types.shape(of: map.value)?.counts
        else { return nil }
        var result: [Int] = []
        for (axis, own) in zip(isChannelsLast ? 1...2 : 2...3, shape[2...]) {
            guard let side = given[axis].count, own > 0, side % own == 0 else { return nil }
            result.append(side / own)
        }
        return result
    }
}

/// Tells whether a value is a feature map.
private struct MapReader {
    let model: Model
    let tree: LayerTree
    let types: InferredTypes
    /// The rows of the picture that the types are of.
    let height: Int

    /// A value as a feature map; nil where it is none.
    func map(_ value: ValueID, isCut: Bool) -> FeatureMap? {
        let graph = model.graph
        guard let node = graph[value].producer, let shape = types.shape(of: value)?.counts, shape.count == 4,
            shape[2] > 1, shape[3] > 1, shape[1] > 0, !Self.arranging.contains(graph[node].op.type),
            types.elementType(of: value)?.isFloatingPoint ?? true
        else { return nil }
        let ratio = Double(height) / Double(shape[2])
        let stride = 1 << max(0, Int(log2(max(ratio, 1)).rounded()))
        return FeatureMap(
            value: value, name: graph[value].name, layer: tree.layer(of: node)?.path ?? graph[node].name,
            channels: shape[1], stride: stride, isCut: isCut)
    }

    /// Operators whose results are no maps to start from: their channels need not be on the second axis, or they only
    /// arrange or thin out a map.
    private static let arranging: Set<String> = [
        "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Gather", "Expand", "Constant", "ConstantOfShape", "Softmax",
        "Shape", "Einsum", "MatMul", "Pad", "MaxPool", "AveragePool", "Dropout",
    ]
}

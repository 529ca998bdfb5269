import GraftCore
import GraftIR

/// Gives a classifier to a model that has none: one that ends in a feature map or in a vector of features.
///
/// A map is averaged over its positions first. The model's other outputs go.
public enum AppendedHead: Pass {
    /// The name of the pass.
    public static let name = "appended-head"
    /// What the pass does.
    public static let summary = "Puts a classifier behind a network that has none."

    /// Where a classifier can be put: a value, and how many features it has.
    public struct Place: Sendable, Equatable {
        /// The value, with its channels first.
        public let features: ValueID
        /// The number of features.
        public let count: Int
        /// Whether it is a map that must be pooled.
        public let isMap: Bool
    }

    /// The place behind a value, or behind the only output.
    ///
    /// - Parameter name: the value's name, or that of the node that makes it; nil for the output.
    /// - Throws: ``HeadError`` where there is none or several, with names and shapes.
    public static func place(in model: Model, at name: String? = nil) throws -> Place {
        let graph = model.graph
        let types = try Inference.inferTypes(of: model)
        let value: ValueID
        if let name {
            guard
                let found = graph.value(named: name)
                    ?? graph.node(named: name).flatMap({ graph[$0].outputs.first.flatMap { $0 } })
            else {
                let names = graph.order.flatMap { graph[$0].outputs.compactMap { $0 } }.map { graph[$0].name }
                throw HeadError.noSuchPlace(name: name, suggestion: Suggestion.sentence(name, in: names))
            }
            value = found
        } else {
            guard graph.outputs.count == 1 else {
                throw HeadError.ambiguous(
                    candidates: graph.outputs.map { id in
                        "output \(graph[id].name) \(types.shape(of: id)?.description ?? "of unknown shape")"
                    })
            }
            value = graph.outputs[0]
        }
        let source = channelsFirst(value, in: graph)
        guard let shape = types.shape(of: source), shape.rank == 2 || shape.rank == 4, let count = shape[1].count,
            count > 0, types.elementType(of: source)?.isFloatingPoint ?? true
        else {
            let shape = types.shape(of: source)?.description ?? "an unknown shape"
            throw HeadError.notAClassifier(
                name: graph[value].name,
                reason: "a head is put behind floats of shape [N, features] or [N, channels, height, width]; "
                    + "it has \(shape)")
        }
        return Place(features: source, count: count, isMap: shape.rank == 4)
    }

    /// The value before a Transpose at the edge of a model with channels last.
    private static func channelsFirst(_ value: ValueID, in graph: Graph) -> ValueID {
        guard let node = graph[value].producer, graph[node].op.isONNX("Transpose"),
            graph[node].attributes.ints("perm") == [0, 2, 3, 1], let before = graph[node].inputs[0]
        else { return value }
        return before
    }

    /// The patch that appends a classifier.
    ///
    /// - Throws: ``HeadError`` where the place cannot be told, ``HeadSwapError`` where the head cannot be made.
    public static func patch(for model: Model, _ options: HeadOptions) throws -> Patch {
        try NewHead.check(options)
        let place = try place(in: model, at: options.place)
        let types = try Inference.inferTypes(of: model)
        let batch = types.shape(of: place.features)?[0] ?? "N"
        let elementType = types.elementType(of: place.features)
        var details = options.details
        details["features"] = JSON(model.graph[place.features].name)
        return try record(on: model, details: details) { model in
            var head = NewHead(model, behind: place.features, elementType: elementType, options: options)
            head.isFlat = true
            let classes = options.classes.count
            if place.isMap {
                head.append("GlobalAveragePool", name: "head_pool")
                head.append("Flatten", [], ["axis": .int(1)], name: "head_flatten")
            }
            var width = place.count
            if let hidden = options.hidden {
                guard let count = Checked.product([hidden, width]) else {
                    throw HeadSwapError.option("a hidden layer of \(hidden) over \(width) features is too large")
                }
                let weights = HeadWeights.kaiming(width: width, count: count, seed: options.seed, use: "head.hidden")
                try head.appendProduct(
                    weights, [Float](repeating: 0, count: hidden), from: width, to: hidden, name: "head_hidden")
                head.append("Relu", name: "head_hidden_relu")
                width = hidden
            }
            try head.appendDropout(name: "head_dropout")
            let weights = try HeadWeights(options, features: width, kernel: 1)
            try head.appendProduct(
                weights.rows, weights.biases, from: width, to: classes, name: "head_classifier")
            let scores = head.value
            let classifier = head.model.graph[scores].producer.map { head.model.graph[$0].name } ?? "head_classifier"
            try head.appendActivation(axis: 1, name: "head_activation")
            try head.finish(
                classifier: classifier, logits: scores,
                type: .tensor(elementType ?? .float32, [batch, Dimension(.fixed(classes))]))
            model = head.model
        }
    }
}

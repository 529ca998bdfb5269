import GraftCore
import GraftIR
import OrderedCollections

/// Says how batch normalizations behave in training.
public enum BatchNormSetting: Pass {
    /// Which ones, and how.
    public struct Options: Sendable, Equatable {
        /// The ones that are meant; nil for all that nothing else is said about.
        public var selector: Selector?
        /// How they behave; nil to leave it to the recipe.
        public var mode: BatchNormMode?

        /// A setting.
        public init(_ mode: BatchNormMode?, for selector: Selector? = nil) {
            self.mode = mode
            self.selector = selector
        }
    }

    /// The name of the pass.
    public static let name = "batch-norm"
    /// What the pass does.
    public static let summary = "Says how batch normalizations behave in training."

    /// The patch that sets the mode of batch normalizations.
    ///
    /// - Throws: ``SelectorError`` where the selector matches nothing or no batch normalization.
    public static func patch(for model: Model, _ options: Options) throws -> Patch {
        let tree = try LayerTree(model)
        let graph = model.graph
        let nodes = graph.order.filter { graph[$0].op.isONNX("BatchNormalization") }
        var means: [String] = []
        if let selector = options.selector {
            let chosen = try tree.select(selector)
            for node in nodes where chosen.nodes.contains(node) {
                if graph[node].inputs.indices.contains(3), let mean = graph[node].inputs[3] {
                    means.append(graph[mean].name)
                }
            }
            if means.isEmpty {
                throw SelectorError.noMatch(
                    part: selector.description, reason: "it selects no batch normalization", suggestion: "")
            }
        }
        let words = options.mode?.name ?? "as the recipe says"
        return try record(on: model, details: ["mode": JSON(words), "layers": JSON(means.count)]) { model in
            try model.updateAnnotations { annotations in
                if options.selector == nil {
                    annotations.defaultBatchNorm = options.mode
                    annotations.batchNorm = [:]
                } else {
                    for mean in means { annotations.batchNorm[mean] = options.mode }
                }
            }
        }
    }
}

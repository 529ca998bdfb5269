import GraftCore
import GraftIR

/// Removes nodes and stored tensors that no output depends on.
public enum DeadCode: Pass {
    /// What is removed besides nodes.
    public struct Options: Sendable, Equatable {
        /// Whether stored tensors that nothing reads go as well.
        public var removesTensors = true

        /// The usual choice.
        public init(removesTensors: Bool = true) { self.removesTensors = removesTensors }
    }

    /// The name of the pass.
    public static let name = "dead-code"
    /// What the pass does.
    public static let summary = "Removes nodes and stored tensors that no output depends on."

    /// The patch that removes what no output depends on.
    public static func patch(for model: Model, _ options: Options = Options()) throws -> Patch {
        try record(on: model, details: [:]) { model in
            model.graph.removeDeadNodes()
            guard options.removesTensors else { return }
            for id in model.graph.initializers + model.graph.sparseInitializers
            where model.graph.contains(id) && model.graph[id].uses.isEmpty {
                // Before IR version 4 every stored tensor is listed as an input; later one that is listed is a default.
                if model.irVersion >= 4, model.graph.inputs.contains(id) { continue }
                model.graph.removeValue(id)
            }
        }
    }
}

extension Graph {
    /// Removes the nodes that no output depends on.
    mutating func removeDeadNodes() {
        for id in order.reversed() {
            let outputs = self[id].outputs.compactMap { $0 }
            guard outputs.allSatisfy({ self[$0].uses.isEmpty }) else { continue }
            removeNode(id)
            for output in outputs { removeValue(output) }
        }
    }
}

import GraftCore
import GraftIR

/// Turns tensors in `Constant` nodes into stored tensors of the graph.
///
/// Some exporters (PaddlePaddle) put all weights into `Constant` nodes, where an optimizer cannot reach them.
public enum ConstantsToInitializers: Pass {
    /// Which constants.
    public enum Options: Sendable, Equatable {
        /// Those that are parameters or running statistics.
        case parameters
        /// All.
        case all
    }

    /// The name of the pass.
    public static let name = "constants"
    /// What the pass does.
    public static let summary = "Turns weights in Constant nodes into stored tensors."

    /// The patch that turns constants into stored tensors.
    public static func patch(for model: Model, _ options: Options = .parameters) throws -> Patch {
        let graph = model.graph
        let table = ParameterTable(graph)
        let chosen = graph.order.filter { id in
            guard graph[id].op.isONNX("Constant"), let output = graph[id].outputs.first.flatMap({ $0 }),
                graph.constantTensor(of: output) != nil
            else { return false }
            return options == .all || table[output] != nil
        }
        return try record(on: model, details: ["constants": JSON(chosen.count)]) { model in
            for id in chosen {
                guard let output = model.graph[id].outputs.first.flatMap({ $0 }),
                    let tensor = model.graph.constantTensor(of: output)
                else { continue }
                var stored = StoredTensor(tensor)
                if case .tensor(let literal)? = model.graph[id].attributes["value"] {
                    stored = literal
                    stored.name = ""
                }
                model.graph.removeNode(id)
                model.graph.setInitializer(output, stored)
            }
        }
    }
}

import GraftCore
import GraftIR
import OrderedCollections

/// Says which parameters training must not change.
public enum Freeze: Pass {
    /// Which parameters are frozen afterwards.
    public enum Options: Sendable, Equatable {
        /// Those that a selector names, and no others.
        case only(Selector)
        /// All but those that a selector names.
        case allBut(Selector)
        /// None.
        case none
        /// Those that a selector names, besides those that are frozen already.
        case add(Selector)
        /// Those that are frozen already, but for those that a selector names.
        case remove(Selector)

        fileprivate var words: String {
            switch self {
            case .only(let selector): "only \(selector)"
            case .allBut(let selector): "all but \(selector)"
            case .none: "none"
            case .add(let selector): "also \(selector)"
            case .remove(let selector): "no more \(selector)"
            }
        }
    }

    /// The name of the pass.
    public static let name = "freeze"
    /// What the pass does.
    public static let summary = "Says which parameters training must not change."

    /// The patch that freezes parameters.
    ///
    /// - Throws: ``SelectorError`` where a selector matches nothing, ``HeadError``, ``AnnotationError``.
    public static func patch(for model: Model, _ options: Options) throws -> Patch {
        let tree = try LayerTree(model)
        let graph = model.graph
        let all = tree.parameters
        let present = try model.annotations()
        let frozen: [ValueID]
        switch options {
        case .only(let selector):
            let chosen = try tree.select(selector).parameters
            frozen = all.filter { chosen.contains($0) }
        case .allBut(let selector):
            let chosen = try tree.select(selector).parameters
            frozen = all.filter { !chosen.contains($0) }
        case .none: frozen = []
        case .add(let selector):
            let chosen = try tree.select(selector).parameters
            frozen = all.filter { chosen.contains($0) || !present.isTrainable(graph[$0].name) }
        case .remove(let selector):
            let chosen = try tree.select(selector).parameters
            frozen = all.filter { !chosen.contains($0) && !present.isTrainable(graph[$0].name) }
        }
        return try record(on: model, details: ["frozen": JSON(options.words)]) { model in
            try model.updateAnnotations { annotations in
                annotations.frozen = []
                for id in frozen { annotations.frozen.append(graph[id].name) }
            }
        }
    }
}

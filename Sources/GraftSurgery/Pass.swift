import GraftCore
import GraftIR
import OrderedCollections

/// A change to a model that people ask for by name.
///
/// A pass reads a model and gives a patch: the patch is the dry run, is applied whole or not at all, and can be undone.
public protocol Pass: Sendable {
    /// What the pass needs to know.
    associatedtype Options: Sendable
    /// The name, as commands and the history of a model write it.
    static var name: String { get }
    /// What it does, in one sentence.
    static var summary: String { get }
    /// The change that the pass makes to a model.
    ///
    /// - Throws: why it cannot be made, and ``VerificationError`` where the result would be no valid model.
    static func patch(for model: Model, _ options: Options) throws -> Patch
}

extension Pass {
    /// Runs the pass on a model.
    ///
    /// - Returns: the change that was made.
    @discardableResult
    public static func run(_ model: inout Model, _ options: Options) throws -> Patch {
        let patch = try patch(for: model, options)
        try model.apply(patch)
        return patch
    }

    /// The patch of some edits, which the model's history remembers.
    static func record(on model: Model, details: JSON, _ edit: (inout Model) throws -> Void) throws -> Patch {
        try Patch.recording(name, on: model) { model in
            let before = model
            try edit(&model)
            guard model != before else { return }
            model.listStoredTensorsAsInputs()
            var entry: JSON = ["pass": JSON(name)]
            for (key, value) in details.object ?? [:] { entry[key] = value }
            try model.updateAnnotations { $0.history.append(entry) }
        }
    }
}

extension Model {
    /// Before IR version 4 every stored tensor has to be an input as well.
    mutating func listStoredTensorsAsInputs() {
        guard irVersion < 4 else { return }
        let listed = Set(graph.inputs)
        for id in graph.initializers where !listed.contains(id) {
            if let tensor = graph[id].tensor { graph[id].type = ValueType(of: tensor) }
            graph.makeInput(id)
        }
    }
}

/// All passes, for commands that list them.
public enum PassRegistry {
    /// The passes; a new file adds its line here.
    public static let all: [any Pass.Type] = [
        HeadSwap.self, Freeze.self, RateGrouping.self, BatchNormSetting.self, ConstantsToInitializers.self,
        DeadCode.self, DenseHead.self, AppendedHead.self, Extract.self, Fold.self, DynamicBatch.self, Merge.self,
        OpsetConversion.self, Rename.self,
    ]
}

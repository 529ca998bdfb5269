import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

extension Recipe {
    /// The names of the recipes that are made for a model.
    public static let names = ["head", "gradual", "full"]

    /// A recipe by name, made for a model, or the recipe in a file.
    ///
    /// - Throws: ``RecipeError/noSuchRecipe(name:known:)`` where it is neither; what reading the file throws.
    public static func named(_ name: String, for model: Model) throws -> Recipe {
        switch name {
        case "head": return head()
        case "gradual": return try gradual(for: model)
        case "full": return try full(for: model)
        default:
            guard name.hasSuffix(".yaml") || name.hasSuffix(".yml") || name.contains("/") || Folders.exists(name) else {
                throw RecipeError.noSuchRecipe(name: name, known: names)
            }
            return try Recipe(path: name)
        }
    }

    /// Only the classifier learns, on features of the frozen body.
    public static func head() -> Recipe {
        var recipe = Recipe(stages: [
            Stage(
                name: "head", thaw: ["@head"], length: .epochs(20), rate: 3e-3, schedule: cosine,
                stop: StopSettings(patience: 5))
        ])
        recipe.optimizer.choice.values["weight_decay"] = 0.01
        return recipe
    }

    /// Everything learns at once; layers near the input slower.
    public static func full(for model: Model) throws -> Recipe {
        Recipe(stages: [
            Stage(
                name: "all", thaw: ["*"], length: .epochs(10), rate: 5e-4,
                decay: decay(over: try LayerTree(model).blocks.count), schedule: cosine,
                stop: StopSettings(patience: 4))
        ])
    }

    /// The classifier first, then blocks from the end in up to three further stages, each slower than the one before.
    ///
    /// Blocks are thawed by number from the end, so that what the file freezes stays frozen; where the file freezes all
    /// of the body, the stages name the blocks, since there would be nothing to thaw otherwise.
    public static func gradual(for model: Model) throws -> Recipe {
        let layers = try LayerTree(model)
        let annotations = try model.annotations()
        let blocks = layers.blocks
        var stages = [
            Stage(
                name: "head", thaw: ["@head"], length: .epochs(10), rate: 3e-3, schedule: cosine,
                stop: StopSettings(patience: 3))
        ]
        let body = blocks.flatMap(\.parameters)
        let isFrozen = !body.isEmpty && body.allSatisfy { !annotations.isTrainable(model.graph[$0].name) }
        var counts: [Int] = []
        for count in [max(blocks.count / 4, 1), max(blocks.count / 2, 2), blocks.count]
        where count <= blocks.count && count > (counts.last ?? 0) { counts.append(count) }
        var rate = 1e-3
        var done = 0
        for (index, count) in counts.enumerated() {
            let added = blocks.suffix(count).dropLast(done)
            let names = added.map { Selector.block($0.name).description }
            let isNameable = added.allSatisfy { block in
                !block.name.contains { $0.isWhitespace || ",&()\"!*?[]".contains($0) }
            }
            let isLast = index == counts.count - 1
            let thaw = isFrozen && isNameable ? names.reversed() : [isLast ? "*" : "@last:\(count)"]
            stages.append(
                Stage(
                    name: isLast ? "all" : count == 1 ? "last-block" : "last-\(count)-blocks", thaw: thaw,
                    length: .epochs(10), rate: rate, decay: 0.7, schedule: cosine, stop: StopSettings(patience: 3)))
            done = count
            rate /= 2
        }
        return Recipe(stages: stages)
    }

    /// The decay with which the first of some blocks learns at about a seventh of the head's rate, whatever their number.
    private static func decay(over blocks: Int) -> Double {
        (100 * pow(0.15, 1 / Double(max(blocks, 3)))).rounded() / 100
    }

    private static let cosine = ScheduleSettings(NamedChoice("cosine"), warmup: .fraction(0.1))
}

extension Recipe {
    /// The recipe with more passes in stages that would take too few steps on so few samples.
    ///
    /// A stage measured in epochs gets at least 300 steps where it is the first and 100 otherwise, in at most 150 epochs;
    /// its patience grows to a sixth of its epochs. For recipes that were made by name: what a user wrote stays.
    public func lengthened(forSamples samples: Int) -> Recipe {
        var result = self
        let perEpoch = max((samples + batch * accumulate - 1) / (batch * accumulate), 1)
        for index in stages.indices {
            guard case .epochs(let epochs) = stages[index].length else { continue }
            let wanted = ((index == 0 ? 300 : 100) + perEpoch - 1) / perEpoch
            let more = max(epochs, min(wanted, 150))
            result.stages[index].length = .epochs(more)
            if var stop = stages[index].stop {
                stop.patience = max(stop.patience, more / 6)
                result.stages[index].stop = stop
            }
        }
        return result
    }
}

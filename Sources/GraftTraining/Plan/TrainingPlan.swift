import GraftCore
import GraftIR
import OrderedCollections

/// A recipe resolved for a model: what learns in each stage, how fast, and for how many steps.
public struct TrainingPlan: Sendable {
    /// Parameters that share a learning rate and a weight decay.
    public struct Group: Sendable, Equatable {
        /// The name, under which metrics list the rate; groups that differ only in weight decay share it.
        public var name: String
        /// The parameters.
        public var parameters: [ValueID]
        /// The factor on the stage's rate.
        public var multiplier: Double
        /// The weight decay.
        public var weightDecay: Double
    }

    /// One stage of the plan.
    public struct StagePlan: Sendable {
        /// What the recipe says.
        public var stage: Stage
        /// The parameters that learn, in order of depth.
        public var trainable: [ValueID]
        /// Those of them that did not learn in the stage before.
        public var thawed: [ValueID]
        /// The groups that they fall into.
        public var groups: [Group]
        /// How each batch normalization behaves, by its running mean.
        public var batchNorm: OrderedDictionary<ValueID, BatchNormMode>
        /// The number of single numbers that learn.
        public var trainableCount: Int
        /// The number of optimizer steps; nil where the number of samples is not known.
        public var steps: Int?
        /// Whether something costly comes before all that learns, so that its features are kept.
        public var keepsFeatures: Bool
    }

    /// The recipe, with every setting spelled out.
    public let recipe: Recipe
    /// The layers of the model.
    public let layers: LayerTree
    /// The stages.
    public let stages: [StagePlan]
    /// The number of optimizer steps in one pass over the data; nil where the number of samples is not known.
    public let stepsPerEpoch: Int?
    /// What a reader should know, such as layers that stay frozen because the file says so.
    public let remarks: [String]

    /// Resolves a recipe.
    ///
    /// - Parameter samples: the number of training samples; nil where it is not known.
    /// - Throws: ``RecipeError`` where a stage trains nothing or a selector does not fit, ``SelectorError``,
    ///   ``HeadError``, ``AnnotationError``.
    public init(_ recipe: Recipe, for model: Model, samples: Int? = nil) throws {
        let recipe = recipe.completed()
        self.recipe = recipe
        layers = try LayerTree(model)
        let annotations = try model.annotations()
        var resolver = StageResolver(recipe: recipe, layers: layers, annotations: annotations)
        let perStep = recipe.batch * recipe.accumulate
        stepsPerEpoch = samples.map { max(($0 + perStep - 1) / perStep, 1) }
        var stages: [StagePlan] = []
        for (index, stage) in recipe.stages.enumerated() {
            let steps: Int? =
                switch stage.length {
                case .steps(let count): count
                case .epochs(let count): stepsPerEpoch.map { $0 * count }
                }
            stages.append(try resolver.resolve(stage, index: index, steps: steps))
        }
        self.stages = stages
        remarks = resolver.remarks()
    }
}

/// Resolves one stage after another; each adds to what is thawed.
struct StageResolver {
    private let recipe: Recipe
    private let layers: LayerTree
    private let annotations: Annotations
    private let units: [ValueID: (name: String, distance: Int)]
    private let statisticsOfAffine: [ValueID: ValueID]
    private let batchNorm: OrderedDictionary<ValueID, BatchNormMode>
    private var thawed: Set<ValueID> = []
    private var stillFrozen: OrderedSet<String> = []

    init(recipe: Recipe, layers: LayerTree, annotations: Annotations) {
        self.recipe = recipe
        self.layers = layers
        self.annotations = annotations
        let graph = layers.model.graph
        units = Self.units(of: layers)
        var modes: OrderedDictionary<ValueID, BatchNormMode> = [:]
        var affine: [ValueID: ValueID] = [:]
        for id in graph.order where graph[id].op.isONNX("BatchNormalization") {
            let inputs = graph[id].inputs
            guard inputs.count > 4, let mean = inputs[3] else { continue }
            modes[mean] = annotations.batchNormMode(ofMean: graph[mean].name) ?? recipe.batchNorm.defaultMode
            for input in inputs[1...2] { if let input { affine[input] = mean } }
        }
        batchNorm = modes
        statisticsOfAffine = affine
    }

    mutating func resolve(_ stage: Stage, index: Int, steps: Int?) throws -> TrainingPlan.StagePlan {
        let graph = layers.model.graph
        let before = thawed
        for text in stage.thaw { try thaw(Selector.parse(text), in: stage, index: index) }
        let trainable = layers.parameters.filter { thawed.contains($0) }
        guard !trainable.isEmpty else {
            throw RecipeError.doesNotFit(
                RecipePlace("stages[\(index)]"),
                reason: "the stage \"\(stage.name)\" trains nothing: its thaw selects no parameter that may learn")
        }
        return TrainingPlan.StagePlan(
            stage: stage, trainable: trainable, thawed: trainable.filter { !before.contains($0) },
            groups: groups(trainable, stage), batchNorm: batchNorm,
            trainableCount: trainable.reduce(0) { $0 + (graph.constantTensor(of: $1)?.count ?? 0) }, steps: steps,
            keepsFeatures: recipe.features.cache && hasFrozenPrefix(trainable))
    }

    /// Whether a product with weights comes before all that learns or follows the batch.
    private func hasFrozenPrefix(_ trainable: [ValueID]) -> Bool {
        let graph = layers.model.graph
        var unsettled = Set(trainable)
        for id in graph.order {
            let node = graph[id]
            let operands = FeatureBoundary.operands(of: id, in: graph)
            var isMoving = operands.contains { unsettled.contains($0) } || node.op.isONNX("Dropout")
            if node.op.isONNX("BatchNormalization"), node.inputs.count > 3, let mean = node.inputs[3],
                let mode = batchNorm[mean], mode.statistics == .batch
            {
                isMoving = true
            }
            if isMoving {
                for case let output? in node.outputs { unsettled.insert(output) }
            } else if StageProgram.isCostly(node.op) {
                return true
            }
        }
        return false
    }

    /// Thaws what a selector selects; what the file freezes stays so unless a part of the selector names it.
    private mutating func thaw(_ selector: Selector, in stage: Stage, index: Int) throws {
        let graph = layers.model.graph
        let selected = try layers.select(selector).parameters
        var named = Set<ValueID>()
        for part in Self.namingParts(of: selector) { named.formUnion(try layers.select(part).parameters) }
        for id in selected where layers.table[id]?.isTrainable ?? false {
            if !annotations.isTrainable(graph[id].name) && !named.contains(id) {
                stillFrozen.append(graph[id].name)
                continue
            }
            if let mean = statisticsOfAffine[id], let mode = batchNorm[mean], !mode.trainsAffine { continue }
            guard graph.constantTensor(of: id)?.elementType == .float32 else {
                let type = graph.constantTensor(of: id)?.elementType.name ?? "unknown"
                throw RecipeError.doesNotFit(
                    RecipePlace("stages[\(index)].thaw"),
                    reason: "\(graph[id].name) has elements of type \(type); only float parameters can be trained")
            }
            thawed.insert(id)
            stillFrozen.remove(graph[id].name)
        }
    }

    /// The parts of a selector that name layers, as opposed to those that describe them.
    private static func namingParts(of selector: Selector) -> [Selector] {
        switch selector {
        case .name(let pattern): pattern.contains { $0 != "*" } ? [selector] : []
        case .block, .group, .head: [selector]
        case .list(let items): items.flatMap { namingParts(of: $0) }
        case .all(let factors): factors.contains { !namingParts(of: $0).isEmpty } ? [selector] : []
        default: []
        }
    }

    private func groups(_ trainable: [ValueID], _ stage: Stage) -> [TrainingPlan.Group] {
        let graph = layers.model.graph
        let decay = recipe.optimizer.choice.values["weight_decay"] ?? 0
        var result: [TrainingPlan.Group] = []
        for id in trainable {
            let name = graph[id].name
            let annotated = annotations.group(of: name)
            let unit = units[id] ?? ("body", 0)
            // A group in the file says how fast its parameters learn; the stage's decay is for the others.
            var multiplier = annotated?.multiplier ?? 1
            if annotated == nil { for _ in 0..<unit.distance { multiplier *= stage.decay } }
            var weightDecay = annotated?.weightDecay ?? decay
            let rank = graph.constantTensor(of: id)?.shape.count ?? 0
            if recipe.optimizer.exempt, rank <= 1 || !(layers.table[id]?.decays ?? true) { weightDecay = 0 }
            var label = annotated?.name ?? (stage.decay < 1 ? unit.name : "all")
            if let other = result.first(where: { $0.name == label && $0.multiplier != multiplier }) {
                label = "\(other.name)/\(unit.name)"
            }
            if let place = result.firstIndex(where: {
                $0.name == label && $0.weightDecay == weightDecay && $0.multiplier == multiplier
            }) {
                result[place].parameters.append(id)
            } else {
                result.append(
                    TrainingPlan.Group(
                        name: label, parameters: [id], multiplier: multiplier, weightDecay: weightDecay))
            }
        }
        return result
    }

    /// The unit of each parameter and how many units it is away from the head.
    private static func units(of layers: LayerTree) -> [ValueID: (name: String, distance: Int)] {
        var result: [ValueID: (name: String, distance: Int)] = [:]
        let head = layers.headParameters
        for id in head { result[id] = ("head", 0) }
        let first = head.isEmpty ? 0 : 1
        for (index, block) in layers.blocks.reversed().enumerated() {
            for id in block.parameters where result[id] == nil { result[id] = (block.name, first + index) }
        }
        // A parameter that no block holds goes with the one before it in depth.
        var previous = (name: "body", distance: max(first + layers.blocks.count - 1, 0))
        for id in layers.parameters {
            if let unit = result[id] { previous = unit } else { result[id] = previous }
        }
        return result
    }

    func remarks() -> [String] {
        guard !stillFrozen.isEmpty else { return [] }
        let shown = stillFrozen.prefix(4).joined(separator: ", ")
        let rest = stillFrozen.count > 4 ? " and \(stillFrozen.count - 4) more" : ""
        return [
            "\(shown)\(rest) stay frozen because the file says so; name the layer in thaw, or use `graft freeze`, to "
                + "train them"
        ]
    }
}

extension BatchNormSettings {
    /// The mode of layers about which the file says nothing.
    var defaultMode: BatchNormMode {
        BatchNormMode(
            trainsAffine: affine, statistics: mode == .frozen ? .running : .batch, updatesStatistics: mode == .train)
    }
}

import GraftAutodiff
import GraftCore
import GraftData
import GraftIR
import OrderedCollections

/// The graph of one training step: the network in its training form, the loss, the gradients, the updates.
///
/// Everything that changes from step to step is an input or a persistent value; the executor runs it as one program.
struct StepGraph {
    /// A value that is kept from step to step, and what replaces it after a step.
    struct Kept {
        let value: ValueID
        let update: ValueID
    }

    /// The model with everything appended.
    private(set) var model: Model
    /// The mean loss of the batch.
    private(set) var loss: ValueID
    /// The classes of the samples, int64.
    let labels: ValueID
    /// The inputs that take the learning rates, by the names of the groups.
    private(set) var rates: [String: ValueID] = [:]
    /// The inputs that take the step of each cohort: parameters that were thawed together.
    private(set) var cohortSteps: [Int: ValueID] = [:]
    /// The input that takes the seed of dropouts.
    let seed: ValueID?
    /// The input that takes the number of the step, for dropouts.
    let step: ValueID?
    /// Parameters, slots, running statistics and sums of gradients, with what replaces them.
    private(set) var kept: [Kept] = []
    /// The nodes of the network itself, without loss, gradients and updates.
    let network: Set<NodeID>
    /// The parameters that the loss does not depend on.
    private(set) var unreached: [ValueID] = []
    /// The gradient of each parameter.
    private var gradients: [(parameter: ValueID, gradient: ValueID)] = []

    /// The network in its training form with the loss and the gradients of what learns.
    ///
    /// - Throws: ``DifferentiationError``, ``TrainingFormError``, ``TrainingError/noScores(_:)``.
    init(
        _ source: Model, output: ValueID, stage: TrainingPlan.StagePlan, recipe: Recipe, classWeights: [Float]?,
        targets: TargetKind
    ) throws {
        var modes: [String: BatchNormMode] = [:]
        for (mean, mode) in stage.batchNorm { modes[source.graph[mean].name] = mode }
        let form = try TrainingForm(
            source,
            options: .init(unbiasedVariance: recipe.batchNorm.unbiased) { [modes] mean in modes[mean] ?? .inference })
        model = form.model
        (seed, step) = (form.seed, form.step)
        let scores = try Scores.find(behind: output, in: &model, for: targets)
        network = Set(model.graph.order)
        labels = model.graph.addInput(
            model.graph.uniqueValueName("graft.labels"), type: .tensor(targets.elementType))
        var weights: ValueID?
        if let classWeights {
            weights = model.graph.addInitializer(
                model.graph.uniqueValueName("graft.class_weights"), Tensor(classWeights))
        }
        guard let type = Losses.named(recipe.loss.choice.name) else {
            throw RecipeError.unknownName(
                RecipePlace("loss.name"), name: recipe.loss.choice.name, known: Losses.all.map { $0.name })
        }
        guard type.targetKinds.contains(targets) else {
            throw RecipeError.doesNotFit(
                RecipePlace("loss.name"),
                reason: "\(type.name) is for \(type.remark), but the data says \(targets.summary); take "
                    + Losses.standard(for: targets))
        }
        loss = try type.build(
            in: &model, scores: scores, labels: labels, weights: weights, recipe.loss.choice.values)
        let found = try Differentiation.gradients(of: loss, withRespectTo: stage.trainable, in: &model)
        for parameter in stage.trainable {
            if let gradient = found[parameter] {
                gradients.append((parameter, gradient))
            } else {
                unreached.append(parameter)
            }
        }
        for statistics in form.statistics {
            kept.append(Kept(value: statistics.mean, update: statistics.newMean))
            kept.append(Kept(value: statistics.variance, update: statistics.newVariance))
        }
    }

    /// Appends what updates the parameters by their gradients.
    ///
    /// - Parameter cohorts: the cohort of each parameter.
    mutating func appendUpdates(_ stage: TrainingPlan.StagePlan, recipe: Recipe, cohorts: [ValueID: Int]) throws {
        guard let rule = Optimizers.named(recipe.optimizer.choice.name) else {
            throw RecipeError.unknownName(
                RecipePlace("optimizer.name"), name: recipe.optimizer.choice.name, known: Optimizers.all.map { $0.name }
            )
        }
        let attributes = rule.attributes(recipe.optimizer.choice.values)
        var factor: [ValueID?] = []
        if let bound = recipe.clip, !gradients.isEmpty { factor = [clippingFactor(Float(bound))] }
        let byParameter = Dictionary(gradients.map { ($0.parameter, $0.gradient) }, uniquingKeysWith: { a, _ in a })
        for (index, group) in stage.groups.enumerated() {
            let rate = rates[group.name] ?? scalarInput("graft.rate/\(group.name)", .float32)
            rates[group.name] = rate
            let decay = model.graph.addInitializer(
                model.graph.uniqueValueName("graft.weight_decay/\(index)"), Tensor(scalar: Float(group.weightDecay)))
            for parameter in group.parameters {
                guard let gradient = byParameter[parameter], let tensor = model.graph[parameter].tensor else {
                    continue
                }
                let cohort = cohorts[parameter] ?? 0
                let step = cohortSteps[cohort] ?? scalarInput("graft.step/\(cohort)", .int64)
                cohortSteps[cohort] = step
                let name = model.graph[parameter].name
                let slots = rule.slots.map { slot in
                    model.graph.addInitializer(
                        StepGraph.slotName(slot, of: name), .zeros(.float32, shape: tensor.shape))
                }
                let outputs = ([name] + rule.slots.map { "\(name)/\($0)" }).map {
                    model.graph.addValue(model.graph.uniqueValueName("graft.updated/\($0)"))
                }
                model.graph.addNode(
                    OperatorName(rule.operatorName, domain: graftDomain), name: "graft.update/\(name)",
                    inputs: [parameter, gradient] + slots + [rate, decay, step] + factor, outputs: outputs,
                    attributes: attributes)
                for (value, update) in zip([parameter] + slots, outputs) {
                    kept.append(Kept(value: value, update: update))
                }
            }
        }
        model.importOpset(graftDomain, version: 1)
    }

    /// The name of a tensor that the optimizer keeps for a parameter.
    static func slotName(_ slot: String, of parameter: String) -> String { "graft.slot/\(slot)/\(parameter)" }

    /// The factor that scales all gradients so that their norm together is at most a bound: min(1, bound/(‖g‖ + 1e-6)).
    private mutating func clippingFactor(_ bound: Float) -> ValueID {
        let limit = model.graph.addInitializer(
            model.graph.uniqueValueName("graft.clip/limit"), Tensor(scalar: bound))
        let factor = model.graph.addValue(model.graph.uniqueValueName("graft.clip/factor"))
        let norm = model.graph.addValue(model.graph.uniqueValueName("graft.clip/norm"))
        model.graph.addNode(
            OperatorName("GradientScale", domain: graftDomain), name: "graft.clip",
            inputs: [limit] + gradients.map(\.gradient), outputs: [factor, norm])
        return factor
    }

    /// Lets gradients be summed in kept values rather than used at once: sum ← sum · keep + gradient · weight.
    ///
    /// - Returns: the inputs that take `keep` and `weight`, and the sums.
    mutating func appendSums() -> (keep: ValueID, weight: ValueID, sums: [ValueID]) {
        let keep = scalarInput("graft.sum/keep", .float32)
        let weight = scalarInput("graft.sum/weight", .float32)
        var sums: [ValueID] = []
        for pair in gradients {
            guard let tensor = model.graph[pair.parameter].tensor else { continue }
            let name = model.graph[pair.parameter].name
            let sum = model.graph.addInitializer("graft.sum/\(name)", .zeros(.float32, shape: tensor.shape))
            let kept = model.graph.add("Mul", [sum, keep], output: "graft.sum/kept")
            let added = model.graph.add("Mul", [pair.gradient, weight], output: "graft.sum/added")
            self.kept.append(Kept(value: sum, update: model.graph.add("Add", [kept, added], output: "graft.sum/next")))
            sums.append(sum)
        }
        return (keep, weight, sums)
    }

    /// The graph that only updates: it reads the sums of gradients.
    func updatesFromSums(
        _ sums: [ValueID], _ stage: TrainingPlan.StagePlan, recipe: Recipe, cohorts: [ValueID: Int]
    ) throws -> StepGraph {
        var result = self
        result.kept = []
        result.gradients = zip(gradients, sums).map { ($0.parameter, $1) }
        try result.appendUpdates(stage, recipe: recipe, cohorts: cohorts)
        return result
    }

    private mutating func scalarInput(_ name: String, _ type: ElementType) -> ValueID {
        model.graph.addInput(model.graph.uniqueValueName(name), type: .tensor(type, []))
    }
}

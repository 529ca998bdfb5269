import GraftAutodiff
import GraftCore
import GraftData
import GraftIR
import GraftRuntime
import OrderedCollections

/// The planned programs of one stage: features of the frozen part, the training step, the scores for validation.
///
/// All share one store of persistent values, so what a step changes is what validation reads.
package final class StageProgram {
    /// What crosses from the frozen part to the rest.
    let boundary: FeatureBoundary
    /// The names of the values that cross, in order.
    package let boundaryNames: [String]
    /// The parameters that the loss does not depend on.
    package let unreached: [String]
    /// The names of all persistent values that a step changes, but for sums of gradients.
    package let changing: [String]
    /// Whether the frozen part has products with weights, so that keeping its results saves time.
    let isPrefixCostly: Bool
    /// A digest of the frozen part: its nodes, their weights and settings.
    package let prefixHash: ContentHash

    private let stepSession: Session
    private let updateSession: Session?
    private let scoreSession: Session
    private let prefixSession: Session?
    private let labelsName: String
    private let lossName: String
    private let scoresName: String
    private let rateNames: [(name: String, group: String)]
    private let stepNames: [(name: String, cohort: Int)]
    private let seedName: String?
    private let stepName: String?
    private let sums: (keep: String, weight: String)?

    /// Plans a stage.
    ///
    /// - Parameters:
    ///   - source: the model; its weights are the start of what is not in the store yet.
    ///   - cohorts: for each parameter the stage in which it was thawed.
    /// - Throws: what differentiation and planning throw, before anything runs.
    package init(
        _ source: Model, output: ValueID, stage: TrainingPlan.StagePlan, recipe: Recipe, cohorts: [ValueID: Int],
        classWeights: [Float]?, targets: TargetKind = .classes, store: ParameterStore
    ) throws {
        let source = Self.relaxed(source, storing: stage.trainable)
        var graph = try StepGraph(
            source, output: output, stage: stage, recipe: recipe, classWeights: classWeights, targets: targets)
        unreached = graph.unreached.map { source.graph[$0].name }
        var sumIDs: [ValueID] = []
        var update: StepGraph?
        if recipe.accumulate > 1 {
            let (keep, weight, sums) = graph.appendSums()
            self.sums = (graph.model.graph[keep].name, graph.model.graph[weight].name)
            sumIDs = sums
            update = try graph.updatesFromSums(sums, stage, recipe: recipe, cohorts: cohorts)
        } else {
            try graph.appendUpdates(stage, recipe: recipe, cohorts: cohorts)
            self.sums = nil
        }
        let ir = graph.model.graph
        // An input with a stored default is a weight, as files before IR version 4 list them.
        let data = source.graph.inputs.filter { !source.graph[$0].isInitializer }
        let clock = [graph.labels] + [graph.seed, graph.step].compactMap { $0 }
        let scalars = Array(graph.rates.values) + Array(graph.cohortSteps.values)
        let moving = Set(graph.kept.map(\.value)).union(stage.trainable)
        boundary = FeatureBoundary(
            in: ir, towards: [graph.loss] + graph.kept.map(\.update), inputs: data, network: graph.network,
            changing: moving.union(clock).union(scalars))
        let prefix = boundary.prefix
        isPrefixCostly = prefix.contains { Self.isCostly(ir[$0].op) }
        boundaryNames = boundary.values.map { ir[$0].name }
        labelsName = ir[graph.labels].name
        lossName = ir[graph.loss].name
        seedName = graph.seed.map { ir[$0].name }
        stepName = graph.step.map { ir[$0].name }

        var options = PlanOptions()
        options.inputs =
            boundary.values + ir.inputs.filter { !source.graph.contains($0) || !source.graph.inputs.contains($0) }
        options.outputs = [graph.loss]
        options.persistent = moving
        options.updates = Dictionary(graph.kept.map { ($0.value, $0.update) }, uniquingKeysWith: { $1 })
        stepSession = try Session(Plan(ir, opsets: graph.model.opsets, options: options), store: store)

        let rated = update ?? graph
        let ratedIR = rated.model.graph
        rateNames = rated.rates.map { (ratedIR[$0.value].name, $0.key) }.sorted { $0.0 < $1.0 }
        stepNames = rated.cohortSteps.map { (ratedIR[$0.value].name, $0.key) }.sorted { $0.0 < $1.0 }
        if let update {
            var options = PlanOptions()
            options.inputs = Array(update.rates.values) + Array(update.cohortSteps.values)
            options.outputs = []
            options.persistent = Set(update.kept.map(\.value)).union(sumIDs)
            options.updates = Dictionary(update.kept.map { ($0.value, $0.update) }, uniquingKeysWith: { $1 })
            updateSession = try Session(Plan(ratedIR, opsets: update.model.opsets, options: options), store: store)
        } else {
            updateSession = nil
        }

        // Validation: the same network with running statistics and without dropout.
        var still = try TrainingForm(source, options: .init(drops: false) { _ in .inference }).model
        let scores = try Scores.find(behind: output, in: &still, for: targets).value
        scoresName = still.graph[scores].name
        var scoreOptions = PlanOptions()
        scoreOptions.inputs = boundary.values
        scoreOptions.outputs = [scores]
        scoreOptions.persistent = moving.filter { still.graph.contains($0) && still.graph[$0].isInitializer }
        scoreSession = try Session(Plan(still.graph, opsets: still.opsets, options: scoreOptions), store: store)

        if boundary.isEmpty {
            prefixSession = nil
        } else {
            var prefixOptions = PlanOptions()
            prefixOptions.inputs = data
            prefixOptions.outputs = boundary.values
            prefixSession = try Session(Plan(ir, opsets: graph.model.opsets, options: prefixOptions))
        }
        let sumNames = Set(sumIDs.map { ir[$0].name })
        var names = OrderedSet(moving.map { ir[$0].name }.sorted())
        if let update { names.formUnion(update.kept.map { ratedIR[$0.value].name }.sorted()) }
        changing = names.filter { !sumNames.contains($0) }
        prefixHash = try Self.hash(of: boundary, in: ir)
    }

    /// Whether an operator takes so long that its results are worth keeping.
    static func isCostly(_ op: OperatorName) -> Bool {
        ["Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"].contains {
            op.type.hasSuffix($0) || op.type.hasPrefix("QLinear\($0)")
        } || op.type == "Attention" || op.type == "ConvInteger" || op.type == "MatMulInteger"
    }

    /// Features at the boundary for a batch of samples, or the batch itself where nothing lies before it.
    package func features(_ batch: [String: Tensor]) throws -> [String: Tensor] {
        guard let prefixSession else { return batch.filter { boundaryNames.contains($0.key) } }
        return try prefixSession.run(batch.filter { name, _ in prefixSession.plan.inputs.contains { $0.name == name } })
    }

    /// One batch forward and back, and unless gradients are summed the update.
    ///
    /// This is the one place where gradients come to be; an exchange between machines fits between it and the update.
    /// - Parameter share: the part of the step's samples that are in this batch; 1 without accumulation.
    /// - Returns: the mean loss of the batch before the step.
    package func step(_ features: [String: Tensor], labels: [Int], clock: Clock, isFirst: Bool, share: Double) throws
        -> Double
    {
        try step(
            features, targets: Tensor(labels.map { Int64($0) }), clock: clock, isFirst: isFirst, share: share)
    }

    /// One batch forward and back, with what the data says about its samples.
    package func step(_ features: [String: Tensor], targets: Tensor, clock: Clock, isFirst: Bool, share: Double) throws
        -> Double
    {
        var inputs = features
        inputs[labelsName] = targets
        if let seedName { inputs[seedName] = Tensor(scalar: Int64(bitPattern: clock.seed)) }
        if let stepName { inputs[stepName] = Tensor(scalar: Int64(clock.draw)) }
        if let sums {
            inputs[sums.keep] = Tensor(scalar: Float(isFirst ? 0 : 1))
            inputs[sums.weight] = Tensor(scalar: Float(share))
        } else {
            addRates(to: &inputs, clock)
        }
        let outputs = try stepSession.run(inputs)
        return Double(try outputs[lossName]?.elements(as: Float.self).first ?? .nan)
    }

    /// The update from the sums of gradients; does nothing where every step updates.
    package func update(_ clock: Clock) throws {
        guard let updateSession else { return }
        var inputs: [String: Tensor] = [:]
        addRates(to: &inputs, clock)
        _ = try updateSession.run(inputs)
    }

    /// The class scores of a batch: [N, classes], or [N, classes, rows, columns].
    package func scores(_ features: [String: Tensor]) throws -> Tensor? {
        let names = scoreSession.plan.inputs.map(\.name)
        return try scoreSession.run(features.filter { names.contains($0.key) })[scoresName]
    }

    /// Where a step stands in time.
    package struct Clock {
        /// The learning rate of each group.
        package var rates: OrderedDictionary<String, Double>
        /// The step of each cohort, counted from 1.
        package var cohortSteps: [Int]
        /// The seed of dropouts.
        package var seed: UInt64
        /// What dropouts draw by: the number of the batch over the whole run.
        package var draw: Int

        package init(
            rates: OrderedDictionary<String, Double>, cohortSteps: [Int], seed: UInt64 = 0, draw: Int = 0
        ) {
            self.rates = rates
            self.cohortSteps = cohortSteps
            self.seed = seed
            self.draw = draw
        }
    }

    private func addRates(to inputs: inout [String: Tensor], _ clock: Clock) {
        for (name, group) in rateNames { inputs[name] = Tensor(scalar: Float(clock.rates[group] ?? 0)) }
        for (name, cohort) in stepNames {
            let step = clock.cohortSteps.indices.contains(cohort) ? clock.cohortSteps[cohort] : 1
            inputs[name] = Tensor(scalar: Int64(step))
        }
    }

    /// The model with types that any batch size fits, and with parameters that constants hold as stored tensors.
    static func relaxed(_ source: Model, storing parameters: [ValueID]) -> Model {
        var model = source
        for id in parameters { model.graph.storeConstant(id) }
        for id in model.graph.values {
            if model.graph[id].isInitializer { continue }
            if model.graph.inputs.contains(id) {
                if var shape = model.graph[id].type?.shape, shape.rank > 0 {
                    shape[0] = Dimension(.symbol("graft.batch"))
                    model.graph[id].type?.shape = shape
                }
            } else {
                model.graph[id].type = nil
            }
        }
        return model
    }

    /// A digest of everything that features at a boundary follow from, but for the samples.
    private static func hash(of boundary: FeatureBoundary, in graph: Graph) throws -> ContentHash {
        let hasher = ContentHash.Hasher()
        var constants: [ValueID] = []
        var pending = boundary.values.compactMap { graph[$0].producer }
        var seen = Set<NodeID>()
        while let id = pending.popLast() {
            guard seen.insert(id).inserted else { continue }
            for value in FeatureBoundary.operands(of: id, in: graph) {
                if let producer = graph[value].producer { pending.append(producer) } else { constants.append(value) }
            }
        }
        for id in graph.order where seen.contains(id) {
            let node = graph[id]
            hasher.update("\(node.op) \(node.inputs.map { $0.map { graph[$0].name } ?? "" })")
            hasher.update("\(node.outputs.map { $0.map { graph[$0].name } ?? "" }) \(node.attributes.all.count)")
            for attribute in node.attributes.all {
                hasher.update(attribute.name)
                if case .tensor(let stored) = attribute.value {
                    try stored.tensor.withBytes { hasher.update($0) }
                } else {
                    hasher.update("\(attribute.value)")
                }
            }
        }
        for id in constants.sorted() {
            guard let tensor = graph[id].tensor, tensor.elementType != .string else { continue }
            hasher.update("\(graph[id].name) \(tensor.elementType.name) \(tensor.shape)")
            try tensor.withBytes { hasher.update($0) }
        }
        hasher.update("\(boundary.values.map { graph[$0].name })")
        return hasher.finish()
    }
}

extension Graph {
    /// Turns the output of a `Constant` node into a stored tensor under the same handle; others stay.
    mutating func storeConstant(_ id: ValueID) {
        guard let producer = self[id].producer, self[producer].op.isONNX("Constant"),
            let tensor = constantTensor(of: id)
        else { return }
        removeNode(producer)
        setInitializer(id, StoredTensor(tensor))
    }
}

import GraftCore
import GraftIR

/// A model rewritten for training: the same function of its weights, with what training does differently spelled out.
///
/// - Batch normalizations that the options say normalise by the batch become `BatchNormTraining`; the others keep their
///   form for inference, and their statistics are constants.
/// - Dropouts become `DropoutTraining`, or pass their input on.
/// - Identity nodes go, calls of the model's functions and If nodes with a known condition are replaced by what they
///   run.
///
/// The form is a view for the training program; the model that is saved stays the original with new weights.
public struct TrainingForm: Sendable {
    /// What training does differently.
    public struct Options: Sendable {
        /// The mode of a batch normalization, by the name of its running mean.
        public var batchNorm: @Sendable (_ mean: String) -> BatchNormMode
        /// Whether the running variance follows the unbiased variance of the batch, as PyTorch does; ONNX and Keras
        /// take the biased one.
        public var unbiasedVariance: Bool
        /// Whether dropouts drop.
        public var drops: Bool

        /// The options of a training.
        public init(
            unbiasedVariance: Bool = false, drops: Bool = true,
            batchNorm: @escaping @Sendable (_ mean: String) -> BatchNormMode
        ) {
            self.batchNorm = batchNorm
            self.unbiasedVariance = unbiasedVariance
            self.drops = drops
        }
    }

    /// Running statistics that a step of training moves.
    public struct Statistics: Sendable, Equatable {
        /// The name of the batch normalization.
        public let node: String
        /// The initializer of the running mean.
        public let mean: ValueID
        /// The initializer of the running variance.
        public let variance: ValueID
        /// The value that holds the mean after the step.
        public internal(set) var newMean: ValueID
        /// The value that holds the variance after the step.
        public internal(set) var newVariance: ValueID
    }

    /// The rewritten model.
    public private(set) var model: Model
    /// The running statistics that move.
    public private(set) var statistics: [Statistics] = []
    /// The input that takes the seed of dropouts, an int64 scalar; nil where nothing drops.
    public private(set) var seed: ValueID?
    /// The input that takes the number of the step, an int64 scalar; nil where nothing drops.
    public private(set) var step: ValueID?

    /// The training form of a model.
    ///
    /// Handles of values and of nodes that stay are those of the given model.
    ///
    /// - Throws: ``TrainingFormError`` where a batch normalization cannot be trained as asked or functions cannot be
    ///   inlined; what inference throws.
    public init(_ model: Model, options: Options) throws {
        self.model = model
        try Inlining.run(on: &self.model)
        removeIdentities()
        for id in self.model.graph.order {
            let node = self.model.graph[id]
            guard node.op.canonicalDomain.isEmpty else { continue }
            switch node.op.type {
            case "BatchNormalization": try rewriteBatchNorm(id, node, options)
            case "Dropout": try rewriteDropout(id, node, options)
            default: break
            }
        }
        self.model.importOpset(graftDomain, version: 1)
    }

    private var opset: Int { model.opset(of: "") ?? 1 }

    // MARK: Batch normalization

    private mutating func rewriteBatchNorm(_ id: NodeID, _ node: Node, _ options: Options) throws {
        let attributes = try BatchNormalizationAttributes(node, opset: opset)
        let label = node.label(in: model.graph)
        guard node.inputs.count == 5, let mean = node.inputs[3], let variance = node.inputs[4] else { return }
        let mode = options.batchNorm(model.graph[mean].name)
        guard mode.statistics == .batch else {
            try keepRunning(id, node, label, isTraining: attributes.isTraining)
            return
        }
        if attributes.isPerActivation {
            throw TrainingFormError.batchNorm(
                node: label, reason: "normalises each activation on its own (spatial = 0), which cannot be trained")
        }
        guard !mode.updatesStatistics || model.graph[mean].isInitializer && model.graph[variance].isInitializer else {
            throw TrainingFormError.batchNorm(
                node: label, reason: "computes its statistics from other nodes; they cannot follow the batches")
        }
        // Two nodes that share their statistics move them one after the other.
        let earlier = statistics.firstIndex { $0.mean == mean && $0.variance == variance }
        var inputs = node.inputs
        if let earlier {
            inputs[3] = statistics[earlier].newMean
            inputs[4] = statistics[earlier].newVariance
        }
        let position = model.graph.position(of: id)
        model.graph.removeNode(id)
        func value(_ name: String) -> ValueID {
            model.graph.addValue(model.graph.uniqueValueName("\(label)/\(name)"))
        }
        var outputs: [ValueID?] = [node.outputs[0]]
        for index in 1..<3 {
            let declared = node.outputs.indices.contains(index) ? node.outputs[index] : nil
            let name = index == 1 ? "new_mean" : "new_variance"
            outputs.append(declared ?? (mode.updatesStatistics ? value(name) : nil))
        }
        outputs += [value("saved_mean"), value("saved_inverse_deviation")]
        model.graph.addNode(
            OperatorName("BatchNormTraining", domain: graftDomain), name: node.name, inputs: inputs, outputs: outputs,
            attributes: [
                "epsilon": .float(attributes.epsilon), "momentum": .float(attributes.momentum),
                "unbiased": .int(options.unbiasedVariance ? 1 : 0),
            ], at: position)
        guard mode.updatesStatistics, let newMean = outputs[1], let newVariance = outputs[2] else { return }
        if let earlier {
            statistics[earlier].newMean = newMean
            statistics[earlier].newVariance = newVariance
        } else {
            statistics.append(
                Statistics(node: label, mean: mean, variance: variance, newMean: newMean, newVariance: newVariance))
        }
    }

    /// A node that the file left in training mode goes back to its running statistics.
    private mutating func keepRunning(_ id: NodeID, _ node: Node, _ label: String, isTraining: Bool) throws {
        guard isTraining else { return }
        for output in node.outputs.dropFirst() {
            if let output, !model.graph[output].uses.isEmpty {
                throw TrainingFormError.batchNorm(
                    node: label, reason: "gives out batch statistics that other nodes read, but is to keep its own")
            }
        }
        let position = model.graph.position(of: id)
        var attributes = node.attributes
        if opset >= 14 { attributes["training_mode"] = .int(0) }
        if opset < 7 { attributes["is_test"] = .int(1) }
        model.graph.removeNode(id)
        model.graph.addNode(
            node.op, name: node.name, inputs: node.inputs, outputs: [node.outputs.first ?? nil],
            attributes: attributes, at: position)
    }

    // MARK: Dropout

    private mutating func rewriteDropout(_ id: NodeID, _ node: Node, _ options: Options) throws {
        guard let input = node.inputs.first ?? nil, let output = node.outputs.first ?? nil else { return }
        let attributes = try DropoutAttributes(node, opset: opset)
        let mask = node.outputs.count > 1 ? node.outputs[1] : nil
        let maskIsRead = mask.map { !model.graph[$0].uses.isEmpty } ?? false
        guard options.drops else {
            if !maskIsRead { bypass(id, from: input, output: output) }
            return
        }
        let seed = scalarInput(\.seed, "graft.seed")
        let step = scalarInput(\.step, "graft.step")
        let given = attributes.ratioInput.flatMap { node.inputs.indices.contains($0) ? node.inputs[$0] : nil }
        let ratio: ValueID
        if let given {
            ratio = given
        } else {
            ratio = model.graph.addInitializer(
                model.graph.uniqueValueName("\(node.label(in: model.graph))/ratio"),
                Tensor(scalar: attributes.ratio ?? 0.5))
        }
        let position = model.graph.position(of: id)
        let name = node.label(in: model.graph)
        model.graph.removeNode(id)
        let newMask = mask ?? model.graph.addValue(model.graph.uniqueValueName("\(name)/mask"))
        // Each dropout draws from a stream of its own; the number stays as long as the graph does.
        model.graph.addNode(
            OperatorName("DropoutTraining", domain: graftDomain), name: node.name, inputs: [input, ratio, seed, step],
            outputs: [output, newMask], attributes: ["stream": .int(dropoutCount)], at: position)
        dropoutCount += 1
    }

    private var dropoutCount = 0

    private mutating func scalarInput(_ place: WritableKeyPath<TrainingForm, ValueID?>, _ name: String) -> ValueID {
        if let known = self[keyPath: place] { return known }
        let id = model.graph.addInput(model.graph.uniqueValueName(name), type: .tensor(.int64, []))
        self[keyPath: place] = id
        return id
    }

    // MARK: Identity

    private mutating func removeIdentities() {
        for id in model.graph.order {
            let node = model.graph[id]
            guard node.op.isONNX("Identity"), let input = node.inputs.first ?? nil,
                let output = node.outputs.first ?? nil
            else { continue }
            bypass(id, from: input, output: output)
        }
    }

    /// Lets the readers of a node's output read its input; an output of the graph keeps its node.
    private mutating func bypass(_ id: NodeID, from input: ValueID, output: ValueID) {
        if model.graph[output].isOutput {
            if !model.graph[id].op.isONNX("Identity") {
                let position = model.graph.position(of: id)
                let name = model.graph[id].name
                model.graph.removeNode(id)
                model.graph.addNode("Identity", name: name, inputs: [input], outputs: [output], at: position)
            }
            return
        }
        model.graph.replaceUses(of: output, with: input)
        model.graph.removeNode(id)
    }
}

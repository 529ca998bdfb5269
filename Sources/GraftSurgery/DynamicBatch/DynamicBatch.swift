import GraftCore
import GraftIR

/// Lets a model that was exported for one batch size run with any.
///
/// The first axis of the inputs gets a name instead of a number, and what spells the number out inside the graph
/// (targets of `Reshape`, stored states, sizes) follows. That rows stay independent is proven by running, which the
/// pass itself cannot do.
public enum DynamicBatch: Pass {
    /// What becomes dynamic.
    public struct Options: Sendable, Equatable {
        /// The name of the extent.
        public var symbol: String
        /// The inputs whose first axis is the batch; those with the same fixed first extent as the first input where
        /// empty.
        public var inputs: [String]

        /// A name for the batch.
        public init(symbol: String = "batch", inputs: [String] = []) {
            self.symbol = symbol
            self.inputs = inputs
        }
    }

    /// The name of the pass.
    public static let name = "dynamic-batch"
    /// What the pass does.
    public static let summary = "Lets a model of a fixed batch size run with any."

    /// The patch that makes the batch size free.
    ///
    /// - Throws: ``DynamicBatchError`` that names the node at which the batch size is lost or fixed.
    public static func patch(for model: Model, _ options: Options = Options()) throws -> Patch {
        guard options.symbol.isIdentifier else { throw DynamicBatchError.badName(options.symbol) }
        let (inputs, size) = try batchedInputs(model, options)
        return try record(
            on: model, details: ["batch": JSON(options.symbol), "from": JSON(size)]
        ) { edited in
            let original = try Inference.inferTypes(of: model)
            var axes = Dictionary(uniqueKeysWithValues: inputs.map { ($0, 0) })
            var tried: Set<ValueID> = []
            while true {
                var walk = BatchWalk(
                    model, original: original, size: size, symbol: options.symbol, mayAddInputs: options.inputs.isEmpty)
                do {
                    try walk.run(inputs: axes)
                    edited.graph = walk.graph
                    break
                } catch let missing as BatchWalk.MissingBatch {
                    guard options.inputs.isEmpty, tried.insert(missing.input).inserted else {
                        throw walk.refusal(
                            missing.node,
                            "the input \"\(model.graph[missing.input].name)\" has a row for each sample, and its axis "
                                + "\(missing.axis) does not follow the batch")
                    }
                    axes[missing.input] = missing.axis
                }
            }
            try checkOtherSizes(edited, axes, original, symbol: options.symbol)
        }
    }

    /// Infers the shapes with a batch of another size, which no other extent has: what fitted by chance fits no more.
    private static func checkOtherSizes(
        _ model: Model, _ axes: [ValueID: Int], _ original: InferredTypes, symbol: String
    ) throws {
        let graph = model.graph
        var taken: Set<Int> = []
        for id in graph.values {
            for extent in (original.shape(of: id) ?? graph[id].shape)?.extents ?? [] {
                if case .fixed(let count) = extent { taken.insert(count) }
            }
        }
        let size = [7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43].first { !taken.contains($0) } ?? 47
        var shapes: [String: ShapeOverride] = [:]
        for (id, axis) in axes {
            guard var shape = graph[id].shape else { continue }
            shape[axis].extent = .fixed(size)
            shapes[graph[id].name] = ShapeOverride(shape)
        }
        do {
            _ = try Inference.inferTypes(of: model, inputs: shapes)
        } catch let error as InferenceError {
            throw DynamicBatchError.node(
                name: error.node, op: error.op, reason: "with \(size) samples, \(error.reason)")
        }
    }

    private static func batchedInputs(_ model: Model, _ options: Options) throws -> ([ValueID], Int) {
        let graph = model.graph
        let free = graph.inputs.filter { !graph[$0].isInitializer }
        var chosen: [ValueID] = []
        for name in options.inputs {
            guard let id = free.first(where: { graph[$0].name == name }) else {
                let names = free.map { graph[$0].name }
                throw DynamicBatchError.noSuchInput(name, suggestion: Suggestion.sentence(name, in: names))
            }
            chosen.append(id)
        }
        func extent(_ id: ValueID) -> Int? { graph[id].shape.flatMap { $0.rank > 0 ? $0[0].count : nil } }
        if chosen.isEmpty {
            guard let first = free.first(where: { extent($0) != nil }), let size = extent(first) else {
                throw DynamicBatchError.nothingFixed
            }
            chosen = free.filter { extent($0) == size }
        }
        guard let size = extent(chosen[0]), size > 0 else { throw DynamicBatchError.nothingFixed }
        for id in chosen where extent(id) != size {
            throw DynamicBatchError.severalSizes(graph[chosen[0]].name, graph[id].name)
        }
        return (chosen, size)
    }
}

/// Why a batch size cannot be made free.
public enum DynamicBatchError: GraftError, Equatable {
    /// The name of the extent is no name.
    case badName(String)
    /// The model has no such input.
    case noSuchInput(String, suggestion: String)
    /// No input has a fixed first extent.
    case nothingFixed
    /// Two inputs have different first extents.
    case severalSizes(String, String)
    /// A node fixes the batch size.
    case node(name: String, op: OperatorName, reason: String)
    /// An output does not depend on the batch size.
    case output(name: String, shape: String)

    public var exitStatus: ExitStatus { .badInput }
    public var description: String {
        switch self {
        case .badName(let name): "\"\(name)\" cannot name an extent: letters, digits and _ are expected"
        case .noSuchInput(let name, let suggestion): "the model has no input \"\(name)\".\(suggestion)"
        case .nothingFixed: "no input has a fixed batch size"
        case .severalSizes(let first, let second):
            "the inputs \"\(first)\" and \"\(second)\" have different first extents"
        case .node(let name, let op, let reason): "node \"\(name)\" (\(op)) fixes the batch size: \(reason)"
        case .output(let name, let shape):
            "the output \"\(name)\" of shape \(shape) does not follow the batch size; name the inputs that do with --inputs"
        }
    }
}

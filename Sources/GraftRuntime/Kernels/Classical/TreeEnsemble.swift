import GraftCore
import GraftIR

/// TreeEnsemble, TreeEnsembleClassifier and TreeEnsembleRegressor.
enum TreeEnsembleKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("TreeEnsemble", domain: classicalDomain) { node in
                try made(node) {
                    try CountedTrees<Float>(node)
                } or: {
                    try CountedTrees<Double>(node)
                }
            },
            KernelDefinition("TreeEnsembleClassifier", domain: classicalDomain) { node in
                try made(node) {
                    try TreeClassifier<Float>(node)
                } or: {
                    try TreeClassifier<Double>(node)
                }
            },
            KernelDefinition("TreeEnsembleRegressor", domain: classicalDomain) { node in
                try made(node) {
                    try TreeRegressor<Float>(node)
                } or: {
                    try TreeRegressor<Double>(node)
                }
            },
        ]
    }

    /// Features are compared in 64 bits where they, or what they are compared with, have 64 bits, or may have.
    private static func made(
        _ node: KernelNode, _ narrow: () throws -> any Kernel, or wide: () throws -> any Kernel
    ) throws -> any Kernel {
        let isWide = node.attributes.all.contains {
            if case .tensor(let stored) = $0.value { stored.tensor.elementType == .float64 } else { false }
        }
        let type = node.elementType(0)
        return isWide || type == .float64 || type == nil ? try wide() : try narrow()
    }
}

/// What the three operators share: trees, and what they do to the rows of an input.
struct TreeEvaluation<Scalar: BinaryFloatingPoint & BitwiseCopyable & TensorElement>: Sendable {
    let forest: TreeForest<Scalar>
    let aggregate: TreeAggregate
    let base: [Scalar]

    /// Calls `body` with the scores of each row and whether there was a vote for each, on several threads.
    func forEachRow(
        _ context: KernelContext, _ x: RuntimeTensor, rows: Int, columns: Int,
        _ body: (_ row: Int, _ scores: UnsafeMutablePointer<Scalar>, _ voted: UnsafeMutablePointer<Bool>) -> Void
    ) throws {
        guard columns >= forest.features else {
            throw KernelFailure("rows of \(columns) features; the trees read \(forest.features)")
        }
        let targets = forest.targets
        let block = max(1, min(64, 4096 / targets))
        let source = UnsafePointer(x.typed(Scalar.self))
        let average = aggregate == .average ? Scalar(forest.roots.count) : 1
        Parallel.forEachRange(rows, grain: max(1, 256 / forest.roots.count)) { range in
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: block * targets) { scores in
                withUnsafeTemporaryAllocation(of: Bool.self, capacity: block * targets) { voted in
                    guard let scores = scores.baseAddress, let voted = voted.baseAddress else { return }
                    for start in stride(from: range.lowerBound, to: range.upperBound, by: block) {
                        let part = start..<min(start + block, range.upperBound)
                        scores.update(repeating: 0, count: part.count * targets)
                        voted.update(repeating: false, count: part.count * targets)
                        forest.evaluate(part, source, columns: columns, aggregate, scores, voted)
                        for row in part {
                            let place = (row - start) * targets
                            for target in 0..<targets {
                                if aggregate == .average { scores[place + target] /= average }
                                if !base.isEmpty { scores[place + target] += base[target] }
                            }
                            body(row, scores + place, voted + place)
                        }
                    }
                }
            }
        }
    }

    /// The rows of an input, of the type that features are compared in.
    static func features(_ context: KernelContext) throws -> (tensor: RuntimeTensor, rows: Int, columns: Int) {
        let tensor = try context.cast(context.plain(0), Scalar.elementType)
        let (rows, columns) = try KernelContext.rowsAndColumns(tensor.shape)
        return (tensor, rows, columns)
    }
}

/// TreeEnsembleRegressor.
final class TreeRegressor<Scalar: BinaryFloatingPoint & BitwiseCopyable & TensorElement>: Kernel {
    private let evaluation: TreeEvaluation<Scalar>
    private let transform: ScoreTransform

    init(_ node: KernelNode) throws {
        let reader = TreeForestReader<Scalar>(attributes: node.attributes)
        let names = ["AVERAGE": TreeAggregate.average, "SUM": .sum, "MIN": .minimum, "MAX": .maximum]
        let name = node.attributes.string("aggregate_function") ?? "SUM"
        guard let aggregate = names[name] else { throw KernelFailure("aggregate_function is \"\(name)\"") }
        let targets = node.attributes.int("n_targets") ?? 1
        let base = try reader.numbers("base_values")
        guard base.isEmpty || base.count == targets else {
            throw KernelFailure("\(base.count) base_values for \(targets) targets")
        }
        evaluation = TreeEvaluation(
            forest: try reader.forest(votes: "target", targets: targets), aggregate: aggregate, base: base)
        transform = try ScoreTransform(node.attributes)
    }

    func run(_ context: KernelContext) throws {
        let (x, rows, columns) = try TreeEvaluation<Scalar>.features(context)
        let targets = evaluation.forest.targets
        let y = try context.output(0, .float32, [rows, targets]).floats
        let transform = transform
        try evaluation.forEachRow(context, x, rows: rows, columns: columns) { row, scores, _ in
            let out = y + row * targets
            for target in 0..<targets { out[target] = Float(scores[target]) }
            // A softmax of one score says nothing, and is left out.
            if targets > 1 || transform == .probit { transform.apply(out, targets) }
        }
    }
}

/// TreeEnsemble.
final class CountedTrees<Scalar: BinaryFloatingPoint & BitwiseCopyable & TensorElement>: Kernel {
    private let evaluation: TreeEvaluation<Scalar>
    private let transform: ScoreTransform

    init(_ node: KernelNode) throws {
        let transforms: [ScoreTransform] = [.none, .softmax, .logistic, .softmaxZero, .probit]
        let chosen = node.attributes.int("post_transform") ?? 0
        guard let aggregate = TreeAggregate(rawValue: node.attributes.int("aggregate_function") ?? 1),
            transforms.indices.contains(chosen)
        else { throw KernelFailure("aggregate_function or post_transform is none that there is") }
        transform = transforms[chosen]
        evaluation = TreeEvaluation(
            forest: try TreeForestReader<Scalar>(attributes: node.attributes).countedForest(), aggregate: aggregate,
            base: [])
    }

    func run(_ context: KernelContext) throws {
        let type = try context.input(0).elementType
        let (x, rows, columns) = try TreeEvaluation<Scalar>.features(context)
        let targets = evaluation.forest.targets
        let transform = transform
        let y = try context.temporary(Scalar.elementType, [rows, targets])
        let out = y.typed(Scalar.self)
        try evaluation.forEachRow(context, x, rows: rows, columns: columns) { row, scores, _ in
            let here = out + row * targets
            if transform != .none, targets > 1 || transform == .probit {
                withUnsafeTemporaryAllocation(of: Float.self, capacity: targets) { narrow in
                    guard let narrow = narrow.baseAddress else { return }
                    for target in 0..<targets { narrow[target] = Float(scores[target]) }
                    transform.apply(narrow, targets)
                    for target in 0..<targets { here[target] = Scalar(narrow[target]) }
                }
            } else {
                here.update(from: scores, count: targets)
            }
        }
        context.set(0, try context.cast(y, type))
    }
}

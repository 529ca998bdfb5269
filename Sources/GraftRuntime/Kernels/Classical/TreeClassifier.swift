import GraftCore
import GraftIR

/// TreeEnsembleClassifier.
///
/// Where the model has two classes and all leaves vote for one of them, the score is that of the second class: above
/// one half where no vote is negative, else above zero. Where leaves vote for several classes the highest score wins.
final class TreeClassifier<Scalar: BinaryFloatingPoint & BitwiseCopyable & TensorElement>: Kernel {
    private let evaluation: TreeEvaluation<Scalar>
    private let transform: ScoreTransform
    private let labels: ClassLabels
    /// The class that all leaves vote for, where there are two classes or one.
    private let onlyClass: Int?
    private let isAllPositive: Bool

    init(_ node: KernelNode) throws {
        labels = try ClassLabels(node.attributes, integers: "classlabels_int64s")
        let reader = TreeForestReader<Scalar>(attributes: node.attributes)
        let forest = try reader.forest(votes: "class", targets: labels.count)
        let voted = Set(forest.votes.map(\.target))
        let only = labels.count <= 2 && voted.count == 1 ? voted.first.map { Int($0) } : nil
        var base = try reader.numbers("base_values")
        if let only, base.count == 1 {
            let value = base[0]
            base = Array(repeating: 0, count: labels.count)
            base[only] = value
        }
        guard base.isEmpty || base.count == labels.count else {
            throw KernelFailure("\(base.count) base_values for \(labels.count) classes")
        }
        onlyClass = only
        isAllPositive = forest.votes.allSatisfy { $0.weight >= 0 }
        evaluation = TreeEvaluation(forest: forest, aggregate: .sum, base: base)
        transform = try ScoreTransform(node.attributes)
    }

    func run(_ context: KernelContext) throws {
        let (x, rows, columns) = try TreeEvaluation<Scalar>.features(context)
        let classes = labels.count
        let z = try context.output(1, .float32, [rows, classes]).floats
        let chosen = try context.temporary(.int32, [rows]).typed(Int32.self)
        let (transform, onlyClass, isAllPositive) = (transform, onlyClass, isAllPositive)
        let hasBase = !evaluation.base.isEmpty
        try evaluation.forEachRow(context, x, rows: rows, columns: columns) { row, scores, voted in
            let out = z + row * classes
            if let onlyClass {
                let score = scores[onlyClass]
                let isSecond = classes == 2 && isAllPositive ? score > 0.5 : score > 0
                chosen[row] = isSecond ? 1 : 0
                Self.write(Float(score), out, classes, transform, isAllPositive)
                return
            }
            var best: Int?
            for index in 0..<classes where hasBase || voted[index] {
                if best.map({ scores[index] > scores[$0] }) ?? true { best = index }
            }
            chosen[row] = Int32(best ?? 0)
            for index in 0..<classes { out[index] = Float(scores[index]) }
            transform.apply(out, classes)
        }
        try labels.set(context, 0, chosen, rows, isYesNo: classes == 1)
    }

    /// The scores of both classes from that of the second.
    private static func write(
        _ score: Float, _ out: UnsafeMutablePointer<Float>, _ classes: Int, _ transform: ScoreTransform,
        _ isAllPositive: Bool
    ) {
        if classes == 1 {
            out[0] = score
            if transform == .logistic || transform == .probit { transform.apply(out, 1) }
            return
        }
        out[1] = score
        switch transform {
        case .logistic:
            out[0] = -score
            transform.apply(out, 2)
        case .probit:
            out[0] = 1 - score
            transform.apply(out, 2)
        case .none, .softmax, .softmaxZero: out[0] = isAllPositive ? 1 - score : -score
        }
    }
}

import GraftCore
import GraftIR

/// SVMClassifier: a decision for each pair of classes, votes, and where the model has them probabilities.
final class SupportVectorClassifier: Kernel {
    private let labels: ClassLabels
    private let machine: SupportVectors
    private let isLinear: Bool
    private let starts: [Int]
    private let coefficients: [Float]
    private let rho: [Float]
    private let (probA, probB): ([Float], [Float])
    private let transform: ScoreTransform
    private let isAllPositive: Bool

    init(_ node: KernelNode) throws {
        let attributes = node.attributes
        labels = try ClassLabels(attributes, integers: "classlabels_ints")
        transform = try ScoreTransform(attributes)
        coefficients = attributes.floats("coefficients") ?? []
        rho = attributes.floats("rho") ?? []
        probA = attributes.floats("prob_a") ?? []
        probB = attributes.floats("prob_b") ?? []
        isAllPositive = coefficients.allSatisfy { $0 >= 0 }
        let perClass = attributes.ints("vectors_per_class") ?? []
        var starts = [0]
        for count in perClass {
            let (next, overflow) = starts[starts.count - 1].addingReportingOverflow(count)
            guard count >= 0, !overflow else { throw KernelFailure("vectors_per_class is \(perClass)") }
            starts.append(next)
        }
        self.starts = starts
        let vectors = starts[starts.count - 1]
        isLinear = vectors == 0
        let classes = labels.count
        guard !coefficients.isEmpty else { throw KernelFailure("there are no coefficients") }
        if isLinear {
            guard coefficients.count % classes == 0, !rho.isEmpty else {
                throw KernelFailure("\(coefficients.count) coefficients, \(rho.count) of rho for \(classes) classes")
            }
            machine = SupportVectors(linear: coefficients, vectors: classes)
            return
        }
        machine = try SupportVectors(attributes, vectors: vectors)
        let pairs = classes * (classes - 1) / 2
        guard classes >= 2, perClass.count == classes, coefficients.count >= (classes - 1) * vectors,
            rho.count >= pairs, probA.count == probB.count, probA.isEmpty || probA.count >= pairs
        else {
            throw KernelFailure(
                "\(coefficients.count) coefficients, \(rho.count) of rho, \(probA.count) of prob_a and "
                    + "\(perClass.count) of vectors_per_class for \(classes) classes and \(vectors) vectors")
        }
    }

    func run(_ context: KernelContext) throws {
        let (x, rows, columns) = try context.featureRows()
        try machine.check(columns: columns)
        let classes = labels.count
        let pairs = classes * (classes - 1) / 2
        let isSoft = !isLinear && !probA.isEmpty
        let width = isLinear || isSoft ? classes : max(2, pairs)
        let z = try context.output(1, .float32, [rows, width])
        let chosen = try context.temporary(.int32, [rows]).typed(Int32.self)
        let (source, scores) = (x.floats, z.floats)
        Parallel.forEachRange(rows, grain: machine.grain) { range in
            var work = Work(vectors: machine.count, classes: classes, pairs: pairs)
            for row in range {
                let (features, out) = (source + row * columns, scores + row * width)
                if isLinear {
                    for index in 0..<classes { out[index] = machine.kernel(features, index) + rho[0] }
                    chosen[row] = linearChoice(out, classes)
                    transform.apply(out, classes)
                    continue
                }
                decide(features, &work)
                chosen[row] = Int32(work.votes.indices.max { work.votes[$0] < work.votes[$1] } ?? 0)
                if isSoft {
                    probabilities(&work)
                    for index in 0..<classes { out[index] = work.probabilities[index] }
                    transform.apply(out, classes)
                } else if pairs == 1 {
                    let score = work.decisions[0]
                    (out[0], out[1]) = pair(score)
                } else {
                    for index in 0..<pairs { out[index] = work.decisions[index] }
                    transform.apply(out, pairs)
                }
            }
        }
        try labels.set(context, 0, chosen, rows, isYesNo: false)
    }

    /// The scores of two classes that come from one decision.
    private func pair(_ score: Float) -> (Float, Float) {
        switch transform {
        case .none: (-score, score)
        case .probit: (ScoreTransform.probit(1 - score), ScoreTransform.probit(score))
        case .logistic: (ScoreTransform.logistic(-score), ScoreTransform.logistic(score))
        case .softmax, .softmaxZero: (1 - score, score)
        }
    }

    private func linearChoice(_ scores: UnsafePointer<Float>, _ classes: Int) -> Int32 {
        var best = 0
        for index in 1..<max(1, classes) where scores[index] > scores[best] { best = index }
        if classes == 2 {
            if isAllPositive ? scores[best] >= 0.5 : scores[best] > 0 { return 1 }
        }
        return Int32(best)
    }

    /// Scratch memory of one thread.
    private struct Work {
        var kernels: [Float]
        var decisions: [Float]
        var votes: [Int]
        var probabilities: [Float]
        var matrix: [Float]
        var system: [Float]
        var product: [Float]

        init(vectors: Int, classes: Int, pairs: Int) {
            kernels = Array(repeating: 0, count: vectors)
            decisions = Array(repeating: 0, count: pairs)
            votes = Array(repeating: 0, count: classes)
            probabilities = Array(repeating: 0, count: classes)
            matrix = Array(repeating: 0, count: classes * classes)
            system = matrix
            product = probabilities
        }
    }

    /// The decision of each pair of classes, and the votes that follow.
    private func decide(_ features: UnsafePointer<Float>, _ work: inout Work) {
        let vectors = machine.count
        for vector in 0..<vectors { work.kernels[vector] = machine.kernel(features, vector) }
        for index in work.votes.indices { work.votes[index] = 0 }
        var pair = 0
        for i in 0..<(labels.count - 1) {
            for j in (i + 1)..<labels.count {
                var sum = 0.0
                for vector in starts[i]..<starts[i + 1] {
                    sum += Double(coefficients[(j - 1) * vectors + vector] * work.kernels[vector])
                }
                for vector in starts[j]..<starts[j + 1] {
                    sum += Double(coefficients[i * vectors + vector] * work.kernels[vector])
                }
                sum += Double(rho[pair])
                work.decisions[pair] = Float(sum)
                work.votes[sum > 0 ? i : j] += 1
                pair += 1
            }
        }
    }

    /// Probabilities of the classes from those of the pairs.
    ///
    /// Source: T.-F. Wu, C.-J. Lin and R. C. Weng, "Probability Estimates for Multi-class Classification by Pairwise
    /// Coupling" (2004), the second method.
    private func probabilities(_ work: inout Work) {
        let classes = labels.count
        var pair = 0
        for i in 0..<(classes - 1) {
            for j in (i + 1)..<classes {
                let raw = 1 - ScoreTransform.logistic(work.decisions[pair] * probA[pair] + probB[pair])
                let value = min(max(raw, 1e-7), 1 - 1e-7)
                work.matrix[i * classes + j] = value
                work.matrix[j * classes + i] = 1 - value
                pair += 1
            }
        }
        for i in 0..<classes {
            work.probabilities[i] = 1 / Float(classes)
            var diagonal: Float = 0
            for j in 0..<classes where j != i {
                let other = work.matrix[j * classes + i]
                diagonal += other * other
                work.system[i * classes + j] = -other * work.matrix[i * classes + j]
            }
            work.system[i * classes + i] = diagonal
        }
        let tolerance = 0.005 / Float(classes)
        for _ in 0..<100 {
            var total: Float = 0
            for i in 0..<classes {
                var sum: Float = 0
                for j in 0..<classes { sum += work.system[i * classes + j] * work.probabilities[j] }
                work.product[i] = sum
                total += work.probabilities[i] * sum
            }
            if work.product.allSatisfy({ abs($0 - total) < tolerance }) { return }
            for i in 0..<classes {
                let diagonal = work.system[i * classes + i]
                let step = (total - work.product[i]) / diagonal
                work.probabilities[i] += step
                total = (total + step * (step * diagonal + 2 * work.product[i])) / (1 + step) / (1 + step)
                for j in 0..<classes {
                    work.product[j] = (work.product[j] + step * work.system[i * classes + j]) / (1 + step)
                    work.probabilities[j] /= 1 + step
                }
            }
        }
    }
}

import GraftCore
import GraftIR

/// LinearClassifier and LinearRegressor.
enum LinearModelKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "LinearClassifier", domain: classicalDomain,
                prepare: { node -> Settings in
                    let labels = try ClassLabels(node.attributes, integers: "classlabels_ints")
                    let scores = node.attributes.floats("intercepts")?.count ?? labels.count
                    return try Settings(node, targets: scores, labels: labels)
                }, run: { try classify($1, $0) }),
            .function(
                "LinearRegressor", domain: classicalDomain,
                prepare: { try Settings($0, targets: $0.attributes.int("targets") ?? 1, labels: nil) },
                run: { settings, context in
                    let (x, rows, columns) = try context.featureRows()
                    let y = try context.output(0, .float32, [rows, settings.targets])
                    try settings.compute(x, rows: rows, columns: columns, into: y.floats, width: settings.targets)
                    Parallel.forEachRange(rows, grain: 1024) { range in
                        for row in range {
                            // A softmax of one score says nothing, and is left out.
                            guard settings.targets > 1 || settings.transform == .probit else { continue }
                            settings.transform.apply(y.floats + row * settings.targets, settings.targets)
                        }
                    }
                }),
        ]
    }

    private struct Settings {
        let targets: Int
        let coefficients: [Float]
        let intercepts: [Float]
        let transform: ScoreTransform
        let labels: ClassLabels?

        init(_ node: KernelNode, targets: Int, labels: ClassLabels?) throws {
            self.targets = targets
            self.labels = labels
            coefficients = node.attributes.floats("coefficients") ?? []
            intercepts = node.attributes.floats("intercepts") ?? []
            transform = try ScoreTransform(node.attributes)
            guard targets > 0, coefficients.count % targets == 0, intercepts.isEmpty || intercepts.count == targets
            else {
                throw KernelFailure(
                    "\(coefficients.count) coefficients and \(intercepts.count) intercepts for \(targets) scores")
            }
            if let labels, targets > 1, labels.count != targets {
                throw KernelFailure("\(labels.count) classes for \(targets) scores")
            }
        }

        /// Writes the scores of all rows, the first of a row `width` apart from that of the next.
        func compute(
            _ x: RuntimeTensor, rows: Int, columns: Int, into scores: UnsafeMutablePointer<Float>, width: Int
        ) throws {
            guard columns * targets == coefficients.count else {
                throw KernelFailure("rows of \(columns) features for \(coefficients.count / targets) coefficients")
            }
            let source = x.floats
            Parallel.forEachRange(rows, grain: max(1, 8192 / max(1, coefficients.count))) { range in
                coefficients.withUnsafeBufferPointer { coefficients in
                    for row in range {
                        let features = source + row * columns
                        for target in 0..<targets {
                            var sum: Float = 0
                            let start = target * columns
                            for column in 0..<columns { sum += features[column] * coefficients[start + column] }
                            scores[row * width + target] = sum + (intercepts.isEmpty ? 0 : intercepts[target])
                        }
                    }
                }
            }
        }
    }

    private static func classify(_ context: KernelContext, _ settings: Settings) throws {
        guard let labels = settings.labels else { throw KernelFailure("no classes") }
        let (x, rows, columns) = try context.featureRows()
        let isBinary = settings.targets == 1
        let width = isBinary && labels.count == 2 ? 2 : settings.targets
        let z = try context.output(1, .float32, [rows, width])
        let scores = z.floats
        try settings.compute(x, rows: rows, columns: columns, into: scores, width: width)
        let chosen = try context.temporary(.int32, [rows]).typed(Int32.self)
        let (transform, targets) = (settings.transform, settings.targets)
        Parallel.forEachRange(rows, grain: 1024) { range in
            for row in range {
                let row = row
                let here = scores + row * width
                if isBinary {
                    let score = here[0]
                    chosen[row] = score > 0 ? 1 : 0
                    if width == 2 {
                        let isLogistic = transform == .logistic
                        here[1] = isLogistic ? ScoreTransform.logistic(score) : score
                        here[0] = isLogistic ? ScoreTransform.logistic(-score) : 1 - score
                        if transform == .probit { transform.apply(here, 2) }
                    } else if transform == .probit || transform == .logistic {
                        transform.apply(here, 1)
                    }
                    continue
                }
                var best = 0
                for target in 1..<targets where here[target] > here[best] { best = target }
                chosen[row] = Int32(best)
                transform.apply(here, targets)
            }
        }
        try labels.set(context, 0, chosen, rows, isYesNo: isBinary)
    }
}

import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Classification losses and their gradients, with the semantics of `torch.nn.functional.cross_entropy` and
/// `binary_cross_entropy_with_logits`, reduced to the mean.
///
/// `SoftmaxCrossEntropy(logits, labels[, weights]; label_smoothing, ignore_index) → (loss, probabilities)`: logits have
/// their classes on axis 1; labels are class indices without that axis, or probabilities of the logits' shape.
/// `SoftmaxCrossEntropyGrad(dLoss, probabilities, labels[, weights])` gives the gradient of the logits.
/// `SigmoidCrossEntropy(logits, targets; label_smoothing) → (loss, probabilities)` and `SigmoidCrossEntropyGrad` treat every
/// class on its own.
enum CrossEntropyKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "SoftmaxCrossEntropy", domain: graftDomain, prepare: Settings.init(node:), run: softmaxForward),
            .function(
                "SoftmaxCrossEntropyGrad", domain: graftDomain, prepare: Settings.init(node:), run: softmaxBackward),
            .function(
                "SigmoidCrossEntropy", domain: graftDomain, prepare: Settings.init(node:), run: sigmoidForward),
            .function(
                "SigmoidCrossEntropyGrad", domain: graftDomain, prepare: Settings.init(node:), run: sigmoidBackward),
        ]
    }

    private struct Settings: Sendable {
        let smoothing: Float
        let ignored: Int?

        init(node: KernelNode) throws {
            smoothing = node.attributes.float("label_smoothing") ?? 0
            ignored = node.attributes.int("ignore_index")
            guard (0...1).contains(smoothing) else {
                throw KernelFailure("label smoothing must be between 0 and 1, not \(smoothing)")
            }
        }
    }

    /// The targets of a loss: what each class of each position should get.
    private struct Targets {
        let classes: Int
        /// The distance between two classes of one position.
        let inner: Int
        /// How many positions there are: batch times inner.
        let positions: Int
        let indices: [Int]
        let probabilities: UnsafeMutablePointer<Float>?
        let weights: [Float]?
        let smoothing: Float
        let ignored: Int?
        /// What the summed loss is divided by.
        let denominator: Double

        init(_ context: KernelContext, shape: [Int], labels: Int, weights: Int, settings: Settings) throws {
            guard shape.count >= 2 else {
                throw KernelFailure("logits need a batch axis and a class axis; their shape is \(shape)")
            }
            classes = shape[1]
            inner = shape[2...].reduce(1, *)
            positions = shape[0] * inner
            smoothing = settings.smoothing
            ignored = settings.ignored
            self.weights = context.has(weights) ? try context.numbers(weights) : nil
            if let count = self.weights?.count, count != classes {
                throw KernelFailure("\(count) class weights were given for \(classes) classes")
            }
            let given = try context.plain(labels)
            if given.elementType == .float32 {
                guard given.shape == shape else {
                    throw KernelFailure("probabilities of shape \(given.shape) do not fit logits of shape \(shape)")
                }
                probabilities = given.floats
                indices = []
                denominator = Double(shape[0] * inner)
            } else {
                indices = try context.integers(labels)
                probabilities = nil
                guard indices.count == positions else {
                    throw KernelFailure("labels of shape \(given.shape) do not fit logits of shape \(shape)")
                }
                var sum = 0.0
                for label in indices where label != settings.ignored {
                    guard label >= 0, label < classes else {
                        throw KernelFailure("the label \(label) is none of the \(classes) classes")
                    }
                    sum += Double(self.weights?[label] ?? 1)
                }
                // Where no position counts there is nothing to learn: a loss of 0 without a gradient.
                denominator = sum == 0 ? 1 : sum
            }
        }

        /// Where the scores of a position begin.
        func start(of position: Int) -> Int { position / inner * classes * inner + position % inner }

        /// Whether a position counts.
        func counts(_ position: Int) -> Bool { probabilities != nil || indices[position] != ignored }

        /// What a class of a position should get, times the class's weight.
        @inline(__always) func target(_ position: Int, _ start: Int, _ index: Int) -> Float {
            let weight = weights?[index] ?? 1
            let wanted: Float =
                probabilities.map { $0[start + index * inner] } ?? (indices[position] == index ? 1 : 0)
            return weight * ((1 - smoothing) * wanted + smoothing / Float(classes))
        }
    }

    private static func softmaxForward(_ settings: Settings, _ context: KernelContext) throws {
        let logits = try context.plain(0, .float32)
        let targets = try Targets(context, shape: logits.shape, labels: 1, weights: 2, settings: settings)
        let probabilities = try context.output(1, .float32, logits.shape)
        let losses = try context.temporary(.float64, [targets.positions]).typed(Double.self)
        let (x, p) = (logits.floats, probabilities.floats)
        let (classes, inner) = (targets.classes, targets.inner)
        Parallel.forEachRange(targets.positions, grain: max(1, 4096 / max(classes, 1))) { range in
            for position in range {
                let start = targets.start(of: position)
                var largest = -Float.infinity
                for index in 0..<classes { largest = max(largest, x[start + index * inner]) }
                var sum: Float = 0
                for index in 0..<classes {
                    let value = exp(x[start + index * inner] - largest)
                    p[start + index * inner] = value
                    sum += value
                }
                let logSum = log(sum)
                var loss = 0.0
                let counts = targets.counts(position)
                for index in 0..<classes {
                    let place = start + index * inner
                    p[place] /= sum
                    guard counts else { continue }
                    let target = targets.target(position, start, index)
                    if target != 0 { loss -= Double(target) * Double(x[place] - largest - logSum) }
                }
                losses[position] = loss
            }
        }
        var total = 0.0
        for position in 0..<targets.positions { total += losses[position] }
        try context.output(0, .float32, []).floats[0] = Float(total / targets.denominator)
    }

    private static func softmaxBackward(_ settings: Settings, _ context: KernelContext) throws {
        let probabilities = try context.plain(1, .float32)
        let targets = try Targets(context, shape: probabilities.shape, labels: 2, weights: 3, settings: settings)
        guard let upstream = try context.numbers(0).first else { throw KernelFailure("the loss has no gradient") }
        let factor = Float(Double(upstream) / targets.denominator)
        let result = try context.output(0, .float32, probabilities.shape)
        let (p, d) = (probabilities.floats, result.floats)
        let (classes, inner) = (targets.classes, targets.inner)
        Parallel.forEachRange(targets.positions, grain: max(1, 16_384 / max(classes, 1))) { range in
            for position in range {
                let start = targets.start(of: position)
                guard targets.counts(position) else {
                    for index in 0..<classes { d[start + index * inner] = 0 }
                    continue
                }
                var sum: Float = 0
                for index in 0..<classes { sum += targets.target(position, start, index) }
                for index in 0..<classes {
                    let place = start + index * inner
                    d[place] = factor * (p[place] * sum - targets.target(position, start, index))
                }
            }
        }
    }

    private static func sigmoidTargets(
        _ context: KernelContext, _ index: Int, shape: [Int]
    ) throws -> UnsafeMutablePointer<Float> {
        let targets = try context.plain(index, .float32)
        guard targets.shape == shape else {
            throw KernelFailure("targets of shape \(targets.shape) do not fit logits of shape \(shape)")
        }
        return targets.floats
    }

    private static func sigmoidForward(_ settings: Settings, _ context: KernelContext) throws {
        let logits = try context.plain(0, .float32)
        let targets = try sigmoidTargets(context, 1, shape: logits.shape)
        let p = try context.output(1, .float32, logits.shape).floats
        let x = logits.floats
        let smoothing = settings.smoothing
        var total = 0.0
        for index in 0..<logits.count {
            let target = targets[index] * (1 - smoothing) + smoothing / 2
            let value = x[index]
            // max(x, 0) − x t + log(1 + e^−|x|) does not overflow.
            total += Double(max(value, 0) - value * target + log1p(exp(-abs(value))))
            p[index] = value >= 0 ? 1 / (1 + exp(-value)) : exp(value) / (1 + exp(value))
        }
        try context.output(0, .float32, []).floats[0] = Float(total / Double(max(1, logits.count)))
    }

    private static func sigmoidBackward(_ settings: Settings, _ context: KernelContext) throws {
        let probabilities = try context.plain(1, .float32)
        let targets = try sigmoidTargets(context, 2, shape: probabilities.shape)
        guard let upstream = try context.numbers(0).first else { throw KernelFailure("the loss has no gradient") }
        let p = probabilities.floats
        let d = try context.output(0, .float32, probabilities.shape).floats
        let factor = upstream / Float(max(1, probabilities.count))
        let smoothing = settings.smoothing
        for index in 0..<probabilities.count {
            d[index] = factor * (p[index] - (targets[index] * (1 - smoothing) + smoothing / 2))
        }
    }
}

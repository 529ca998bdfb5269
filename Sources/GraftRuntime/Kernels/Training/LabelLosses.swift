import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.
enum LabelLossKernels: KernelFamily {
    struct Settings: Sendable {
        let reduction: LossAttributes.Reduction
        let ignored: Int?

        init(_ node: KernelNode) throws {
            let name = node.attributes.string("reduction") ?? "mean"
            guard let reduction = LossAttributes.Reduction(rawValue: name) else {
                throw KernelFailure("the reduction \"\(name)\"")
            }
            self.reduction = reduction
            ignored = node.attributes.int("ignore_index")
        }
    }

    static var definitions: [KernelDefinition] {
        [
            .function(
                "NegativeLogLikelihoodLoss", widens: true, prepare: { try Settings($0) },
                run: { settings, context in
                    let x = try context.plain(0)
                    switch x.elementType {
                    case .float32: try likelihood(Float.self, x, settings, context)
                    case .float64: try likelihood(Double.self, x, settings, context)
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                }),
            .function(
                "SoftmaxCrossEntropyLoss", widens: true, prepare: { try Settings($0) },
                run: { settings, context in
                    let x = try context.plain(0)
                    guard x.rank >= 2 else { throw KernelFailure("scores of shape \(x.shape)") }
                    switch x.elementType {
                    case .float32:
                        let scores = try logSoftmax(Float.self, x, context) {
                            exp($0)
                        } log: {
                            log($0)
                        }
                        try likelihood(Float.self, scores, settings, context)
                    case .float64:
                        let scores = try logSoftmax(Double.self, x, context) {
                            exp($0)
                        } log: {
                            log($0)
                        }
                        try likelihood(Double.self, scores, settings, context)
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                }),
        ]
    }

    /// The logarithms of the probabilities of the classes along axis 1, which are output 1.
    @inline(__always)
    private static func logSoftmax<T: BinaryFloatingPoint & TensorElement>(
        _ type: T.Type, _ x: RuntimeTensor, _ context: KernelContext, exp: (T) -> T, log: (T) -> T
    ) throws -> RuntimeTensor {
        let y = try context.temporary(T.elementType, x.shape)
        context.set(1, y)
        let (classes, inner) = (x.shape[1], x.spatialCount)
        guard x.count > 0 else { return y }
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        Parallel.forEachRange(x.count / classes, grain: max(1, 2048 / classes)) { range in
            for row in range {
                let start = row / inner * classes * inner + row % inner
                var top = source[start]
                for index in 1..<max(1, classes) { top = max(top, source[start + index * inner]) }
                var sum: T = 0
                for index in 0..<classes { sum += exp(source[start + index * inner] - top) }
                let shift = top + log(sum)
                for index in 0..<classes { target[start + index * inner] = source[start + index * inner] - shift }
            }
        }
        return y
    }

    private static func likelihood<T: BinaryFloatingPoint & TensorElement>(
        _ type: T.Type, _ x: RuntimeTensor, _ settings: Settings, _ context: KernelContext
    ) throws {
        guard x.rank >= 2 else { throw KernelFailure("scores of shape \(x.shape)") }
        let (classes, inner) = (x.shape[1], x.spatialCount)
        let labelShape = [x.shape[0]] + x.shape.dropFirst(2)
        guard try context.input(1).shape == labelShape else {
            throw KernelFailure("labels of shape \(try context.input(1).shape) do not fit scores of shape \(x.shape)")
        }
        let labels = try context.integers(1)
        var weights: [T]?
        if context.has(2) {
            let given = try context.plain(2, T.elementType)
            guard given.shape == [classes] else { throw KernelFailure("weights of shape \(given.shape)") }
            weights = Array(UnsafeBufferPointer(start: given.typed(T.self), count: classes))
        }
        let losses = try context.temporary(T.elementType, labelShape)
        let (scores, loss) = (x.typed(T.self), losses.typed(T.self))
        var (sum, total): (T, T) = (0, 0)
        for (index, label) in labels.enumerated() {
            if label == settings.ignored {
                loss[index] = 0
                continue
            }
            guard label >= 0, label < classes else {
                throw KernelFailure("the label \(label), but there are \(classes) classes")
            }
            let weight = weights?[label] ?? 1
            loss[index] = -scores[(index / inner * classes + label) * inner + index % inner] * weight
            sum += loss[index]
            total += weight
        }
        if settings.reduction == .none {
            context.set(0, losses)
        } else {
            let result = try context.output(0, T.elementType, [])
            result.typed(T.self).pointee = settings.reduction == .sum ? sum : sum / total
        }
    }
}

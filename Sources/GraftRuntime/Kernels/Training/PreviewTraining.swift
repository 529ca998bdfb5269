import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// The optimizers of ONNX's domain for training: Adagrad, Adam, Momentum.
///
/// Gradient has no kernel: other nodes take its place before the graph is planned.
enum PreviewTrainingKernels: KernelFamily {
    private static let domain = "ai.onnx.preview.training"

    static var definitions: [KernelDefinition] {
        [
            optimizer("Adagrad", slots: 3) { node in
                let decay = node.attributes.float("decay_factor") ?? 0
                let norm = node.attributes.float("norm_coefficient") ?? 0
                let epsilon = node.attributes.float("epsilon") ?? 1e-6
                return Step { rate, step in
                    let r = rate / (1 + step * Double(decay))
                    return { x, g, h, _ in
                        let gradient = Double(norm) * x + g
                        h += gradient * gradient
                        x -= r * gradient / (h.squareRoot() + Double(epsilon))
                    }
                }
            },
            optimizer("Adam", slots: 4) { node in
                let (alpha, beta) = (node.attributes.float("alpha") ?? 0.9, node.attributes.float("beta") ?? 0.999)
                let norm = node.attributes.float("norm_coefficient") ?? 0
                let after = node.attributes.float("norm_coefficient_post") ?? 0
                let epsilon = node.attributes.float("epsilon") ?? 1e-6
                return Step { rate, step in
                    let (a, b) = (Double(alpha), Double(beta))
                    let r = step > 0 ? rate * (1 - pow(b, step)).squareRoot() / (1 - pow(a, step)) : rate
                    return { x, g, v, h in
                        let gradient = Double(norm) * x + g
                        v = a * v + (1 - a) * gradient
                        h = b * h + (1 - b) * gradient * gradient
                        x = (1 - Double(after)) * (x - r * v / (h.squareRoot() + Double(epsilon)))
                    }
                }
            },
            optimizer("Momentum", slots: 3) { node in
                guard let alpha = node.attributes.float("alpha"), let beta = node.attributes.float("beta"),
                    let norm = node.attributes.float("norm_coefficient"), let mode = node.attributes.string("mode"),
                    mode == "standard" || mode == "nesterov"
                else { throw KernelFailure("an attribute is missing, or the mode is not known") }
                return Step { rate, step in
                    let factor = step > 0 ? Double(beta) : 1
                    return { x, g, v, _ in
                        let gradient = Double(norm) * x + g
                        v = Double(alpha) * v + factor * gradient
                        x -= rate * (mode == "nesterov" ? gradient + Double(alpha) * v : v)
                    }
                }
            },
        ]
    }

    /// Makes the update of one number from the rate and the number of the step: (x, gradient, first and second state).
    private struct Step: Sendable {
        typealias Update = (inout Double, Double, inout Double, inout Double) -> Void
        let update: @Sendable (_ rate: Double, _ step: Double) -> Update
        init(_ update: @escaping @Sendable (Double, Double) -> Update) { self.update = update }
    }

    /// - Parameter slots: how many tensors belong to one parameter: itself, its gradient, and its states.
    private static func optimizer(
        _ name: String, slots: Int, prepare: @escaping @Sendable (KernelNode) throws -> Step
    ) -> KernelDefinition {
        .function(name, domain: domain, prepare: prepare) { step, context in
            let given = context.inputCount - 2
            guard given > 0, given % slots == 0, context.outputCount <= given / slots * (slots - 1) else {
                throw KernelFailure("\(context.inputCount) inputs; 2 and \(slots) for each parameter are needed")
            }
            guard let rate = try context.numbers(0).first, let count = try context.integers(1).first else {
                throw KernelFailure("the rate or the number of the step is missing")
            }
            let update = step.update(Double(rate), Double(count))
            let parameters = given / slots
            for parameter in 0..<parameters {
                let tensors = try (0..<slots).map { try context.plain(2 + $0 * parameters + parameter) }
                guard tensors.allSatisfy({ $0.shape == tensors[0].shape && $0.elementType == tensors[0].elementType })
                else { throw KernelFailure("parameter \(parameter) and its gradient or states differ") }
                let results = try (0..<(slots - 1)).map { slot in
                    let result = try context.temporary(tensors[0].elementType, tensors[0].shape)
                    context.set(slot * parameters + parameter, result)
                    return result
                }
                switch tensors[0].elementType {
                case .float32: apply(Float.self, update, tensors, results)
                case .float64: apply(Double.self, update, tensors, results)
                case let type: throw KernelFailure("elements of type \(type.name)")
                }
            }
        }
    }

    private static func apply<T: BinaryFloatingPoint>(
        _ type: T.Type, _ update: Step.Update, _ tensors: [RuntimeTensor], _ results: [RuntimeTensor]
    ) {
        let sources = tensors.map { $0.typed(T.self) }
        let targets = results.map { $0.typed(T.self) }
        for index in 0..<tensors[0].count {
            var x = Double(sources[0][index])
            var first = Double(sources[2][index])
            var second = sources.count > 3 ? Double(sources[3][index]) : 0
            update(&x, Double(sources[1][index]), &first, &second)
            targets[0][index] = T(x)
            targets[1][index] = T(first)
            if targets.count > 2 { targets[2][index] = T(second) }
        }
    }
}

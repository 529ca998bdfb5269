import GraftCore
import GraftIR

/// A function that a gate of a recurrent network applies.
///
/// Source of the functions and their defaults: RNN, GRU and LSTM in ONNX's operator list.
struct GateActivation: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        case relu, tanh, sigmoid, affine, leakyrelu, thresholdedrelu, scaledtanh, hardsigmoid, elu, softsign, softplus
    }

    let kind: Kind
    let alpha: Float
    let beta: Float

    /// The functions of a node; each takes the next of the given numbers where it has such a number.
    static func list(_ node: KernelNode, defaults: [String], directions: Int) throws -> [GateActivation] {
        var names = node.attributes.strings("activations") ?? []
        if names.isEmpty { names = Array(repeating: defaults, count: directions).flatMap { $0 } }
        guard names.count == defaults.count * directions else {
            throw KernelFailure("\(names.count) activations where \(defaults.count * directions) are needed")
        }
        var alphas = (node.attributes.floats("activation_alpha") ?? [])[...]
        var betas = (node.attributes.floats("activation_beta") ?? [])[...]
        return try names.map { name in
            guard let kind = Kind(rawValue: name.lowercased()) else {
                throw KernelFailure("the activation \"\(name)\" is not known")
            }
            let (alpha, beta) = kind.defaults
            return GateActivation(
                kind: kind, alpha: alpha.map { alphas.popFirst() ?? $0 } ?? 0,
                beta: beta.map { betas.popFirst() ?? $0 } ?? 0)
        }
    }

    /// The function's value.
    @inline(__always) func callAsFunction<T: RealNumber>(_ x: T) -> T {
        switch kind {
        case .relu: x > 0 ? x : 0
        case .tanh: hyperbolicTangent(x)
        case .sigmoid: 1 / (1 + (-x).exponential)
        case .affine: T(alpha) * x + T(beta)
        case .leakyrelu: x >= 0 ? x : T(alpha) * x
        case .thresholdedrelu: x >= T(alpha) ? x : 0
        case .scaledtanh: T(alpha) * hyperbolicTangent(T(beta) * x)
        case .hardsigmoid: min(max(T(alpha) * x + T(beta), 0), 1)
        case .elu: x >= 0 ? x : T(alpha) * (x.exponential - 1)
        case .softsign: x / (1 + abs(x))
        case .softplus: max(x, 0) + (1 + (-abs(x)).exponential).logarithm
        }
    }
}

extension GateActivation.Kind {
    /// The numbers that the function has where the node gives none; nil for a number that it does not have.
    fileprivate var defaults: (alpha: Float?, beta: Float?) {
        switch self {
        case .relu, .tanh, .sigmoid, .softsign, .softplus: (nil, nil)
        case .affine: (1, 0)
        case .leakyrelu: (0.01, nil)
        case .thresholdedrelu: (1, nil)
        case .scaledtanh: (1, 1)
        case .hardsigmoid: (0.2, 0.5)
        case .elu: (1, nil)
        }
    }
}

/// The hyperbolic tangent, right to the last digits also near zero.
@inline(__always) func hyperbolicTangent<T: RealNumber>(_ x: T) -> T {
    let size = abs(x)
    if size < 0.02 {
        let square = x * x
        return x * (1 - square * (1 / 3 - square * (2 / 15 - square * (17 / 315))))
    }
    let value = 1 - 2 / ((2 * size).exponential + 1)
    return x < 0 ? -value : value
}

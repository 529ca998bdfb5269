import COneDNN
import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// The gradients of activations: `…Grad(dY, X or Y) → dX`, element by element in any memory order.
///
/// Relu, Sigmoid and Tanh read their result Y, the others their input X.
enum ActivationGradientKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        simple + withExponentials + [
            .function("PReluGrad", domain: graftDomain, widens: true, run: prelu)
        ]
    }

    private static var simple: [KernelDefinition] {
        [
            .function("ReluGrad", domain: graftDomain, widens: true) { context in
                try map(context, ()) { _, dy, x in x > 0 ? dy : 0 }
            },
            .function("SigmoidGrad", domain: graftDomain, widens: true) { context in
                try map(context, ()) { _, dy, y in dy * y * (1 - y) }
            },
            .function("TanhGrad", domain: graftDomain, widens: true) { context in
                try map(context, ()) { _, dy, y in dy * (1 - y * y) }
            },
            .function("SoftsignGrad", domain: graftDomain, widens: true) { context in
                try map(context, ()) { _, dy, x in
                    let width = 1 + abs(x)
                    return dy / (width * width)
                }
            },
            .function("HardSwishGrad", domain: graftDomain, widens: true) { context in
                try map(context, ()) { _, dy, x in
                    let inner = clipped(x, -3, 3)
                    return dy * (inner == x ? x * (1 / 3) + 0.5 : (inner + 3) * (1 / 6))
                }
            },
            .function("ClipGrad", domain: graftDomain, widens: true, run: clip),
            .function(
                "LeakyReluGrad", domain: graftDomain, widens: true, prepare: { $0.attributes.float("alpha") ?? 0.01 },
                run: { alpha, context in try map(context, alpha) { alpha, dy, x in x > 0 ? dy : dy * alpha } }),
            .function(
                "HardSigmoidGrad", domain: graftDomain, widens: true,
                prepare: { ($0.attributes.float("alpha") ?? 0.2, $0.attributes.float("beta") ?? 0.5) },
                run: { settings, context in
                    try map(context, settings) { settings, dy, x in
                        let y = settings.0 * x + settings.1
                        return clipped(y, 0, 1) == y ? dy * settings.0 : 0
                    }
                }),
            .function(
                "SeluGrad", domain: graftDomain, widens: true,
                prepare: {
                    (
                        $0.attributes.float("alpha") ?? 1.67326319217681884765625,
                        $0.attributes.float("gamma") ?? 1.05070102214813232421875
                    )
                },
                run: { settings, context in
                    try map(context, settings) { settings, dy, x in
                        dy * settings.1 * (x > 0 ? 1 : settings.0 * expf(x))
                    }
                }),
            .function(
                "CeluGrad", domain: graftDomain, widens: true, prepare: { $0.attributes.float("alpha") ?? 1 },
                run: { alpha, context in
                    try map(context, alpha) { alpha, dy, x in x > 0 ? dy : dy * expf(x / alpha) }
                }),
        ]
    }

    /// Those that oneDNN computes from X.
    private static var withExponentials: [KernelDefinition] {
        [
            oneDNN("Elu") { Activation(GDNN_ELU, alpha: $0.float("alpha") ?? 1) },
            oneDNN("Softplus") { _ in Activation(GDNN_SOFTPLUS) },
            oneDNN("Gelu") {
                Activation($0.string("approximate") == "tanh" ? GDNN_GELU_TANH : GDNN_GELU_ERF)
            },
            oneDNN("Swish") { Activation(GDNN_SWISH, alpha: $0.float("alpha") ?? 1) },
            oneDNN("Mish") { _ in Activation(GDNN_MISH) },
        ]
    }

    private static func oneDNN(
        _ type: String, _ activation: @escaping @Sendable (Attributes) -> Activation
    ) -> KernelDefinition {
        KernelDefinition("\(type)Grad", domain: graftDomain, widens: true) { node in
            ActivationGradientKernel(activation(node.attributes))
        }
    }

    /// Computes output 0 from inputs 0 and 1 of one shape.
    ///
    /// The function gets its settings as an argument: one that captures them would be called for every element.
    @inline(__always)
    private static func map<Settings>(
        _ context: KernelContext, _ settings: Settings, _ function: (Settings, Float, Float) -> Float
    ) throws {
        let layout = try context.matchLayouts(0, 1)
        let shape = try context.input(0).shape
        let y = try context.output(0, reusing: 0, .float32, shape, layout: layout)
        let (a, b, target) = (try context.input(0).floats, try context.input(1).floats, y.floats)
        Parallel.forEachRange(y.count, grain: 8192) { range in
            for index in range { target[index] = function(settings, a[index], b[index]) }
        }
    }

    @inline(__always) private static func clipped(_ x: Float, _ low: Float, _ high: Float) -> Float {
        let raised = x < low ? low : x
        return raised > high ? high : raised
    }

    /// `ClipGrad(dY, X, min, max) → dX`: dY where the bounds leave X as it is.
    private static func clip(_ context: KernelContext) throws {
        let low = context.has(2) ? try context.numbers(2).first ?? -.infinity : -.infinity
        let high = context.has(3) ? try context.numbers(3).first ?? .infinity : .infinity
        let layout = try context.matchLayouts(0, 1)
        let shape = try context.input(0).shape
        let result = try context.output(0, reusing: 0, .float32, shape, layout: layout)
        let (dy, x, target) = (try context.input(0).floats, try context.input(1).floats, result.floats)
        Parallel.forEachRange(result.count, grain: 8192) { range in
            for index in range {
                let (value, gradient) = (x[index], dy[index])
                // One choice: two of them would be branches.
                target[index] = clipped(value, low, high) == value ? gradient : 0
            }
        }
    }

    /// `PReluGrad(dY, X, slope) → (dX, dSlope)`.
    private static func prelu(_ context: KernelContext) throws {
        let (dy, x, slope) = (
            try context.plain(0, .float32), try context.plain(1, .float32), try context.plain(2, .float32)
        )
        guard dy.shape == x.shape, try Broadcast.shape([x.shape, slope.shape]) == x.shape else {
            throw KernelFailure("a slope of shape \(slope.shape) does not broadcast to \(x.shape)")
        }
        let dx = try context.output(0, .float32, x.shape)
        let full = try context.temporary(.float32, x.shape)
        let walk = Broadcast([x, slope], shape: x.shape, layout: .rowMajor)
        let (p, q, s, first, second) = (dy.floats, x.floats, slope.floats, dx.floats, full.floats)
        let step = walk.innerStride(1)
        walk.forEachRun { position, _, offset, count in
            for index in 0..<count {
                let (gradient, value) = (p[position + index], q[position + index])
                first[position + index] = value > 0 ? gradient : gradient * s[offset + index * step]
                second[position + index] = value > 0 ? 0 : gradient * value
            }
        }
        try ReduceToKernels.reduce(context, full, to: slope.shape, output: 1)
    }
}

/// The gradient of an element-wise function of X through oneDNN.
final class ActivationGradientKernel: Kernel {
    private let runner: ElementwiseRunner

    init(_ activation: Activation) { runner = ElementwiseRunner(activation, direction: GDNN_BACKWARD_DATA) }

    func run(_ context: KernelContext) throws {
        let layout = try context.matchLayouts(0, 1)
        let (dy, x) = (try context.input(0), try context.input(1))
        let dx = try context.output(0, .float32, dy.shape, layout: layout)
        guard dx.count > 0 else { return }
        try runner.primitive(dx.count).run(
            context.arena, (GDNN_ARG_SRC, x.pointer), (GDNN_ARG_DIFF_DST, dy.pointer), (GDNN_ARG_DIFF_SRC, dx.pointer))
    }
}

extension KernelContext {
    /// Brings two inputs of one shape, both float32, into one memory order; channels last where one has it.
    func matchLayouts(_ a: Int, _ b: Int) throws -> Layout {
        let (first, second) = (try input(a), try input(b))
        guard first.shape == second.shape else {
            throw KernelFailure("inputs of shapes \(first.shape) and \(second.shape), which must be equal")
        }
        guard first.elementType == .float32, second.elementType == .float32 else {
            throw KernelFailure("elements of type \(first.elementType.name) and \(second.elementType.name)")
        }
        if first.layout == second.layout { return first.layout }
        _ = try channelsLast(a)
        _ = try channelsLast(b)
        return .channelsLast
    }
}

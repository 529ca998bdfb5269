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
        [
            gradient("Relu") { _ in { $1 > 0 ? $0 : 0 } },
            .function("ClipGrad", domain: graftDomain, widens: true) { context in
                let low = context.has(2) ? try context.numbers(2).first ?? -.infinity : -.infinity
                let high = context.has(3) ? try context.numbers(3).first ?? .infinity : .infinity
                try map(context) { $1 >= low && $1 <= high ? $0 : 0 }
            },
        ]
    }

    /// A gradient of dY and one more operand; `prepare` reads the settings once.
    private static func gradient(
        _ type: String, _ prepare: @escaping @Sendable (Attributes) -> (@Sendable (Float, Float) -> Float)
    ) -> KernelDefinition {
        .function(
            "\(type)Grad", domain: graftDomain, widens: true, prepare: { prepare($0.attributes) },
            run: { function, context in try map(context, function) })
    }

    /// Computes output 0 from inputs 0 and 1 of one shape.
    @inline(__always)
    static func map(_ context: KernelContext, _ function: (Float, Float) -> Float) throws {
        let layout = try context.matchLayouts(0, 1)
        let shape = try context.input(0).shape
        let y = try context.output(0, reusing: 0, .float32, shape, layout: layout)
        let (a, b, target) = (try context.input(0).floats, try context.input(1).floats, y.floats)
        Parallel.forEachRange(y.count, grain: 8192) { range in
            for index in range { target[index] = function(a[index], b[index]) }
        }
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

import GraftCore
import GraftIR

/// The gradients of Gather, GatherElements and GatherND: `…Grad(dY, X, indices) → dX`, zeros of the shape of X to which
/// each element of dY is added where the forward node read it.
enum GatherGradientKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "GatherGrad", domain: graftDomain, widens: true, prepare: { $0.attributes.int("axis") ?? 0 },
                run: { try gather($1, axis: $0) }),
            .function(
                "GatherElementsGrad", domain: graftDomain, widens: true, prepare: { $0.attributes.int("axis") ?? 0 },
                run: { try elements($1, axis: $0) }),
            .function(
                "GatherNDGrad", domain: graftDomain, widens: true, prepare: { $0.attributes.int("batch_dims") ?? 0 },
                run: { try points($1, batchAxes: $0) }),
        ]
    }

    /// dY, and zeros of the shape of X.
    private static func operands(_ context: KernelContext) throws -> (dy: RuntimeTensor, dx: RuntimeTensor) {
        let dy = try context.plain(0, .float32)
        let dx = try context.output(0, .float32, try context.input(1).shape)
        dx.floats.update(repeating: 0, count: dx.count)
        return (dy, dx)
    }

    private static func gather(_ context: KernelContext, axis givenAxis: Int) throws {
        let (dy, dx) = try operands(context)
        let axis = try normalizedAxis(givenAxis, rank: dx.rank)
        let (outer, length, inner) = dx.around(axis)
        let places = try GatherKernels.positions(context, 2, length: length)
        guard dy.count == outer * places.count * inner else {
            throw KernelFailure("a gradient of shape \(dy.shape) does not fit")
        }
        let (source, target) = (dy.floats, dx.floats)
        // One thread adds all rows of its part of the inner axis, so the order of additions never changes.
        Parallel.forEachRange(inner, grain: max(1, 8192 / max(1, outer * places.count))) { columns in
            for row in 0..<outer {
                for (index, place) in places.enumerated() {
                    let from = source + (row * places.count + index) * inner
                    let to = target + (row * length + place) * inner
                    for column in columns { to[column] += from[column] }
                }
            }
        }
    }

    private static func elements(_ context: KernelContext, axis givenAxis: Int) throws {
        let (dy, dx) = try operands(context)
        let indices = try context.indices(2)
        let lines = try IndexedLines(indices: indices.shape, data: dx.shape, axis: givenAxis)
        guard dy.shape == indices.shape else {
            throw KernelFailure("a gradient of shape \(dy.shape) does not fit an input of shape \(dx.shape)")
        }
        let fault = IndexFault()
        try ScatterElementsTask(lines: lines, indices: indices.int64s, updates: dy, y: dx, fault: fault).run(.add)
        try fault.check()
    }

    private static func points(_ context: KernelContext, batchAxes: Int) throws {
        let (dy, dx) = try operands(context)
        let points = try IndexedPoints(context, indices: 2, data: dx.shape, batchAxes: batchAxes)
        guard dy.shape == points.shape else { throw KernelFailure("a gradient of shape \(dy.shape) does not fit") }
        try ScatterPointsTask(points: points, updates: dy, y: dx).run(.add)
    }
}

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
        let axis = try normalizedAxis(givenAxis, rank: dx.rank)
        let places = try GatherKernels.positions(context, 2, length: dx.shape.isEmpty ? 1 : dx.shape[axis])
        let fits = dy.rank == dx.rank && dx.shape.indices.allSatisfy { $0 == axis || dy.shape[$0] <= dx.shape[$0] }
        guard fits, dy.count == places.count else {
            throw KernelFailure("a gradient of shape \(dy.shape) does not fit an input of shape \(dx.shape)")
        }
        let (source, target, strides) = (dy.floats, dx.floats, dx.strides)
        for index in 0..<dy.count {
            var (rest, offset) = (index, 0)
            for other in dy.shape.indices.reversed() {
                let position = rest % dy.shape[other]
                rest /= dy.shape[other]
                offset += (other == axis ? places[index] : position) * strides[other]
            }
            target[offset] += source[index]
        }
    }

    private static func points(_ context: KernelContext, batchAxes: Int) throws {
        let (dy, dx) = try operands(context)
        let indices = try context.plain(2, .int64)
        guard let depth = indices.shape.last, batchAxes >= 0, batchAxes < indices.rank, depth + batchAxes <= dx.rank,
            Array(indices.shape[..<batchAxes]) == Array(dx.shape[..<batchAxes])
        else { throw KernelFailure("indices of shape \(indices.shape) do not fit an input of shape \(dx.shape)") }
        let strides = dx.strides
        let inner = dx.shape[(batchAxes + depth)...].reduce(1, *)
        let batches = dx.shape[..<batchAxes].reduce(1, *)
        let rows = indices.shape.dropLast().reduce(1, *)
        guard dy.count == rows * inner else { throw KernelFailure("a gradient of shape \(dy.shape) does not fit") }
        let perBatch = batches > 0 ? rows / batches : 0
        let batchSize = dx.shape[batchAxes...].reduce(1, *)
        for row in 0..<rows {
            var offset = row / max(1, perBatch) * batchSize
            for part in 0..<depth {
                let length = dx.shape[batchAxes + part]
                let index = indices.int64s[row * depth + part]
                let position = index < 0 ? Int(index) &+ length : Int(index)
                guard position >= 0, position < length else {
                    throw KernelFailure("the index \(index) lies outside an axis of length \(length)")
                }
                offset += position * strides[batchAxes + part]
            }
            let (from, to) = (dy.floats + row * inner, dx.floats + offset)
            for column in 0..<inner { to[column] += from[column] }
        }
    }
}

import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Normalizations of float64 for inference.
enum WideNormalization {
    /// InstanceNormalization and GroupNormalization: rows of whole channels, a scale and a shift.
    static func groups(_ node: KernelNode) throws -> (KernelContext) throws -> Void {
        let epsilon = Double(node.attributes.float("epsilon") ?? 1e-5)
        let isInstance = node.op.type == "InstanceNormalization"
        let given = node.attributes.int("num_groups")
        // Before opset 21 each group of GroupNormalization had one scale.
        let isPerGroup = !isInstance && node.opset < 21
        return { context in
            let x = try context.plain(0, .float64)
            let (scale, shift) = (try context.plain(1, .float64), try context.plain(2, .float64))
            guard x.rank >= 2 else { throw KernelFailure("an input of shape \(x.shape)") }
            let channels = x.shape[1]
            let groups = isInstance ? channels : given ?? 0
            guard groups > 0, channels % groups == 0, scale.count == (isPerGroup ? groups : channels),
                shift.count == scale.count
            else { throw KernelFailure("\(groups) groups, \(scale.count) scales for \(channels) channels") }
            let y = try context.output(0, .float64, x.shape)
            let points = x.spatialCount
            let each = channels / groups
            let length = each * points
            Parallel.forEachRange(x.shape[0] * groups, grain: max(1, 8192 / max(1, length))) { range in
                for row in range {
                    let (from, to) = (x.typed(Double.self) + row * length, y.typed(Double.self) + row * length)
                    let (mean, factor) = moments(from, length, epsilon)
                    for index in 0..<length {
                        let group = row % groups
                        let at = isPerGroup ? group : group * each + index / points
                        to[index] =
                            (from[index] - mean) * factor * scale.typed(Double.self)[at] + shift.typed(Double.self)[at]
                    }
                }
            }
        }
    }

    /// LayerNormalization.
    static func layer(_ node: KernelNode) -> (KernelContext) throws -> Void {
        let epsilon = Double(node.attributes.float("epsilon") ?? 1e-5)
        let givenAxis = node.attributes.int("axis") ?? -1
        let stash: ElementType = node.attributes.int("stash_type") == 11 ? .float64 : .float32
        return { context in
            let x = try context.plain(0, .float64)
            let axis = try normalizedAxis(givenAxis, rank: x.rank)
            let inner = Array(x.shape[axis...])
            let scale = try context.plain(1, .float64)
            let shift = context.has(2) ? try context.plain(2, .float64) : nil
            guard try Broadcast.shape([scale.shape, inner]) == inner,
                try Broadcast.shape([shift?.shape ?? [], inner]) == inner
            else { throw KernelFailure("a scale of shape \(scale.shape) for axes of shape \(inner)") }
            let length = inner.reduce(1, *)
            let rows = x.shape[..<axis].reduce(1, *)
            let y = try context.output(0, .float64, x.shape)
            let statistics = Array(x.shape[..<axis]) + Array(repeating: 1, count: inner.count)
            let means = try context.temporary(.float64, statistics)
            let factors = try context.temporary(.float64, statistics)
            let scaleWalk = Broadcast([scale], shape: inner, layout: .rowMajor)
            let scales = (0..<length).map { scale.typed(Double.self)[scaleWalk.offsets(of: $0)[0]] }
            let shiftWalk = shift.map { Broadcast([$0], shape: inner, layout: .rowMajor) }
            let shifts = (0..<length).map { index in
                shift.map { $0.typed(Double.self)[shiftWalk?.offsets(of: index)[0] ?? 0] } ?? 0
            }
            for row in 0..<rows {
                let (from, to) = (x.typed(Double.self) + row * length, y.typed(Double.self) + row * length)
                let (mean, factor) = moments(from, length, epsilon)
                means.typed(Double.self)[row] = mean
                factors.typed(Double.self)[row] = factor
                for index in 0..<length { to[index] = (from[index] - mean) * factor * scales[index] + shifts[index] }
            }
            context.set(1, try context.cast(means, stash))
            context.set(2, try context.cast(factors, stash))
        }
    }

    /// BatchNormalization with given statistics.
    static func batch(_ node: KernelNode) -> (KernelContext) throws -> Void {
        let epsilon = Double(node.attributes.float("epsilon") ?? 1e-5)
        let trains = node.attributes.int("training_mode") ?? 0 != 0
        return { context in
            guard !trains else { throw KernelFailure("training mode of elements of type double") }
            let x = try context.plain(0, .float64)
            guard x.rank >= 2 else { throw KernelFailure("an input of shape \(x.shape)") }
            let channels = x.shape[1]
            let rest = try (1...4).map { try context.castAny(context.plain($0), .float64) }
            guard rest.allSatisfy({ $0.count == channels }) else {
                throw KernelFailure("statistics of shape \(rest[2].shape) for \(channels) channels")
            }
            let y = try context.output(0, .float64, x.shape)
            let points = x.spatialCount
            let values = rest.map { $0.typed(Double.self) }
            Parallel.forEachRange(x.shape[0] * channels, grain: max(1, 8192 / max(1, points))) { range in
                for plane in range {
                    let channel = plane % channels
                    let factor = values[0][channel] / (values[3][channel] + epsilon).squareRoot()
                    let shift = values[1][channel] - values[2][channel] * factor
                    let (from, to) = (x.typed(Double.self) + plane * points, y.typed(Double.self) + plane * points)
                    for point in 0..<points { to[point] = from[point] * factor + shift }
                }
            }
        }
    }

    /// LRN.
    static func acrossChannels(_ node: KernelNode) -> (KernelContext) throws -> Void {
        let size = node.attributes.int("size") ?? 1
        let alpha = Double(node.attributes.float("alpha") ?? 0.0001)
        let beta = Double(node.attributes.float("beta") ?? 0.75)
        let bias = Double(node.attributes.float("bias") ?? 1)
        return { context in
            let x = try context.plain(0, .float64)
            guard x.rank >= 3, size >= 1 else { throw KernelFailure("an input of shape \(x.shape)") }
            let y = try context.output(0, .float64, x.shape)
            let (channels, points) = (x.shape[1], x.spatialCount)
            let (before, after) = (min((size - 1) / 2, channels), min(size / 2, channels))
            let (source, target) = (x.typed(Double.self), y.typed(Double.self))
            Parallel.forEachRange(x.shape[0] * points, grain: max(1, 512 / max(1, channels))) { range in
                for index in range {
                    let start = index / points * channels * points + index % points
                    for c in 0..<channels {
                        var sum = 0.0
                        for other in max(0, c - before)...min(channels - 1, c + after) {
                            let value = source[start + other * points]
                            sum += value * value
                        }
                        let base = bias + alpha / Double(size) * sum
                        target[start + c * points] = source[start + c * points] / pow(base, beta)
                    }
                }
            }
        }
    }

    /// The mean of a row, and the reciprocal of its standard deviation.
    private static func moments(
        _ row: UnsafePointer<Double>, _ length: Int, _ epsilon: Double
    ) -> (mean: Double, factor: Double) {
        var (sum, squares) = (0.0, 0.0)
        for index in 0..<length { sum += row[index] }
        let mean = sum / Double(length)
        for index in 0..<length { squares += (row[index] - mean) * (row[index] - mean) }
        return (mean, 1 / (squares / Double(length) + epsilon).squareRoot())
    }
}

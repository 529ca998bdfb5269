import COneDNN
import GraftCore
import GraftIR

/// The gradients of poolings: `…PoolGrad(dY, X[, Y]) → dX`; the attributes are those of the forward node.
///
/// Where several elements are the maximum, the first in row-major order gets the gradient, as in PyTorch.
enum PoolingGradientKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "MaxPoolGrad", domain: graftDomain, widens: true, prepare: { try WindowAttributes($0.attributes) },
                run: { try maximum($1, $0) }),
            .function(
                "AveragePoolGrad", domain: graftDomain, widens: true,
                prepare: { (try WindowAttributes($0.attributes), $0.attributes.int("count_include_pad") ?? 0 != 0) },
                run: { try average($1, $0.0, countsPadding: $0.1) }),
            .function("GlobalAveragePoolGrad", domain: graftDomain, widens: true, run: globalAverage),
            .function("GlobalMaxPoolGrad", domain: graftDomain, widens: true, run: globalMaximum),
        ]
    }

    /// The channels that are taken at once.
    private static let block = 64

    /// dY and X with the channels last, dX ready for sums, and the window.
    private static func operands(
        _ context: KernelContext, _ attributes: WindowAttributes
    ) throws -> (dy: RuntimeTensor, x: RuntimeTensor, dx: RuntimeTensor, walk: WindowWalk) {
        let dy = try context.channelsLast(0)
        let x = try context.channelsLast(1)
        guard dy.elementType == .float32, x.elementType == .float32 else {
            throw KernelFailure("elements of type \(x.elementType.name)")
        }
        let window = try attributes.geometry(Array(x.shape[2...]))
        guard dy.shape == Array(x.shape[..<2]) + window.output else {
            throw KernelFailure("a gradient of shape \(dy.shape) does not fit an input of shape \(x.shape)")
        }
        let dx = try context.output(0, .float32, x.shape, layout: .channelsLast)
        return (dy, x, dx, WindowWalk(window))
    }

    private static func maximum(_ context: KernelContext, _ attributes: WindowAttributes) throws {
        let (dy, x, dx, walk) = try operands(context, attributes)
        let channels = x.shape[1]
        let blocks = (channels + block - 1) / block
        let (upstream, source, target) = (dy.floats, x.floats, dx.floats)
        Parallel.forEachRange(x.shape[0] * blocks) { range in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: block) { best in
                withUnsafeTemporaryAllocation(of: Int32.self, capacity: block) { place in
                    for index in range {
                        let (n, first) = (index / blocks, index % blocks * block)
                        let width = min(block, channels - first)
                        let from = source + n * walk.inputCount * channels + first
                        let to = target + n * walk.inputCount * channels + first
                        for point in 0..<walk.inputCount { (to + point * channels).update(repeating: 0, count: width) }
                        for position in 0..<walk.outputCount {
                            var isFirst = true
                            walk.forEachTap(position) { point, _ in
                                let row = from + point * channels
                                let number = Int32(truncatingIfNeeded: point)
                                if isFirst {
                                    for c in 0..<width {
                                        best[c] = row[c]
                                        place[c] = number
                                    }
                                    isFirst = false
                                    return
                                }
                                for c in 0..<width {
                                    let isLarger = row[c] > best[c]
                                    best[c] = isLarger ? row[c] : best[c]
                                    place[c] = isLarger ? number : place[c]
                                }
                            }
                            if isFirst { continue }
                            let gradient = upstream + (n * walk.outputCount + position) * channels + first
                            for c in 0..<width { to[Int(place[c]) * channels + c] += gradient[c] }
                        }
                    }
                }
            }
        }
    }

    private static func average(
        _ context: KernelContext, _ attributes: WindowAttributes, countsPadding: Bool
    ) throws {
        let (dy, x, dx, walk) = try operands(context, attributes)
        let channels = x.shape[1]
        let blocks = (channels + block - 1) / block
        let (upstream, target) = (dy.floats, dx.floats)
        Parallel.forEachRange(x.shape[0] * blocks) { range in
            for index in range {
                let (n, first) = (index / blocks, index % blocks * block)
                let width = min(block, channels - first)
                let to = target + n * walk.inputCount * channels + first
                for point in 0..<walk.inputCount { (to + point * channels).update(repeating: 0, count: width) }
                for position in 0..<walk.outputCount {
                    var taps = 0
                    if countsPadding {
                        taps = walk.paddedTaps(position)
                    } else {
                        walk.forEachTap(position) { _, _ in taps += 1 }
                    }
                    let share = 1 / Float(max(1, taps))
                    let gradient = upstream + (n * walk.outputCount + position) * channels + first
                    walk.forEachTap(position) { point, _ in
                        let row = to + point * channels
                        for c in 0..<width { row[c] += gradient[c] * share }
                    }
                }
            }
        }
    }

    private static func globalOperands(_ context: KernelContext) throws -> (dy: RuntimeTensor, x: RuntimeTensor) {
        let x = try context.channelsLast(1)
        // One element for each channel: every memory order is the same.
        let dy = try context.input(0)
        guard dy.elementType == .float32, x.elementType == .float32 else {
            throw KernelFailure("elements of type \(x.elementType.name)")
        }
        guard dy.rank == x.rank, dy.shape[0] == x.shape[0], dy.shape[1] == x.shape[1], dy.spatialCount == 1 else {
            throw KernelFailure("a gradient of shape \(dy.shape) does not fit an input of shape \(x.shape)")
        }
        return (dy, x)
    }

    private static func globalAverage(_ context: KernelContext) throws {
        let (dy, x) = try globalOperands(context)
        let dx = try context.output(0, .float32, x.shape, layout: .channelsLast)
        let (channels, points) = (x.shape[1], x.spatialCount)
        let (upstream, target) = (dy.floats, dx.floats)
        let share = 1 / Float(max(1, points))
        Parallel.forEachRange(x.shape[0] * points, grain: max(1, 8192 / max(1, channels))) { range in
            for row in range {
                let (from, to) = (upstream + row / points * channels, target + row * channels)
                for c in 0..<channels { to[c] = from[c] * share }
            }
        }
    }

    private static func globalMaximum(_ context: KernelContext) throws {
        let (dy, x) = try globalOperands(context)
        let dx = try context.output(0, .float32, x.shape, layout: .channelsLast)
        let (channels, points) = (x.shape[1], x.spatialCount)
        let (upstream, source, target) = (dy.floats, x.floats, dx.floats)
        target.update(repeating: 0, count: dx.count)
        guard points > 0 else { return }
        Parallel.forEachRange(x.shape[0] * channels, grain: max(1, 8192 / points)) { range in
            for index in range {
                let (n, c) = (index / channels, index % channels)
                let from = source + n * points * channels + c
                var place = 0
                for point in 1..<max(1, points) where from[point * channels] > from[place * channels] { place = point }
                target[(n * points + place) * channels + c] = upstream[index]
            }
        }
    }
}

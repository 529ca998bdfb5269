import COneDNN
import GraftCore
import GraftIR

/// The gradients of poolings: `…PoolGrad(dY, X[, Y]) → dX`; the attributes are those of the forward node.
///
/// Where several elements are the maximum, the first in row-major order gets the gradient, as in PyTorch.
enum PoolingGradientKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("MaxPoolGrad", domain: graftDomain, widens: true) {
                try PoolGradientKernel($0, isMaximum: true)
            },
            KernelDefinition("AveragePoolGrad", domain: graftDomain, widens: true) {
                try PoolGradientKernel($0, isMaximum: false)
            },
            .function("GlobalAveragePoolGrad", domain: graftDomain, widens: true, run: globalAverage),
            .function("GlobalMaxPoolGrad", domain: graftDomain, widens: true, run: globalMaximum),
        ]
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

/// The gradient of a pooling over windows: through oneDNN where it has a fast implementation.
final class PoolGradientKernel: Kernel {
    private let attributes: WindowAttributes
    private let isMaximum: Bool
    private let countsPadding: Bool
    private var prepared: [Prepared] = []
    /// The channels that are taken at once.
    private let block = 64

    private struct Prepared {
        let shape: [Int]
        /// Finds the places of the maxima again; nil for averages.
        let forward: Primitive?
        let workspace: MemoryDescriptor?
        /// Nil where the loops here do it.
        let backward: Primitive?
    }

    init(_ node: KernelNode, isMaximum: Bool) throws {
        attributes = try WindowAttributes(node.attributes)
        self.isMaximum = isMaximum
        countsPadding = node.attributes.int("count_include_pad") ?? 0 != 0
    }

    func run(_ context: KernelContext) throws {
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
        guard dx.count > 0, dy.count > 0 else { return dx.floats.update(repeating: 0, count: dx.count) }
        let prepared = try prepare(x.shape, dy.shape, window)
        guard let backward = prepared.backward else {
            let walk = WindowWalk(window)
            if isMaximum { maximum(dy, x, dx, walk) } else { average(dy, x, dx, walk) }
            return
        }
        guard let forward = prepared.forward, let layout = prepared.workspace else {
            try backward.run(context.arena, (GDNN_ARG_DIFF_DST, dy.pointer), (GDNN_ARG_DIFF_SRC, dx.pointer))
            return
        }
        let workspace = try context.temporary(.uint8, [layout.byteCount])
        let result = try context.temporary(.float32, dy.shape)
        try forward.run(
            context.arena, (GDNN_ARG_SRC, x.pointer), (GDNN_ARG_DST, result.pointer),
            (GDNN_ARG_WORKSPACE, workspace.pointer))
        try backward.run(
            context.arena, (GDNN_ARG_DIFF_DST, dy.pointer), (GDNN_ARG_WORKSPACE, workspace.pointer),
            (GDNN_ARG_DIFF_SRC, dx.pointer))
    }

    private func prepare(_ source: [Int], _ target: [Int], _ window: WindowGeometry) throws -> Prepared {
        if let found = prepared.first(where: { $0.shape == source }) { return found }
        // oneDNN has no windows that reach beyond the padding.
        let overshoots = zip(window.fittedEnd, window.end).contains { $0 > $1 }
        var made = Prepared(shape: source, forward: nil, workspace: nil, backward: nil)
        if isMaximum || !overshoots, window.dilations.allSatisfy({ $0 == 1 }) {
            let from = try MemoryDescriptor.channelsLast(.float32, source)
            let to = try MemoryDescriptor.channelsLast(.float32, target)
            var native = window.native
            let algorithm =
                isMaximum ? GDNN_POOL_MAX : countsPadding ? GDNN_POOL_AVERAGE_WITH_PADDING : GDNN_POOL_AVERAGE
            func make(_ direction: gdnn_direction) throws -> Primitive? {
                let primitive = try Primitive.make {
                    gdnn_pooling(
                        $0, Int32(direction.rawValue), Int32(algorithm.rawValue), from.handle, to.handle, &native)
                }
                return primitive?.isReference ?? true ? nil : primitive
            }
            let backward = try make(GDNN_BACKWARD_DATA)
            let forward = isMaximum && backward != nil ? try make(GDNN_FORWARD_TRAINING) : nil
            let workspace = forward?.layout(GDNN_ARG_WORKSPACE)
            if let backward, !isMaximum || workspace != nil {
                made = Prepared(shape: source, forward: forward, workspace: workspace, backward: backward)
            }
        }
        if prepared.count >= 16 { prepared.removeFirst() }
        prepared.append(made)
        return made
    }

    private func maximum(_ dy: RuntimeTensor, _ x: RuntimeTensor, _ dx: RuntimeTensor, _ walk: WindowWalk) {
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

    private func average(
        _ dy: RuntimeTensor, _ x: RuntimeTensor, _ dx: RuntimeTensor, _ walk: WindowWalk
    ) {
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
}

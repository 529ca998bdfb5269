import CNumerics
import COneDNN
import GraftCore
import GraftIR

/// MaxPool, AveragePool, LpPool and their global forms.
enum PoolingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("MaxPool", widens: true) { try PoolKernel($0, .maximum) },
            KernelDefinition("AveragePool", widens: true) { try PoolKernel($0, .average) },
            KernelDefinition("LpPool", widens: true) { try PoolKernel($0, .norm) },
            .function("GlobalMaxPool", widens: true) { try global($0, .maximum) },
            .function("GlobalAveragePool", widens: true) { try global($0, .average) },
            .function(
                "GlobalLpPool", widens: true, prepare: { Float($0.attributes.int("p") ?? 2) },
                run: { try global($1, .norm, p: $0) }),
        ]
    }

    enum Kind: Sendable { case maximum, average, norm }

    static func global(_ context: KernelContext, _ kind: Kind, p: Float = 2) throws {
        if kind == .average, context.isBlocked(0) {
            try averageOfBlocks(context)
            return
        }
        if kind == .average, try context.input(0).isRowMajor, try context.input(0).rank > 2 {
            let rank = try context.input(0).rank
            return try ReductionKernels.reduce(context, .mean, axes: Array(2..<rank), keeps: true)
        }
        let x = try context.channelsLast(0)
        guard x.elementType == .float32 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        let (channels, points) = (x.shape[1], x.spatialCount)
        let shape = [x.shape[0], channels] + Array(repeating: 1, count: x.rank - 2)
        let y = try context.output(0, .float32, shape)
        let (source, target) = (x.floats, y.floats)
        let block = 64
        let blocks = (channels + block - 1) / block
        Parallel.forEachRange(x.shape[0] * blocks, grain: max(1, 16384 / max(1, points * block))) { range in
            for index in range {
                let (n, first) = (index / blocks, index % blocks * block)
                let width = min(block, channels - first)
                let out = target + n * channels + first
                let from = source + n * points * channels + first
                out.update(repeating: kind == .maximum ? -.infinity : 0, count: width)
                for point in 0..<points {
                    let row = from + point * channels
                    switch kind {
                    case .maximum: for c in 0..<width { out[c] = row[c] > out[c] || row[c].isNaN ? row[c] : out[c] }
                    case .average: for c in 0..<width { out[c] += row[c] }
                    case .norm: for c in 0..<width { out[c] += powered(row[c], p) }
                    }
                }
                if kind == .average { for c in 0..<width { out[c] /= Float(points) } }
                if kind == .norm { for c in 0..<width { out[c] = rooted(out[c], p) } }
            }
        }
    }
}

extension PoolingKernels {
    /// The mean of each channel of a tensor in blocks.
    private static func averageOfBlocks(_ context: KernelContext) throws {
        let x = try context.anyOrder(0)
        let (channels, points, blocks) = (x.shape[1], x.spatialCount, x.blockCount)
        let y = try context.output(0, .float32, [x.shape[0], channels, 1, 1])
        let (source, target) = (x.floats, y.floats)
        let lanes = Layout.block
        Parallel.forEachRange(x.shape[0] * blocks, grain: max(1, 2048 / max(1, points))) { range in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: lanes) { sums in
                guard let sums = sums.baseAddress else { return }
                for index in range {
                    if x.layout == .roundedBlocks {
                        celementwise_sum_rounded_rows(x.rounded + index * points * lanes, sums, points)
                    } else {
                        celementwise_sum_rows(source + index * points * lanes, sums, points)
                    }
                    let first = index % blocks * lanes
                    let out = target + (index / blocks * channels + first)
                    for lane in 0..<min(lanes, channels - first) { out[lane] = sums[lane] / Float(points) }
                }
            }
        }
    }
}

@inline(__always) private func powered(_ x: Float, _ p: Float) -> Float {
    p == 2 ? x * x : p == 1 ? abs(x) : power(abs(x), p)
}

@inline(__always) private func rooted(_ x: Float, _ p: Float) -> Float {
    p == 2 ? x.squareRoot() : p == 1 ? x : power(x, 1 / p)
}

final class PoolKernel: Kernel {
    private let attributes: WindowAttributes
    private let kind: PoolingKernels.Kind
    private let countsPadding: Bool
    private let p: Float
    private let wantsIndices: Bool
    private let columnMajor: Bool
    private var prepared: [(type: ElementType, shape: [Int], layout: Layout, primitive: Primitive)] = []

    init(_ node: KernelNode, _ kind: PoolingKernels.Kind) throws {
        attributes = try WindowAttributes(node.attributes)
        self.kind = kind
        countsPadding = node.attributes.int("count_include_pad") ?? 0 != 0
        p = Float(node.attributes.int("p") ?? 2)
        wantsIndices = node.wants(1)
        columnMajor = node.attributes.int("storage_order") ?? 0 != 0
        if attributes.kernel == nil { throw KernelFailure("kernel_shape is missing") }
    }

    func run(_ context: KernelContext) throws {
        if try runBlocked(context) { return }
        if try runPlanes(context) { return }
        let x = try context.channelsLast(0)
        let window = try attributes.geometry(Array(x.shape[2...]))
        let shape = [x.shape[0], x.shape[1]] + window.output
        if wantsIndices {
            let indices = try context.output(1, .int64, shape)
            try poolWithIndices(x, window, shape, indices, context)
            return
        }
        let y = try context.output(0, x.elementType, shape, layout: .channelsLast)
        guard y.count > 0 else { return }
        // oneDNN has no windows that reach beyond the padding, and no norms; its means of bytes are bytes.
        let isByte = x.elementType == .uint8 || x.elementType == .int8
        let overshoots = zip(window.fittedEnd, window.end).contains { $0 > $1 }
        if kind == .maximum && isByte || kind != .norm && x.elementType == .float32,
            kind == .maximum || !overshoots, window.dilations.allSatisfy({ $0 == 1 }),
            let primitive = try primitive(x.elementType, x.shape, shape, window, .channelsLast)
        {
            try primitive.run(context.arena, (GDNN_ARG_SRC, x.pointer), (GDNN_ARG_DST, y.pointer))
            return
        }
        switch x.elementType {
        case .float32: try poolFloats(x, y, window)
        case .float64 where kind == .maximum: poolMaximum(Double.self, -.infinity, x, y, window)
        case .int8 where kind == .maximum: poolMaximum(Int8.self, .min, x, y, window)
        case .uint8 where kind == .maximum: poolMaximum(UInt8.self, .min, x, y, window)
        default: throw KernelFailure("elements of type \(x.elementType.name)")
        }
    }

    /// Pools a tensor in blocks of channels; false where oneDNN does not, or where it is none.
    private func runBlocked(_ context: KernelContext) throws -> Bool {
        guard context.isBlocked(0), !wantsIndices, kind != .norm else { return false }
        let x = try context.anyOrder(0)
        let window = try attributes.geometry(Array(x.shape[2...]))
        let overshoots = zip(window.fittedEnd, window.end).contains { $0 > $1 }
        let shape = [x.shape[0], x.shape[1]] + window.output
        guard kind == .maximum || !overshoots, window.dilations.allSatisfy({ $0 == 1 }), !shape.contains(0),
            let primitive = try primitive(.float32, x.shape, shape, window, x.layout)
        else { return false }
        let y = try context.output(0, .float32, shape, layout: x.layout)
        try primitive.run(context.arena, (GDNN_ARG_SRC, x.pointer), (GDNN_ARG_DST, y.pointer))
        return true
    }

    /// Finds the greatest numbers of row-major images where they lie; false where something else is asked for.
    private func runPlanes(_ context: KernelContext) throws -> Bool {
        guard kind == .maximum, !wantsIndices, try context.input(0).isRowMajor else { return false }
        let x = try context.plain(0)
        guard x.elementType == .float32, x.rank == 4 else { return false }
        let window = try attributes.geometry(Array(x.shape[2...]))
        let shape = [x.shape[0], x.shape[1]] + window.output
        guard let native = PlaneWindow(window) else { return false }
        let y = try context.output(0, .float32, shape)
        native.findGreatest(x.floats, y.floats, planes: shape[0] * shape[1])
        return true
    }

    private func primitive(
        _ type: ElementType, _ source: [Int], _ target: [Int], _ window: WindowGeometry, _ layout: Layout
    ) throws -> Primitive? {
        if let found = prepared.first(where: { $0.type == type && $0.shape == source && $0.layout == layout }) {
            return found.primitive
        }
        let (from, to) = (
            try MemoryDescriptor.ordered(type, source, layout), try MemoryDescriptor.ordered(type, target, layout)
        )
        var native = window.native
        let algorithm =
            kind == .maximum ? GDNN_POOL_MAX : countsPadding ? GDNN_POOL_AVERAGE_WITH_PADDING : GDNN_POOL_AVERAGE
        let made = try Primitive.make {
            gdnn_pooling(
                $0, Int32(GDNN_FORWARD_INFERENCE.rawValue), Int32(algorithm.rawValue), from.handle, to.handle, &native)
        }
        guard let made, !made.isReference else { return nil }
        if prepared.count >= 16 { prepared.removeFirst() }
        prepared.append((type, source, layout, made))
        return made
    }

    private func poolFloats(_ x: RuntimeTensor, _ y: RuntimeTensor, _ window: WindowGeometry) throws {
        if kind == .maximum {
            poolMaximum(Float.self, -.infinity, x, y, window)
            return
        }
        let channels = x.shape[1]
        let (source, target) = (x.floats, y.floats)
        let walk = WindowWalk(window)
        let (isAverage, countsPadding, p) = (kind == .average, countsPadding, p)
        Parallel.forEachRange(x.shape[0] * walk.outputCount, grain: max(1, 4096 / max(1, channels))) { range in
            for index in range {
                let (n, position) = (index / walk.outputCount, index % walk.outputCount)
                let out = target + index * channels
                let from = source + n * walk.inputCount * channels
                out.update(repeating: 0, count: channels)
                var taps = 0
                walk.forEachTap(position) { point, _ in
                    let row = from + point * channels
                    taps += 1
                    if isAverage {
                        for c in 0..<channels { out[c] += row[c] }
                    } else {
                        for c in 0..<channels { out[c] += powered(row[c], p) }
                    }
                }
                if isAverage {
                    let divisor = Float(max(1, countsPadding ? walk.paddedTaps(position) : taps))
                    for c in 0..<channels { out[c] /= divisor }
                } else {
                    for c in 0..<channels { out[c] = rooted(out[c], p) }
                }
            }
        }
    }

    private func poolMaximum<T: Comparable & BitwiseCopyable>(
        _ type: T.Type, _ lowest: T, _ x: RuntimeTensor, _ y: RuntimeTensor, _ window: WindowGeometry
    ) {
        let channels = x.shape[1]
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        let walk = WindowWalk(window)
        Parallel.forEachRange(x.shape[0] * walk.outputCount, grain: max(1, 4096 / max(1, channels))) { range in
            for index in range {
                let (n, position) = (index / walk.outputCount, index % walk.outputCount)
                let out = target + index * channels
                let from = source + n * walk.inputCount * channels
                out.update(repeating: lowest, count: channels)
                walk.forEachTap(position) { point, _ in
                    let row = from + point * channels
                    if MemoryLayout<T>.size == 1 {
                        cintegers_raise(row, T.self == Int8.self ? 1 : 0, out, channels)
                    } else {
                        for c in 0..<channels where row[c] > out[c] { out[c] = row[c] }
                    }
                }
            }
        }
    }

    private func poolWithIndices(
        _ x: RuntimeTensor, _ window: WindowGeometry, _ shape: [Int], _ indices: RuntimeTensor,
        _ context: KernelContext
    ) throws {
        switch x.elementType {
        case .float32: try poolWithIndices(Float.self, -.infinity, x, window, shape, indices, context)
        case .float64: try poolWithIndices(Double.self, -.infinity, x, window, shape, indices, context)
        case .int8: try poolWithIndices(Int8.self, .min, x, window, shape, indices, context)
        case .uint8: try poolWithIndices(UInt8.self, .min, x, window, shape, indices, context)
        default: throw KernelFailure("elements of type \(x.elementType.name)")
        }
    }

    private func poolWithIndices<T: Comparable & BitwiseCopyable>(
        _ type: T.Type, _ lowest: T, _ x: RuntimeTensor, _ window: WindowGeometry, _ shape: [Int],
        _ indices: RuntimeTensor, _ context: KernelContext
    ) throws {
        let y = try context.output(0, x.elementType, shape)
        let channels = x.shape[1]
        let walk = WindowWalk(window)
        let (source, target, where_) = (x.typed(T.self), y.typed(T.self), indices.int64s)
        let columnMajor = columnMajor
        Parallel.forEachRange(x.shape[0] * channels, grain: 4) { range in
            for plane in range {
                let (n, c) = (plane / channels, plane % channels)
                let from = source + n * walk.inputCount * channels + c
                for position in 0..<walk.outputCount {
                    var (best, place) = (lowest, -1)
                    walk.forEachTap(position) { point, _ in
                        let value = from[point * channels]
                        if place < 0 || value > best { (best, place) = (value, point) }
                    }
                    target[plane * walk.outputCount + position] = best
                    let inPlane = columnMajor ? walk.columnMajor(place) : place
                    where_[plane * walk.outputCount + position] = Int64(plane * walk.inputCount + inPlane)
                }
            }
        }
    }
}

/// The positions that windows touch, as numbers of points in row-major order.
struct WindowWalk {
    let window: WindowGeometry
    let inputCount: Int
    let outputCount: Int
    private let rank: Int

    init(_ window: WindowGeometry) {
        self.window = window
        rank = window.input.count
        inputCount = window.input.reduce(1, *)
        outputCount = window.output.reduce(1, *)
    }

    /// Calls `body` with each point of the input that the window at an output position covers, and the number of the
    /// window's element there.
    @inline(__always)
    func forEachTap(_ position: Int, _ body: (_ point: Int, _ tap: Int) -> Void) {
        if rank == 2 {
            let (h, w) = (window.input[0], window.input[1])
            let top = position / window.output[1] * window.strides[0] - window.begin[0]
            let left = position % window.output[1] * window.strides[1] - window.begin[1]
            for i in 0..<window.kernel[0] {
                let y = top + i * window.dilations[0]
                guard y >= 0, y < h else { continue }
                for j in 0..<window.kernel[1] {
                    let x = left + j * window.dilations[1]
                    guard x >= 0, x < w else { continue }
                    body(y * w + x, i * window.kernel[1] + j)
                }
            }
            return
        }
        let taps = window.kernel.reduce(1, *)
        for tap in 0..<taps {
            var (rest, place, point, scale) = (tap, position, 0, 1)
            var isInside = true
            for axis in (0..<rank).reversed() {
                let step = rest % window.kernel[axis]
                rest /= window.kernel[axis]
                let out = place % window.output[axis]
                place /= window.output[axis]
                let x = out * window.strides[axis] - window.begin[axis] + step * window.dilations[axis]
                isInside = isInside && x >= 0 && x < window.input[axis]
                point += x * scale
                scale *= window.input[axis]
            }
            if isInside { body(point, tap) }
        }
    }

    /// How many elements of the window at an output position lie in the input or its padding.
    func paddedTaps(_ position: Int) -> Int {
        var (place, result) = (position, 1)
        for axis in (0..<rank).reversed() {
            let start = place % window.output[axis] * window.strides[axis]
            place /= window.output[axis]
            let size = window.begin[axis] + window.input[axis] + window.end[axis]
            result *= (0..<window.kernel[axis]).reduce(0) { $0 + (start + $1 * window.dilations[axis] < size ? 1 : 0) }
        }
        return result
    }

    /// The number of a point when the last axis is the slowest.
    func columnMajor(_ point: Int) -> Int {
        var (rest, result, scale) = (point, 0, inputCount)
        for axis in (0..<rank).reversed() {
            scale /= window.input[axis]
            result += rest % window.input[axis] * scale
            rest /= window.input[axis]
        }
        return result
    }
}

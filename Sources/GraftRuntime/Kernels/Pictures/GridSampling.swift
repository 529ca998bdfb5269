import GraftCore
import GraftIR

/// GridSample and AffineGrid, in two and three dimensions and more.
enum GridSamplingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("GridSample", prepare: { try GridSampler($0) }, run: { try $0.run($1) }),
            .function(
                "GridSampleGrad", domain: graftDomain, widens: true, prepare: { try GridSampler($0) },
                run: { try $0.runGradient($1) }),
            .function(
                "AffineGrid", widens: true, prepare: { $0.attributes.int("align_corners") ?? 0 != 0 },
                run: { isAligned, context in
                    switch try context.input(0).elementType {
                    case .float32: try affineGrid(Float.self, context, isAligned)
                    case .float64: try affineGrid(Double.self, context, isAligned)
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                }),
        ]
    }

    /// The positions of an output's points, normalised to -1...1, under an affine map.
    private static func affineGrid<T: RealNumber>(
        _ type: T.Type, _ context: KernelContext, _ isAligned: Bool
    ) throws {
        let theta = try context.plain(0)
        let size = try context.integers(1)
        let rank = size.count - 2
        guard rank == 2 || rank == 3, size.allSatisfy({ $0 >= 0 }), theta.shape == [size[0], rank, rank + 1] else {
            throw KernelFailure("theta of shape \(theta.shape) for the size \(size)")
        }
        let spatial = Array(size[2...])
        let y = try context.output(0, theta.elementType, [size[0]] + spatial + [rank])
        guard y.count > 0 else { return }
        let lines = spatial.map { count in
            (0..<count).map { index -> Double in
                if isAligned { return count == 1 ? 0 : -1 + 2 * Double(index) / Double(count - 1) }
                return (2 * Double(index) + 1) / Double(count) - 1
            }
        }
        let points = spatial.reduce(1, *)
        let (source, target) = (theta.typed(T.self), y.typed(T.self))
        Parallel.forEachRange(size[0] * points, grain: 2048) { range in
            for index in range {
                let map = source + index / points * rank * (rank + 1)
                let to = target + index * rank
                for row in 0..<rank { to[row] = map[row * (rank + 1) + rank] }
                var rest = index % points
                // The last axis is the first coordinate.
                for axis in (0..<rank).reversed() {
                    let place = T(lines[axis][rest % spatial[axis]])
                    rest /= spatial[axis]
                    for row in 0..<rank { to[row] += map[row * (rank + 1) + rank - 1 - axis] * place }
                }
            }
        }
    }
}

/// Samples an image at given places.
struct GridSampler: Sendable {
    enum Mode: Sendable {
        case nearest, linear, cubic

        /// How many elements each axis contributes.
        var taps: Int { self == .nearest ? 1 : self == .linear ? 2 : 4 }
    }
    enum Padding: Sendable { case zeros, border, reflection }

    let mode: Mode
    let padding: Padding
    let isAligned: Bool

    init(_ node: KernelNode) throws {
        switch node.attributes.string("mode") ?? "linear" {
        case "nearest": mode = .nearest
        case "linear", "bilinear": mode = .linear
        case "cubic", "bicubic": mode = .cubic
        case let other: throw KernelFailure("the mode \"\(other)\" is not known")
        }
        switch node.attributes.string("padding_mode") ?? "zeros" {
        case "zeros": padding = .zeros
        case "border": padding = .border
        case "reflection": padding = .reflection
        case let other: throw KernelFailure("the padding \"\(other)\" is not known")
        }
        isAligned = node.attributes.int("align_corners") ?? 0 != 0
    }

    func run(_ context: KernelContext) throws {
        let type = try context.input(0).elementType
        let x = try context.plain(0)
        let given = try context.plain(1)
        let rank = x.rank - 2
        guard rank >= 1, rank <= 6, given.rank == x.rank, given.shape[0] == x.shape[0],
            given.shape[given.rank - 1] == rank
        else { throw KernelFailure("an input of shape \(x.shape) and a grid of shape \(given.shape)") }
        let shape = Array(x.shape[..<2]) + given.shape[1..<(given.rank - 1)]
        switch type {
        case .float64:
            let grid = try context.numbers(of: given, as: Double.self, .float64)
            interpolate(Double.self, x, grid, try context.output(0, type, shape))
        case .float32, .float16, .bfloat16:
            let grid = try context.numbers(of: given, as: Float.self, .float32)
            let y = try context.temporary(.float32, shape)
            let numbers = try context.numbers(of: x, as: Float.self, .float32)
            if let planes = BilinearPlanes(self, numbers, grid, y) {
                planes.run()
            } else {
                interpolate(Float.self, numbers, grid, y)
            }
            context.set(0, try context.narrowed(y, type))
        default:
            guard mode == .nearest, type.byteWidth > 0 else {
                throw KernelFailure("elements of type \(type.name); only the nearest of them can be sampled")
            }
            let grid = try context.numbers(of: given, as: Float.self, .float32)
            let y = try context.output(0, type, shape)
            switch type.byteWidth {
            case 1: pick(UInt8.self, x, grid, y)
            case 2: pick(UInt16.self, x, grid, y)
            case 4: pick(UInt32.self, x, grid, y)
            case 8: pick(UInt64.self, x, grid, y)
            default: throw KernelFailure("elements of type \(type.name)")
            }
        }
    }

    /// Calls `body` with each point's taps: the sample, the point, and offset and weight of each tap in a plane.
    private func forEachPoint<T: RealNumber>(
        _ x: RuntimeTensor, _ grid: RuntimeTensor, _ type: T.Type,
        _ body: (Int, Int, UnsafeBufferPointer<(offset: Int, weight: T)>) -> Void
    ) {
        let spatial = Array(x.shape[2...])
        let rank = spatial.count
        let points = grid.shape[1..<(grid.rank - 1)].reduce(1, *)
        guard points > 0, !spatial.contains(0) else { return }
        let capacity = (0..<rank).reduce(1) { count, _ in count * mode.taps }
        let source = grid.typed(T.self)
        Parallel.forEachRange(x.shape[0] * points, grain: max(1, 4096 / max(1, capacity * x.shape[1]))) { range in
            withUnsafeTemporaryAllocation(of: (offset: Int, weight: T).self, capacity: 2 * capacity) { buffer in
                for index in range {
                    let place = source + index * rank
                    var count = 1
                    buffer[0] = (0, 1)
                    for axis in 0..<rank where count > 0 {
                        let taps = AxisTaps(place[rank - 1 - axis], spatial[axis], self)
                        for entry in 0..<count { buffer[capacity + entry] = buffer[entry] }
                        let before = count
                        count = 0
                        for entry in 0..<before {
                            let outer = buffer[capacity + entry]
                            for tap in 0..<taps.count where taps.places[tap] >= 0 {
                                buffer[count] = (
                                    outer.offset * spatial[axis] + taps.places[tap], outer.weight * taps.weights[tap]
                                )
                                count += 1
                            }
                        }
                    }
                    body(index / points, index % points, UnsafeBufferPointer(rebasing: buffer[..<count]))
                }
            }
        }
    }

    private func interpolate<T: RealNumber>(
        _ type: T.Type, _ x: RuntimeTensor, _ grid: RuntimeTensor, _ y: RuntimeTensor
    ) {
        let (channels, plane) = (x.shape[1], x.spatialCount)
        let points = y.spatialCount
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        if plane == 0 { target.update(repeating: 0, count: y.count) }
        forEachPoint(x, grid, type) { sample, point, taps in
            for channel in 0..<channels {
                let from = source + (sample * channels + channel) * plane
                var sum: T = 0
                for tap in taps { sum += from[tap.offset] * tap.weight }
                target[(sample * channels + channel) * points + point] = sum
            }
        }
    }

    private func pick<T: BitwiseCopyable & ExpressibleByIntegerLiteral>(
        _ type: T.Type, _ x: RuntimeTensor, _ grid: RuntimeTensor, _ y: RuntimeTensor
    ) {
        let (channels, plane) = (x.shape[1], x.spatialCount)
        let points = y.spatialCount
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        if plane == 0 { target.update(repeating: 0, count: y.count) }
        forEachPoint(x, grid, Float.self) { sample, point, taps in
            for channel in 0..<channels {
                let from = source + (sample * channels + channel) * plane
                target[(sample * channels + channel) * points + point] = taps.first.map { from[$0.offset] } ?? 0
            }
        }
    }
}

import GraftCore
import GraftIR

/// Pad in all its modes.
enum PaddingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "Pad", opsets: 1...10,
                prepare: { node -> (Mode, [Int], Float) in
                    guard let pads = node.attributes.ints("pads") ?? node.attributes.ints("paddings") else {
                        throw KernelFailure("pads are missing")
                    }
                    return (try Mode(node), pads, node.attributes.float("value") ?? 0)
                },
                run: { settings, context in
                    let fill = try context.temporary(.float32, [])
                    fill.floats.pointee = settings.2
                    let rank = try context.input(0).rank
                    try pad(context, settings.0, settings.1, axes: Array(0..<rank), fill: fill)
                }),
            .function(
                "Pad", opsets: 11...KernelRegistry.newestOpset, prepare: { try Mode($0) },
                run: { mode, context in
                    let rank = try context.input(0).rank
                    let axes = try context.optionalIntegers(3) ?? Array(0..<rank)
                    let fill = context.has(2) ? try context.plain(2) : nil
                    try pad(
                        context, mode, try context.integers(1), axes: try normalizedAxes(axes, rank: rank), fill: fill)
                }),
            .function(
                "PadGrad", domain: graftDomain, prepare: { try Mode($0) }, run: { try gradient($1, $0) }),
        ]
    }

    enum Mode: Sendable {
        case constant, reflect, edge, wrap

        init(_ node: KernelNode) throws {
            switch node.attributes.string("mode") ?? "constant" {
            case "constant": self = .constant
            case "reflect": self = .reflect
            case "edge": self = .edge
            case "wrap": self = .wrap
            case let other: throw KernelFailure("the mode \"\(other)\"")
            }
        }
    }

    static func pad(
        _ context: KernelContext, _ mode: Mode, _ pads: [Int], axes: [Int], fill: RuntimeTensor?
    ) throws {
        let x = try context.input(0)
        guard pads.count == 2 * axes.count, pads.allSatisfy({ $0.magnitude < 1 << 32 }) else {
            throw KernelFailure("the pads \(pads) do not fit \(axes.count) axes")
        }
        var begin = Array(repeating: 0, count: x.rank)
        var end = begin
        for (index, axis) in axes.enumerated() {
            begin[axis] = pads[index]
            end[axis] = pads[index + axes.count]
        }
        let shape = x.shape.indices.map { x.shape[$0] + begin[$0] + end[$0] }
        guard shape.allSatisfy({ $0 >= 0 }) else { throw KernelFailure("pads \(pads) leave a negative length") }
        if shape == x.shape, begin.allSatisfy({ $0 == 0 }) {
            context.set(0, x)
            return
        }
        let y = try context.output(0, x.elementType, shape, layout: x.layout)
        let width = x.elementType.byteWidth
        guard width > 0 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        guard y.count > 0 else { return }
        if mode == .constant {
            try padConstant(x, y, begin, fill, width)
            return
        }
        // For each axis of the result: where along the input's axis it reads.
        let order = x.memoryOrder
        let maps = try order.map { axis in
            try (0..<shape[axis]).map { position in
                try place(position - begin[axis], x.shape[axis], mode) * x.strides[axis]
            }
        }
        switch width {
        case 1: gather(UInt8.self, x, y, maps)
        case 2: gather(UInt16.self, x, y, maps)
        case 4: gather(UInt32.self, x, y, maps)
        case 8: gather(UInt64.self, x, y, maps)
        default: gather(SIMD2<UInt64>.self, x, y, maps)
        }
    }

    private static func padConstant(
        _ x: RuntimeTensor, _ y: RuntimeTensor, _ begin: [Int], _ fill: RuntimeTensor?, _ width: Int
    ) throws {
        var value: UnsafeMutableRawPointer?
        if let fill, fill.count == 1 {
            guard fill.elementType == x.elementType else { throw KernelFailure("a fill value of another type") }
            value = fill.pointer
        }
        let rows = PaddedRows(x, y, begin)
        switch width {
        case 1: rows.write(UInt8.self, value)
        case 2: rows.write(UInt16.self, value)
        case 4: rows.write(UInt32.self, value)
        case 8: rows.write(UInt64.self, value)
        default: rows.write(SIMD2<UInt64>.self, value)
        }
    }

    /// `PadGrad(dY, pads, axes) → dX`: each element of dY is added to the element that it was copied from.
    private static func gradient(_ context: KernelContext, _ mode: Mode) throws {
        var dy = try context.input(0)
        let pads = try context.integers(1)
        let axes = try normalizedAxes(try context.optionalIntegers(2) ?? Array(0..<dy.rank), rank: dy.rank)
        guard pads.allSatisfy({ $0.magnitude < 1 << 32 }) else { throw KernelFailure("pads \(pads) are out of range") }
        if mode == .constant { return try pad(context, .constant, pads.map { -$0 }, axes: axes, fill: nil) }
        guard dy.elementType == .float32, pads.count == 2 * axes.count else {
            throw KernelFailure("elements of type \(dy.elementType.name), or pads that do not fit")
        }
        for (index, axis) in axes.enumerated() {
            let (begin, end) = (pads[index], pads[index + axes.count])
            let (outer, length, inner) = dy.around(axis)
            let size = length - begin - end
            guard size >= 0 else { throw KernelFailure("pads \(pads) do not fit the shape \(dy.shape)") }
            var shape = dy.shape
            shape[axis] = size
            let dx = try context.temporary(.float32, shape, layout: dy.layout)
            dx.floats.update(repeating: 0, count: dx.count)
            let places = try (0..<length).map { try place($0 - begin, size, mode) }
            let (source, target) = (dy.floats, dx.floats)
            Parallel.forEachRange(outer, grain: max(1, 8192 / max(1, length * inner))) { rows in
                for row in rows {
                    for (position, place) in places.enumerated() {
                        let from = source + (row * length + position) * inner
                        let to = target + (row * size + place) * inner
                        for column in 0..<inner { to[column] += from[column] }
                    }
                }
            }
            dy = dx
        }
        context.set(0, dy)
    }

    private static func place(_ position: Int, _ length: Int, _ mode: Mode) throws -> Int {
        guard length > 0 else { throw KernelFailure("an empty axis cannot be continued") }
        switch mode {
        case .constant, .edge: return max(0, min(length - 1, position))
        case .wrap: return ((position % length) + length) % length
        case .reflect:
            if length == 1 { return 0 }
            let period = 2 * (length - 1)
            let wrapped = ((position % period) + period) % period
            return wrapped < length ? wrapped : period - wrapped
        }
    }

    private static func gather<T: BitwiseCopyable>(
        _ type: T.Type, _ x: RuntimeTensor, _ y: RuntimeTensor, _ maps: [[Int]]
    ) {
        guard let inner = maps.last else {
            y.typed(T.self).pointee = x.typed(T.self).pointee
            return
        }
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        let outer = maps.dropLast()
        Parallel.forEachRange(y.count / inner.count, grain: max(1, 8192 / inner.count)) { range in
            for row in range {
                var (rest, offset) = (row, 0)
                for map in outer.reversed() {
                    offset += map[rest % map.count]
                    rest /= map.count
                }
                let (from, to) = (source + offset, target + row * inner.count)
                inner.withUnsafeBufferPointer { inner in
                    for index in inner.indices { to[index] = from[inner[index]] }
                }
            }
        }
    }
}

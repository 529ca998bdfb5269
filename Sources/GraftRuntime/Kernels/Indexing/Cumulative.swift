import GraftCore
import GraftIR

/// CumSum and CumProd.
enum CumulativeKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [accumulate("CumSum", isProduct: false), accumulate("CumProd", isProduct: true)]
    }

    private struct Settings: Sendable {
        let isExclusive: Bool
        let isReversed: Bool
        let isProduct: Bool
    }

    private static func accumulate(_ type: String, isProduct: Bool) -> KernelDefinition {
        .function(
            type, widens: true,
            prepare: { node in
                Settings(
                    isExclusive: node.attributes.int("exclusive") ?? 0 != 0,
                    isReversed: node.attributes.int("reverse") ?? 0 != 0, isProduct: isProduct)
            },
            run: { settings, context in
                switch try context.input(0).elementType {
                case .float32: try floating(Float.self, settings, context)
                case .float64: try floating(Double.self, settings, context)
                case .int32: try integer(Int32.self, settings, context)
                case .int64: try integer(Int64.self, settings, context)
                case .uint32: try integer(UInt32.self, settings, context)
                case .uint64: try integer(UInt64.self, settings, context)
                case let type: throw KernelFailure("elements of type \(type.name)")
                }
            })
    }

    private static func floating<T: BinaryFloatingPoint & BitwiseCopyable>(
        _ type: T.Type, _ settings: Settings, _ context: KernelContext
    ) throws {
        if settings.isProduct {
            try scan(T.self, settings, context, start: 1) { $0 * $1 }
        } else {
            try scan(T.self, settings, context, start: 0) { $0 + $1 }
        }
    }

    private static func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, _ settings: Settings, _ context: KernelContext
    ) throws {
        if settings.isProduct {
            try scan(T.self, settings, context, start: 1) { $0 &* $1 }
        } else {
            try scan(T.self, settings, context, start: 0) { $0 &+ $1 }
        }
    }

    @inline(__always)
    private static func scan<T: BitwiseCopyable>(
        _ type: T.Type, _ settings: Settings, _ context: KernelContext, start: T, _ combine: (T, T) -> T
    ) throws {
        let x = try context.plain(0)
        let axis = try normalizedAxis(try context.integer(1), rank: x.rank)
        let (outer, length, inner) = x.rank == 0 ? (1, 1, 1) : x.around(axis)
        let y = try context.output(0, x.elementType, x.shape)
        guard x.count > 0 else { return }
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        let isExclusive = settings.isExclusive
        let (first, step) = settings.isReversed ? (length - 1, -inner) : (0, inner)
        if inner == 1 {
            Parallel.forEachRange(outer, grain: max(1, 8192 / length)) { range in
                for line in range {
                    var place = line * length + first
                    var total = start
                    for _ in 0..<length {
                        let next = combine(total, source[place])
                        target[place] = isExclusive ? total : next
                        total = next
                        place += step
                    }
                }
            }
            return
        }
        // Lines that lie side by side are summed together: each row is the row before it and one more.
        let width = min(inner, max(256, min(4096, (inner + Parallel.threads - 1) / Parallel.threads)))
        let blocks = (inner + width - 1) / width
        Parallel.forEachRange(outer * blocks, grain: max(1, 8192 / (length * width))) { range in
            for index in range {
                let (line, column) = (index / blocks, index % blocks * width)
                let count = min(width, inner - column)
                var place = (line * length + first) * inner + column
                let head = target + place
                if isExclusive {
                    head.update(repeating: start, count: count)
                } else {
                    head.update(from: source + place, count: count)
                }
                for _ in 1..<max(1, length) {
                    let before = place
                    place += step
                    let from = source + (isExclusive ? before : place)
                    let (last, to) = (target + before, target + place)
                    for offset in 0..<count { to[offset] = combine(last[offset], from[offset]) }
                }
            }
        }
    }
}

import CNumerics
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

    private static func floating<T: RealNumber>(
        _ type: T.Type, _ settings: Settings, _ context: KernelContext
    ) throws {
        if settings.isProduct {
            try scan(Product<T>.self, settings, context)
        } else {
            try scan(Sum<T>.self, settings, context)
        }
    }

    private static func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, _ settings: Settings, _ context: KernelContext
    ) throws {
        if settings.isProduct {
            try scan(WholeProduct<T>.self, settings, context)
        } else {
            try scan(WholeSum<T>.self, settings, context)
        }
    }

    private static func scan<F: Folding>(
        _ folding: F.Type, _ settings: Settings, _ context: KernelContext
    ) throws {
        let x = try context.plain(0)
        let axis = try normalizedAxis(try context.integer(1), rank: x.rank)
        let (outer, length, inner) = x.rank == 0 ? (1, 1, 1) : x.around(axis)
        let y = try context.output(0, x.elementType, x.shape)
        guard x.count > 0 else { return }
        let (source, target) = (x.typed(F.Number.self), y.typed(F.Number.self))
        let isExclusive = settings.isExclusive
        let (first, step) = settings.isReversed ? (length - 1, -inner) : (0, inner)
        if inner == 1 {
            Parallel.forEachRange(outer, grain: max(1, 8192 / length)) { range in
                var line = range.lowerBound
                // Four lines at a time, so that one sum need not wait for the one before.
                while line + 4 <= range.upperBound {
                    var (a, b, c, d) = (F.start, F.start, F.start, F.start)
                    var place = line * length + first
                    for _ in 0..<length {
                        let next = (
                            F.step(a, source[place]), F.step(b, source[place + length]),
                            F.step(c, source[place + 2 * length]), F.step(d, source[place + 3 * length])
                        )
                        target[place] = isExclusive ? a : next.0
                        target[place + length] = isExclusive ? b : next.1
                        target[place + 2 * length] = isExclusive ? c : next.2
                        target[place + 3 * length] = isExclusive ? d : next.3
                        (a, b, c, d) = next
                        place += step
                    }
                    line += 4
                }
                while line < range.upperBound {
                    var place = line * length + first
                    var total = F.start
                    for _ in 0..<length {
                        let next = F.step(total, source[place])
                        target[place] = isExclusive ? total : next
                        total = next
                        place += step
                    }
                    line += 1
                }
            }
            return
        }
        // Lines that lie side by side are summed together: each row is the row before it and one more.
        let width = min(inner, max(256, min(4096, (inner + Parallel.threads - 1) / Parallel.threads)))
        let blocks = (inner + width - 1) / width
        let streams = Streaming.isWorthwhile(y.byteCount)
        let isPlainSum = F.self == Sum<Float>.self && !isExclusive
        Parallel.forEachRange(outer * blocks, grain: max(1, 8192 / (length * width))) { range in
            withUnsafeTemporaryAllocation(of: F.Number.self, capacity: width) { buffer in
                guard let totals = buffer.baseAddress else { return }
                for index in range {
                    let (line, column) = (index / blocks, index % blocks * width)
                    let count = min(width, inner - column)
                    let bytes = count * MemoryLayout<F.Number>.stride
                    var place = (line * length + first) * inner + column
                    totals.update(repeating: F.start, count: count)
                    if isPlainSum {
                        let sums = UnsafeMutableRawPointer(totals).assumingMemoryBound(to: Float.self)
                        for row in 0..<length {
                            let next = row + 1 < length ? place + step : place
                            celementwise_accumulate(
                                x.floats + place, x.floats + next, sums, y.floats + place, count, streams ? 1 : 0)
                            place = next
                        }
                        continue
                    }
                    for _ in 0..<length {
                        if isExclusive { Streaming.copy(totals, to: target + place, bytes: bytes, streams: streams) }
                        F.foldRows(source + place, inner, 1, totals, count)
                        if !isExclusive { Streaming.copy(totals, to: target + place, bytes: bytes, streams: streams) }
                        place += step
                    }
                }
            }
            Streaming.finish(streams)
        }
    }
}

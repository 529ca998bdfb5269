import CNumerics
import GraftCore
import GraftIR

/// NonZero and Compress.
enum SelectionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("NonZero", run: nonZero),
            .function("Compress", prepare: { $0.attributes.int("axis") }, run: compress),
        ]
    }

    // MARK: NonZero

    private static func nonZero(_ context: KernelContext) throws {
        if case .strings(let texts) = try context.value(0) {
            let flags = try context.temporary(.uint8, texts.shape)
            for (index, text) in texts.elements.enumerated() { flags.typed(UInt8.self)[index] = text.isEmpty ? 0 : 1 }
            return try nonZero(flags, mask: UInt8.max, context)
        }
        let x = try context.plain(0)
        // The sign of a floating-point number does not count.
        switch x.elementType {
        case .int8, .uint8, .bool: try nonZero(x, mask: UInt8.max, context)
        case .int16, .uint16: try nonZero(x, mask: UInt16.max, context)
        case .int32, .uint32: try nonZero(x, mask: UInt32.max, context)
        case .int64, .uint64: try nonZero(x, mask: UInt64.max, context)
        case .float16, .bfloat16: try nonZero(x, mask: UInt16(0x7FFF), context)
        case .float32: try nonZero(x, mask: UInt32(0x7FFF_FFFF), context)
        case .float64: try nonZero(x, mask: UInt64(0x7FFF_FFFF_FFFF_FFFF), context)
        case .complex64: try nonZero(x, mask: UInt64(0x7FFF_FFFF_7FFF_FFFF), context)
        case .complex128:
            let flags = try context.temporary(.uint8, x.shape)
            let (parts, to) = (x.typed(SIMD2<UInt64>.self), flags.typed(UInt8.self))
            for index in 0..<x.count {
                to[index] = (parts[index].x | parts[index].y) & 0x7FFF_FFFF_FFFF_FFFF != 0 ? 1 : 0
            }
            try nonZero(flags, mask: UInt8.max, context)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static let chunk = 16384

    /// The positions of elements that have bits in common with a mask.
    private static func nonZero<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        _ x: RuntimeTensor, mask: T, _ context: KernelContext
    ) throws {
        let (source, count, rank) = (x.typed(T.self), x.count, x.rank)
        let chunks = (count + chunk - 1) / chunk
        // For each chunk of elements, how many are found before it.
        let found = try context.temporary(.int64, [chunks]).int64s
        Parallel.forEachRange(chunks) { range in
            for part in range {
                let first = part * chunk
                found[part] = Int64(
                    cmovement_count(
                        source + first, min(count - first, chunk), MemoryLayout<T>.size,
                        UInt64(truncatingIfNeeded: mask)))
            }
        }
        var total = 0
        for part in 0..<chunks {
            let own = Int(found[part])
            found[part] = Int64(total)
            total += own
        }
        let target = try context.output(0, .int64, [rank, total]).int64s
        let (inner, outer) = (x.shape.last ?? 1, Array(x.shape.dropLast()))
        guard rank > 0, count > 0 else { return }
        Parallel.forEachRange(chunks) { range in
            withUnsafeTemporaryAllocation(of: Int32.self, capacity: chunk + 1) { columns in
                for part in range {
                    var next = Int(found[part])
                    var index = part * chunk
                    let end = min(count, index + chunk)
                    while index < end {
                        let (row, column) = (index / inner, index % inner)
                        let width = min(inner - column, end - index)
                        let own = cmovement_find(
                            source + index, width, MemoryLayout<T>.size, UInt64(truncatingIfNeeded: mask),
                            columns.baseAddress)
                        let last = target + ((rank - 1) * total + next)
                        for place in 0..<own { last[place] = Int64(column) &+ Int64(columns[place]) }
                        var rest = row
                        for axis in outer.indices.reversed() {
                            (target + (axis * total + next)).update(repeating: Int64(rest % outer[axis]), count: own)
                            rest /= outer[axis]
                        }
                        next += own
                        index += width
                    }
                }
            }
        }
    }

    // MARK: Compress

    private static func compress(_ givenAxis: Int?, _ context: KernelContext) throws {
        var x = try context.plain(0)
        if givenAxis == nil { x = x.viewed([x.count]) }
        guard x.rank > 0 else { throw KernelFailure("a scalar has no axis") }
        let axis = try normalizedAxis(givenAxis ?? 0, rank: x.rank)
        let condition = try context.plain(1, .bool)
        let (outer, length, inner) = x.around(axis)
        let flags = condition.typed(UInt8.self)
        guard condition.rank == 1, !(length..<max(length, condition.count)).contains(where: { flags[$0] != 0 }) else {
            throw KernelFailure("a condition of shape \(condition.shape) for an axis of length \(length)")
        }
        let places = (0..<min(length, condition.count)).filter { flags[$0] != 0 }
        var shape = x.shape
        shape[axis] = places.count
        let y = try context.output(0, x.elementType, shape)
        let bytes = inner * x.elementType.byteWidth
        guard bytes > 0 || y.count == 0 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        let (source, target, count) = (x.pointer, y.pointer, places.count)
        Parallel.forEachRange(outer * count, grain: max(1, 65536 / max(1, bytes))) { range in
            for index in range {
                let (row, place) = (index / count, places[index % count])
                (target + index * bytes).copyMemory(from: source + (row * length + place) * bytes, byteCount: bytes)
            }
        }
    }
}

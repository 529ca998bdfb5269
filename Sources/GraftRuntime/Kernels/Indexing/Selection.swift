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
            return try nonZero(UInt8.self, flags, context) { $0 != 0 }
        }
        let x = try context.plain(0)
        // The sign of a floating-point number does not count.
        switch x.elementType {
        case .int8, .uint8, .bool: try nonZero(UInt8.self, x, context) { $0 != 0 }
        case .int16, .uint16: try nonZero(UInt16.self, x, context) { $0 != 0 }
        case .int32, .uint32: try nonZero(UInt32.self, x, context) { $0 != 0 }
        case .int64, .uint64: try nonZero(UInt64.self, x, context) { $0 != 0 }
        case .float16, .bfloat16: try nonZero(UInt16.self, x, context) { $0 & 0x7FFF != 0 }
        case .float32: try nonZero(UInt32.self, x, context) { $0 & 0x7FFF_FFFF != 0 }
        case .float64: try nonZero(UInt64.self, x, context) { $0 & 0x7FFF_FFFF_FFFF_FFFF != 0 }
        case .complex64: try nonZero(UInt64.self, x, context) { $0 & 0x7FFF_FFFF_7FFF_FFFF != 0 }
        case .complex128:
            try nonZero(SIMD2<UInt64>.self, x, context) { ($0.x | $0.y) & 0x7FFF_FFFF_FFFF_FFFF != 0 }
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static let chunk = 16384

    private static func nonZero<T: BitwiseCopyable>(
        _ type: T.Type, _ x: RuntimeTensor, _ context: KernelContext, _ isSet: (T) -> Bool
    ) throws {
        let (source, count, rank) = (x.typed(T.self), x.count, x.rank)
        let chunks = (count + chunk - 1) / chunk
        // For each chunk of elements, how many are found before it.
        let found = try context.temporary(.int64, [chunks]).int64s
        Parallel.forEachRange(chunks) { range in
            for part in range {
                var total: Int64 = 0
                for index in (part * chunk)..<min(count, (part + 1) * chunk) where isSet(source[index]) { total += 1 }
                found[part] = total
            }
        }
        var total = 0
        for part in 0..<chunks {
            let own = Int(found[part])
            found[part] = Int64(total)
            total += own
        }
        let target = try context.output(0, .int64, [rank, total]).int64s
        let shape = x.shape
        guard rank > 0 else { return }
        Parallel.forEachRange(chunks) { range in
            for part in range {
                var next = Int(found[part])
                for index in (part * chunk)..<min(count, (part + 1) * chunk) where isSet(source[index]) {
                    var rest = index
                    for axis in stride(from: rank - 1, through: 0, by: -1) {
                        target[axis * total + next] = Int64(rest % shape[axis])
                        rest /= shape[axis]
                    }
                    next += 1
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

import GraftCore
import GraftIR

/// TensorScatter: writes a run of positions into a cache, for each sample at a place of its own.
enum TensorScatterKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "TensorScatter",
                prepare: { node -> (axis: Int, isCircular: Bool) in
                    let mode = node.attributes.string("mode") ?? "linear"
                    guard mode == "linear" || mode == "circular" else { throw KernelFailure("the mode \"\(mode)\"") }
                    return (node.attributes.int("axis") ?? -2, mode == "circular")
                },
                run: { settings, context in try write(context, settings.axis, isCircular: settings.isCircular) })
        ]
    }

    private static func write(_ context: KernelContext, _ givenAxis: Int, isCircular: Bool) throws {
        let cache = try context.input(0).shape
        let type = try context.input(0).elementType
        let axis = try normalizedAxis(givenAxis, rank: cache.count)
        let update = try context.plain(1)
        let fits =
            update.rank == cache.count && update.elementType == type
            && cache.indices.allSatisfy { $0 == axis ? update.shape[$0] <= cache[$0] : update.shape[$0] == cache[$0] }
        guard fits, axis > 0 else {
            throw KernelFailure("an update of shape \(update.shape) does not fit a cache of shape \(cache)")
        }
        let starts = try context.optionalIntegers(2) ?? Array(repeating: 0, count: cache[0])
        guard starts.count == cache[0] else {
            throw KernelFailure("\(starts.count) write indices for \(cache[0]) samples")
        }
        let (length, size) = (update.shape[axis], cache[axis])
        let last = isCircular ? Int.max : size - length
        guard starts.allSatisfy({ $0 >= 0 && $0 <= last }) else {
            throw KernelFailure("the write indices \(starts) do not fit \(length) positions of \(size)")
        }
        // Types narrower than a byte are moved in whole bytes.
        let bits = cache[(axis + 1)...].reduce(1, *) * type.bitWidth
        guard bits % 8 == 0 else { throw KernelFailure("rows of \(bits) bits") }
        let bytes = bits / 8
        let y = try context.copyOfData()
        let rows = cache[..<axis].reduce(1, *)
        guard rows > 0, length > 0, bytes > 0 else { return }
        let perSample = rows / cache[0]
        let (source, target) = (update.pointer, y.pointer)
        Parallel.forEachRange(rows * length, grain: max(1, 65536 / bytes)) { range in
            for index in range {
                let (row, position) = (index / length, index % length)
                let place = (starts[row / perSample] % size + position) % size
                (target + (row * size + place) * bytes).copyMemory(from: source + index * bytes, byteCount: bytes)
            }
        }
    }
}

import CNumerics
import GraftCore
import GraftIR

/// Gather.
enum GatherKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("Gather", prepare: { $0.attributes.int("axis") ?? 0 }, run: { try gather($1, axis: $0) })
        ]
    }

    /// The positions that an index tensor names along an axis.
    static func positions(_ context: KernelContext, _ input: Int, length: Int) throws -> [Int] {
        try context.integers(input).map { index in
            let position = index < 0 ? index + length : index
            guard position >= 0, position < length else {
                throw KernelFailure("the index \(index) lies outside an axis of length \(length)")
            }
            return position
        }
    }

    private static func gather(_ context: KernelContext, axis givenAxis: Int) throws {
        let indices = try context.input(1).shape
        if case .strings(let texts) = try context.value(0) {
            let axis = try normalizedAxis(givenAxis, rank: texts.shape.count)
            let length = texts.shape[axis]
            let places = try positions(context, 1, length: length)
            let inner = texts.shape[(axis + 1)...].reduce(1, *)
            let outer = texts.shape[..<axis].reduce(1, *)
            let elements = (0..<outer).flatMap { row in
                places.flatMap { place in (0..<inner).map { texts.elements[(row * length + place) * inner + $0] } }
            }
            let shape = Array(texts.shape[..<axis]) + indices + texts.shape[(axis + 1)...]
            context.set(0, .strings(StringTensor(shape: shape, elements: elements)))
            return
        }
        let x = try context.plain(0)
        guard x.rank >= 1 else { throw KernelFailure("a scalar") }
        let axis = try normalizedAxis(givenAxis, rank: x.rank)
        let (outer, length, inner) = x.around(axis)
        let places = try positions(context, 1, length: length)
        let y = try context.output(0, x.elementType, Array(x.shape[..<axis]) + indices + x.shape[(axis + 1)...])
        let bytes = inner * x.elementType.byteWidth
        guard bytes > 0 || y.count == 0 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        let (source, target) = (x.pointer, y.pointer)
        if inner == 1, outer > 0 {
            let task = SingleGather(source: source, target: target, places: places, outer: outer, length: length)
            return try task.run(width: x.elementType)
        }
        let streams = bytes >= 1024 && Streaming.isWorthwhile(y.byteCount)
        Parallel.forEachRange(outer * places.count, grain: max(1, 65536 / max(1, bytes))) { range in
            for index in range {
                let (row, place) = (index / places.count, places[index % places.count])
                if index + 1 < range.upperBound, index % places.count + 1 < places.count {
                    cmovement_prefetch(source + (row * length + places[index % places.count + 1]) * bytes, bytes)
                }
                Streaming.copy(
                    source + (row * length + place) * bytes, to: target + index * bytes, bytes: bytes, streams: streams)
            }
            Streaming.finish(streams)
        }
    }
}

/// Picks single elements out of rows.
private struct SingleGather: WidthTask {
    let source: UnsafeRawPointer
    let target: UnsafeMutableRawPointer
    let places: [Int]
    let outer: Int
    let length: Int

    func run<T: BitwiseCopyable>(_ type: T.Type) throws {
        let (from, to) = (source.assumingMemoryBound(to: T.self), target.assumingMemoryBound(to: T.self))
        let count = places.count
        Parallel.forEachRange(outer * count, grain: 16384) { range in
            places.withUnsafeBufferPointer { places in
                var index = range.lowerBound
                while index < range.upperBound {
                    let (row, first) = (index / count, index % count)
                    let run = min(count - first, range.upperBound - index)
                    let line = from + row * length
                    for position in 0..<run { to[index + position] = line[places[first + position]] }
                    index += run
                }
            }
        }
    }
}

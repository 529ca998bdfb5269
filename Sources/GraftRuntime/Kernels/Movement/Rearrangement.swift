import GraftCore
import GraftIR

/// ReverseSequence and CenterCropPad.
enum RearrangementKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "ReverseSequence",
                prepare: { ($0.attributes.int("batch_axis") ?? 1, $0.attributes.int("time_axis") ?? 0) },
                run: { try reverse($1, batchAxis: $0.0, timeAxis: $0.1) }),
            .function("CenterCropPad", prepare: { $0.attributes.ints("axes") }, run: cropOrPad),
        ]
    }

    private static func reverse(_ context: KernelContext, batchAxis: Int, timeAxis: Int) throws {
        let x = try context.plain(0)
        let (batchAxis, timeAxis) = (
            try normalizedAxis(batchAxis, rank: x.rank), try normalizedAxis(timeAxis, rank: x.rank)
        )
        guard x.rank >= 2, Set([batchAxis, timeAxis]) == [0, 1] else {
            throw KernelFailure("the axes \(batchAxis) and \(timeAxis) of an input with \(x.rank) axes")
        }
        let (batch, time) = (x.shape[batchAxis], x.shape[timeAxis])
        let lengths = try context.integers(1)
        guard lengths.count == batch, lengths.allSatisfy({ $0 >= 0 && $0 <= time }) else {
            throw KernelFailure("the lengths \(lengths) do not fit \(batch) sequences of \(time)")
        }
        let y = try context.output(0, x.elementType, x.shape)
        let bytes = x.shape[2...].reduce(1, *) * x.elementType.byteWidth
        guard bytes > 0 || x.count == 0 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        let (source, target) = (x.pointer, y.pointer)
        let (sampleStep, timeStep) = batchAxis == 0 ? (time, 1) : (1, batch)
        Parallel.forEachRange(batch * time, grain: max(1, 65536 / max(1, bytes))) { range in
            for index in range {
                let (sample, position) = batchAxis == 0 ? (index / time, index % time) : (index % batch, index / batch)
                let length = lengths[sample]
                let from = position < length ? length - 1 - position : position
                (target + index * bytes).copyMemory(
                    from: source + (sample * sampleStep + from * timeStep) * bytes, byteCount: bytes)
            }
        }
    }

    private static func cropOrPad(_ givenAxes: [Int]?, _ context: KernelContext) throws {
        let x = try context.plain(0)
        let wanted = try context.integers(1)
        let axes = try normalizedAxes(givenAxes ?? Array(0..<x.rank), rank: x.rank)
        guard wanted.count == axes.count, wanted.allSatisfy({ $0 >= 0 }) else {
            throw KernelFailure("the sizes \(wanted) do not fit \(axes.count) axes")
        }
        var (shape, common) = (x.shape, x.shape)
        for (axis, size) in zip(axes, wanted) {
            common[axis] = min(size, shape[axis])
            shape[axis] = size
        }
        let y = try context.output(0, x.elementType, shape)
        let (own, out) = (x.strides, y.strides)
        var (from, to) = (0, 0)
        for axis in axes {
            from += (x.shape[axis] - common[axis]) / 2 * own[axis]
            to += (shape[axis] - common[axis]) / 2 * out[axis]
        }
        if common != shape { y.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: y.byteCount) }
        try copyStrided(
            width: x.elementType.byteWidth, shape: common, from: x.pointer, StridedView(offset: from, strides: own),
            to: y.pointer, StridedView(offset: to, strides: out))
    }
}

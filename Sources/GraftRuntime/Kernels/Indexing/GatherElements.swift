import CNumerics
import GraftCore
import GraftIR

/// GatherElements and GatherND.
enum GatherElementsKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "GatherElements", prepare: { $0.attributes.int("axis") ?? 0 },
                run: { axis, context in
                    let (x, indices) = (try context.plain(0), try context.indices(1))
                    let lines = try IndexedLines(indices: indices.shape, data: x.shape, axis: axis)
                    let y = try context.output(0, x.elementType, indices.shape)
                    let fault = IndexFault()
                    try GatherTask(lines: lines, indices: indices.int64s, x: x, y: y, fault: fault)
                        .run(width: x.elementType)
                    try fault.check()
                }),
            .function("GatherND", prepare: { $0.attributes.int("batch_dims") ?? 0 }, run: gatherPoints),
        ]
    }

    private struct GatherTask: WidthTask {
        let lines: IndexedLines
        let indices: UnsafeMutablePointer<Int64>
        let x: RuntimeTensor
        let y: RuntimeTensor
        let fault: IndexFault

        func run<T: BitwiseCopyable>(_ type: T.Type) {
            let (source, target) = (x.typed(T.self), y.typed(T.self))
            let (length, size, step) = (lines.length, lines.size, lines.step)
            if lines.inner == 1, step == 1 {
                Parallel.forEachRange(lines.outer, grain: max(1, 8192 / max(1, length))) { range in
                    for line in range {
                        let from = source + lines.base(line)
                        let (first, to) = (indices + line * length, target + line * length)
                        if MemoryLayout<T>.size <= 8 {
                            let done = cmovement_pick(from, size, first, to, length, MemoryLayout<T>.size)
                            if done < length { _ = fault.position(first[done], size) }
                            continue
                        }
                        for index in 0..<length {
                            let position = fault.position(first[index], size)
                            if position >= 0 { to[index] = from[position] }
                        }
                    }
                }
                return
            }
            let inner = lines.inner
            Parallel.forEachRange(lines.outer * length, grain: max(1, 8192 / max(1, inner))) { range in
                for row in range {
                    let from = source + lines.base(row / length)
                    for column in 0..<inner {
                        let position = fault.position(indices[row * inner + column], size)
                        guard position >= 0 else { continue }
                        target[row * inner + column] = from[position * step + lines.offset(column)]
                    }
                }
            }
        }
    }

    private static func gatherPoints(_ batchAxes: Int, _ context: KernelContext) throws {
        let x = try context.plain(0)
        let points = try IndexedPoints(context, indices: 1, data: x.shape, batchAxes: batchAxes)
        let y = try context.output(0, x.elementType, points.shape)
        let bytes = points.inner * x.elementType.byteWidth
        guard bytes > 0 || y.count == 0 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        let (source, target, starts) = (x.pointer, y.pointer, points.starts)
        let streams = bytes >= 1024 && Streaming.isWorthwhile(y.byteCount)
        Parallel.forEachRange(points.count, grain: max(1, 65536 / max(1, bytes))) { range in
            for row in range {
                if row + 1 < range.upperBound { cmovement_prefetch(source + Int(starts[row + 1]) * bytes, bytes) }
                Streaming.copy(
                    source + Int(starts[row]) * bytes, to: target + row * bytes, bytes: bytes, streams: streams)
            }
            Streaming.finish(streams)
        }
    }
}

/// How the indices of GatherElements and ScatterElements go with the data: lines along an axis, of which the index
/// tensor may cover a part.
struct IndexedLines {
    /// The lines outside the axis.
    let outer: Int
    /// The length of the axis of the indices.
    let length: Int
    /// The elements inside the axis.
    let inner: Int
    /// The length of the axis of the data.
    let size: Int
    /// The distance of neighbours along the axis of the data.
    let step: Int
    private let outerLengths: [Int]
    private let outerStrides: [Int]
    private let innerLengths: [Int]
    private let innerStrides: [Int]
    private let isInnerWhole: Bool

    init(indices: [Int], data: [Int], axis givenAxis: Int) throws {
        let axis = try normalizedAxis(givenAxis, rank: data.count)
        let fits = indices.count == data.count && data.indices.allSatisfy { $0 == axis || indices[$0] <= data[$0] }
        guard fits, !data.isEmpty else {
            throw KernelFailure("indices of shape \(indices) do not fit data of shape \(data) along axis \(axis)")
        }
        let strides = RuntimeTensor.strides(data, .rowMajor)
        outerLengths = Array(indices[..<axis])
        outerStrides = Array(strides[..<axis])
        innerLengths = Array(indices[(axis + 1)...])
        innerStrides = Array(strides[(axis + 1)...])
        outer = outerLengths.reduce(1, *)
        inner = innerLengths.reduce(1, *)
        length = indices[axis]
        size = data[axis]
        step = strides[axis]
        isInnerWhole = innerLengths == Array(data[(axis + 1)...])
    }

    /// Where a line starts in the data.
    @inline(__always)
    func base(_ line: Int) -> Int { Self.walk(line, outerLengths, outerStrides) }

    /// How far an element inside the axis is from the start of its line.
    @inline(__always)
    func offset(_ column: Int) -> Int { isInnerWhole ? column : Self.walk(column, innerLengths, innerStrides) }

    private static func walk(_ position: Int, _ lengths: [Int], _ strides: [Int]) -> Int {
        var (rest, result) = (position, 0)
        for axis in lengths.indices.reversed() {
            result += rest % lengths[axis] * strides[axis]
            rest /= lengths[axis]
        }
        return result
    }
}

/// The blocks that the last axis of an index tensor names, for GatherND and ScatterND.
struct IndexedPoints {
    /// The number of blocks.
    let count: Int
    /// The elements of a block.
    let inner: Int
    /// The shape of all blocks together.
    let shape: [Int]
    /// For each block its number among the blocks of the data.
    let starts: UnsafeMutablePointer<Int64>

    init(_ context: KernelContext, indices input: Int, data: [Int], batchAxes: Int) throws {
        let indices = try context.indices(input)
        guard let depth = indices.shape.last, batchAxes >= 0, batchAxes < indices.rank, depth + batchAxes <= data.count,
            Array(indices.shape[..<batchAxes]) == Array(data[..<batchAxes])
        else { throw KernelFailure("indices of shape \(indices.shape) do not fit data of shape \(data)") }
        let lengths = Array(data[batchAxes..<(batchAxes + depth)])
        inner = data[(batchAxes + depth)...].reduce(1, *)
        shape = indices.shape.dropLast() + data[(batchAxes + depth)...]
        let rows = indices.shape.dropLast().reduce(1, *)
        count = rows
        starts = try context.temporary(.int64, [rows]).int64s
        let perBatch = max(1, indices.shape[batchAxes...].dropLast().reduce(1, *))
        let blocks = lengths.reduce(1, *)
        let fault = IndexFault()
        let (source, target) = (indices.int64s, starts)
        Parallel.forEachRange(rows, grain: 8192) { range in
            for row in range {
                var block = 0
                for part in 0..<depth {
                    let position = fault.position(source[row * depth + part], lengths[part])
                    block = block * lengths[part] + max(0, position)
                }
                target[row] = Int64(row / perBatch * blocks + block)
            }
        }
        try fault.check()
    }
}

import GraftCore
import GraftIR

/// MaxUnpool and Col2Im.
enum UnpoolingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("MaxUnpool", prepare: { try WindowAttributes($0.attributes) }, run: unpool),
            .function(
                "Col2Im", widens: true, prepare: { try WindowAttributes($0.attributes) },
                run: { attributes, context in
                    switch try context.input(0).elementType {
                    case .float32: try columnsToImage(Float.self, attributes, context)
                    case .float64: try columnsToImage(Double.self, attributes, context)
                    case .int8: try columnsToImage(Int8.self, attributes, context)
                    case .int16: try columnsToImage(Int16.self, attributes, context)
                    case .int32: try columnsToImage(Int32.self, attributes, context)
                    case .int64: try columnsToImage(Int64.self, attributes, context)
                    case .uint8: try columnsToImage(UInt8.self, attributes, context)
                    case .uint16: try columnsToImage(UInt16.self, attributes, context)
                    case .uint32: try columnsToImage(UInt32.self, attributes, context)
                    case .uint64: try columnsToImage(UInt64.self, attributes, context)
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                }),
        ]
    }

    // MARK: MaxUnpool

    private static func unpool(_ attributes: WindowAttributes, _ context: KernelContext) throws {
        let (x, indices) = (try context.plain(0), try context.indices(1))
        let rank = x.rank - 2
        guard rank >= 1, indices.shape == x.shape, let kernel = attributes.kernel, kernel.count == rank else {
            throw KernelFailure("indices of shape \(indices.shape) or kernel_shape do not fit the shape \(x.shape)")
        }
        let strides = attributes.strides ?? Array(repeating: 1, count: rank)
        let pads = attributes.pads ?? Array(repeating: 0, count: 2 * rank)
        guard strides.count == rank, pads.count == 2 * rank else { throw KernelFailure("strides or pads do not fit") }
        var shape = Array(x.shape[..<2])
        for axis in 0..<rank {
            let (span, overflow) = (x.shape[axis + 2] - 1).multipliedReportingOverflow(by: strides[axis])
            let size = span - pads[axis] - pads[axis + rank] + kernel[axis]
            guard !overflow, size >= 0 else { throw KernelFailure("a result with an axis of length \(size)") }
            shape.append(size)
        }
        // The indices count in the shape that the window implies; a given shape adds room after it.
        let wanted = try context.optionalIntegers(2) ?? shape
        guard wanted.count == shape.count, zip(wanted, shape).allSatisfy({ $0 >= $1 }) else {
            throw KernelFailure("the output shape \(wanted) has no room for \(shape)")
        }
        let y = try context.output(0, x.elementType, wanted)
        y.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: y.byteCount)
        guard let total = Checked.product(shape) else { throw KernelFailure("a result of shape \(shape)") }
        let fault = IndexFault()
        try UnpoolTask(x: x, indices: indices.int64s, y: y, shape: shape, total: total, fault: fault)
            .run(width: x.elementType)
        try fault.check()
    }

    private struct UnpoolTask: WidthTask {
        let x: RuntimeTensor
        let indices: UnsafeMutablePointer<Int64>
        let y: RuntimeTensor
        let shape: [Int]
        let total: Int
        let fault: IndexFault

        /// Every thread walks all elements in order and writes those that fall into its part, so the last one wins.
        func run<T: BitwiseCopyable>(_ type: T.Type) {
            let (source, target, count) = (x.typed(T.self), y.typed(T.self), x.count)
            let isPlain = y.shape == shape
            let steps = y.strides
            Parallel.forEachRange(max(1, total), grain: max(1, total == 0 || count < 8192 ? total : 1)) { range in
                for index in 0..<count {
                    let position = fault.position(indices[index], total)
                    guard range.contains(position) else { continue }
                    var place = position
                    if !isPlain {
                        var rest = position
                        place = 0
                        for axis in stride(from: shape.count - 1, through: 0, by: -1) {
                            place += rest % shape[axis] * steps[axis]
                            rest /= shape[axis]
                        }
                    }
                    target[place] = source[index]
                }
            }
        }
    }

    // MARK: Col2Im

    private static func columnsToImage<T: RingElement>(
        _ type: T.Type, _ attributes: WindowAttributes, _ context: KernelContext
    ) throws {
        let x = try context.plain(0)
        let (image, block) = (try context.integers(1), try context.integers(2))
        let rank = image.count
        guard rank >= 1, block.count == rank, x.rank == 3, block.allSatisfy({ $0 >= 1 }),
            let size = Checked.product(block), x.shape[1] % size == 0
        else { throw KernelFailure("blocks \(block) of an image \(image) do not fit the shape \(x.shape)") }
        for length in image + block where length < 0 || length > 1 << 32 {
            throw KernelFailure("an image or block with an axis of length \(length)")
        }
        let window = try attributes.geometry(image, kernel: block)
        let counts = window.output
        guard Checked.product(counts) == x.shape[2] else {
            throw KernelFailure("\(x.shape[2]) columns for \(counts) places of the block")
        }
        let channels = x.shape[1] / size
        let y = try context.output(0, x.elementType, [x.shape[0], channels] + image)
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        let pixels = image.reduce(1, *)
        let columns = x.shape[2]
        let last = rank - 1
        let (length, width) = (counts[last], image[last])
        let rows = length == 0 ? 0 : columns / length
        let (stride, dilation) = (window.strides[last], window.dilations[last])
        Parallel.forEachRange(x.shape[0] * channels, grain: max(1, 8192 / max(1, size * columns))) { range in
            for plane in range {
                let to = target + plane * pixels
                to.update(repeating: 0, count: pixels)
                for offset in 0..<size {
                    let from = source + (plane * size + offset) * columns
                    for row in 0..<rows {
                        // Where the row of the image starts to which these places of the block add.
                        var (restRow, restOffset, start, step) = (row, offset / block[last], 0, width)
                        var isInside = true
                        var axis = last - 1
                        while axis >= 0 {
                            let place =
                                restRow % counts[axis] * window.strides[axis]
                                + restOffset % block[axis] * window.dilations[axis] - window.begin[axis]
                            if place < 0 || place >= image[axis] { isInside = false }
                            start += place * step
                            step *= image[axis]
                            restRow /= counts[axis]
                            restOffset /= block[axis]
                            axis -= 1
                        }
                        guard isInside else { continue }
                        let first = offset % block[last] * dilation - window.begin[last]
                        for column in 0..<length {
                            let place = first + column * stride
                            guard place >= 0, place < width else { continue }
                            to[start + place] = to[start + place].added(from[row * length + column])
                        }
                    }
                }
            }
        }
    }
}

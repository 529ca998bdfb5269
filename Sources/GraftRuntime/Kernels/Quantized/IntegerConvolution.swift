import CNumerics
import GraftCore
import GraftIR

/// ConvInteger and QLinearConv, also with a bias and a result of floating-point numbers.
enum IntegerConvolutionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("ConvInteger") { try IntegerConvolutionKernel($0, isQuantized: false) },
            KernelDefinition("QLinearConv") { try IntegerConvolutionKernel($0, isQuantized: true) },
            // Without a scale of the result the result is numbers; the bias may be numbers too; bytes may be bounded.
            KernelDefinition("QLinearConv", domain: graftDomain) {
                try IntegerConvolutionKernel($0, isQuantized: true)
            },
        ]
    }
}

/// A convolution of bytes with 32-bit sums: by oneDNN, or as rows of inputs under the window times columns of weights.
final class IntegerConvolutionKernel: Kernel {
    private let isQuantized: Bool
    private let attributes: WindowAttributes
    private let group: Int
    private let bounds: ByteBounds
    /// Whether the bias may be numbers, and the result is numbers where it has no scale.
    private let takesNumbers: Bool
    private let native: ByteConvolution
    private var packed: Packed?

    /// Weights that do not change between runs.
    private struct Packed {
        let version: Int
        let zeroPoints: [Int32]
        let weights: Weights
    }

    private enum Weights {
        /// Columns for each group; rows are taps, then channels.
        case columns([IntegerColumns])
        /// One filter for each channel: taps, then channels.
        case depthwise([Int16])
    }

    init(_ node: KernelNode, isQuantized: Bool) throws {
        self.isQuantized = isQuantized
        attributes = try WindowAttributes(node.attributes)
        group = node.attributes.int("group") ?? 1
        bounds = ByteBounds(node)
        takesNumbers = node.op.domain == graftDomain
        native = ByteConvolution(
            .init(weights: isQuantized ? 3 : 1, zeroSource: 2, zeroWeights: isQuantized ? 5 : 3))
    }

    private func shape(_ x: [Int], _ w: [Int]) throws -> ConvolutionShape {
        try ConvolutionShape.forward(x, w, group: group, attributes)
    }

    func run(_ context: KernelContext) throws {
        let weightIndex = isQuantized ? 3 : 1
        let x = try context.channelsLast(0)
        if try native.run(x, context, shape: self.shape, result: { try self.result(context, channels: $0) }) { return }
        let w = try context.plain(weightIndex)
        let shape = try self.shape(x.shape, w.shape)
        let zeroX = try context.zeroPoint(2)
        let zerosW = try context.zeroPoints(isQuantized ? 5 : 3)
        let channels = w.shape[0]
        guard zerosW.count == 1 || zerosW.count == channels else {
            throw KernelFailure("\(zerosW.count) zero points for \(channels) channels")
        }
        let weights = try weights(w, zerosW, version: context.version(weightIndex), context)
        let result = try self.result(context, channels: channels)
        let y = try context.output(0, result.type, shape.target, layout: .channelsLast)
        switch result.type {
        case .int32:
            let target = y.typed(Int32.self)
            try convolve(x, zeroX, weights, shape) { row, columns, sums in
                let to = target + row * channels
                for column in columns { to[column] = sums[column - columns.lowerBound] }
            }
        case .float32:
            let target = y.floats
            try convolve(x, zeroX, weights, shape) { row, columns, sums in
                let to = target + row * channels
                for column in columns {
                    let bias = result.bias.isEmpty ? 0 : result.bias[column]
                    to[column] = (Float(sums[column - columns.lowerBound]) + bias) * result.scales[column]
                }
            }
        default: try requantize(result, x, zeroX, weights, shape, y)
        }
    }

    /// What the sums become.
    private func result(_ context: KernelContext, channels: Int) throws -> SumsResult {
        guard isQuantized else { return SumsResult(type: .int32) }
        let given = try context.numbers(4)
        guard given.count == 1 || given.count == channels else {
            throw KernelFailure("\(given.count) scales for \(channels) channels")
        }
        let scaleX = try context.scale(1)
        let products = (0..<channels).map { scaleX * given[given.count == 1 ? 0 : $0] }
        var result = SumsResult(type: .float32, scales: products)
        if context.has(8) {
            if !takesNumbers { _ = try context.plain(8, .int32) }
            result.bias = try context.sumBias(8, unit: products)
            guard result.bias.count == channels else {
                throw KernelFailure("\(result.bias.count) biases for \(channels) channels")
            }
        }
        if context.has(6) || !takesNumbers {
            let scaleY = try context.scale(6)
            result.scales = products.map { $0 / scaleY }
            result.type = try context.has(7) ? context.input(7).elementType : context.input(0).elementType
            result.zeroPoint = try context.zeroPoint(7)
            result.bounds = try SumsResult.bounds(result.type, bounds)
        }
        return result
    }

    private func requantize(
        _ result: SumsResult, _ x: RuntimeTensor, _ zeroX: Int32, _ weights: Weights, _ shape: ConvolutionShape,
        _ y: RuntimeTensor
    ) throws {
        let channels = shape.target[1]
        let target = y.typed(UInt8.self)
        let rounded = Requantizer(
            zeroPoint: result.zeroPoint, lowest: result.bounds.lowerBound, highest: result.bounds.upperBound)
        let bias =
            result.bias.isEmpty
            ? [Int32](repeating: 0, count: channels)
            : result.bias.map { Int32(max(-0x1p31, min(0x1.fffffep30, $0.rounded(.toNearestOrEven)))) }
        try result.scales.withUnsafeBufferPointer { scales in
            try bias.withUnsafeBufferPointer { bias in
                guard let scales = scales.baseAddress, let bias = bias.baseAddress else { return }
                try convolve(x, zeroX, weights, shape) { row, columns, sums in
                    let first = columns.lowerBound
                    cintegers_requantize(
                        sums, bias + first, scales + first, rounded.low, rounded.high, rounded.zeroPoint,
                        target + row * channels + first, columns.count)
                }
            }
        }
    }

    // MARK: Weights

    private func weights(
        _ w: RuntimeTensor, _ zeros: [Int32], version: Int?, _ context: KernelContext
    ) throws -> Weights {
        if let version, let packed, packed.version == version, packed.zeroPoints == zeros { return packed.weights }
        let (channels, depth) = (w.shape[0], w.shape[1])
        let taps = w.shape[2...].reduce(1, *)
        let each = channels / group
        let made: Weights
        if depth == 1, each == 1, group > 1 {
            made = .depthwise(try depthwise(w, zeros, taps: taps))
        } else {
            made = .columns(
                try (0..<group).map { group in
                    try IntegerColumns(
                        w, depth: taps * depth, count: each,
                        zeroPoints: zeros.count == 1 ? zeros : Array(zeros[(group * each)..<((group + 1) * each)]),
                        context.arena
                    ) { row, column in ((group * each + column) * depth + row % depth) * taps + row / depth }
                })
        }
        if let version { packed = Packed(version: version, zeroPoints: zeros, weights: made) }
        return made
    }

    private func depthwise(_ w: RuntimeTensor, _ zeros: [Int32], taps: Int) throws -> [Int16] {
        let channels = w.shape[0]
        return try (0..<(taps * channels)).map { index in
            let (tap, channel) = (index / channels, index % channels)
            let position = channel * taps + tap
            let value: Int32 =
                switch w.elementType {
                case .uint8: Int32(w.typed(UInt8.self)[position])
                case .int8: Int32(w.typed(Int8.self)[position])
                default: throw KernelFailure("weights of type \(w.elementType.name)")
                }
            return Int16(truncatingIfNeeded: value - zeros[zeros.count == 1 ? 0 : channel])
        }
    }

    // MARK: The convolution

    /// Calls `finish` with the sums of part of the channels of each point of the result.
    private func convolve(
        _ x: RuntimeTensor, _ zeroPoint: Int32, _ weights: Weights, _ shape: ConvolutionShape,
        _ finish: (_ row: Int, _ columns: Range<Int>, UnsafePointer<Int32>) -> Void
    ) throws {
        switch x.elementType {
        case .uint8: convolve(UInt8.self, x, zeroPoint, weights, shape, finish)
        case .int8: convolve(Int8.self, x, zeroPoint, weights, shape, finish)
        default: throw KernelFailure("elements of type \(x.elementType.name)")
        }
    }

    private func convolve<T: QuantizedByte>(
        _ type: T.Type, _ x: RuntimeTensor, _ zeroPoint: Int32, _ weights: Weights, _ shape: ConvolutionShape,
        _ finish: (_ row: Int, _ columns: Range<Int>, UnsafePointer<Int32>) -> Void
    ) {
        let walk = WindowTaps(shape)
        let source = x.typed(T.self)
        let zero = Int16(truncatingIfNeeded: zeroPoint)
        let isSigned: Int32 = T.isSigned ? 1 : 0
        let inputs = shape.source[1]
        let rows = walk.rows
        switch weights {
        case .depthwise(let filter):
            filter.withUnsafeBufferPointer { filter in
                let filter = filter
                Parallel.forEachRange(rows, grain: max(1, 16384 / max(1, inputs * walk.taps))) { range in
                    let sums = UnsafeMutablePointer<Int32>.allocate(capacity: max(1, inputs))
                    defer { sums.deallocate() }
                    for row in range {
                        sums.update(repeating: 0, count: inputs)
                        walk.forEachTap(row) { tap, point in
                            guard point >= 0 else { return }
                            cintegers_accumulate(
                                source + point * inputs, isSigned, zero, filter.baseAddress! + tap * inputs, sums,
                                inputs)
                        }
                        finish(row, 0..<inputs, sums)
                    }
                }
            }
        case .columns(let groups):
            let depth = inputs / groups.count
            for (group, columns) in groups.enumerated() {
                let length = 2 * columns.pairs
                let first = group * columns.count
                columns.multiply(rows: rows) { some, target in
                    for row in some {
                        let to = target + (row - some.lowerBound) * length
                        walk.forEachRun(row, joinsTaps: depth == inputs) { tap, point, count in
                            let place = to + tap * depth
                            if point < 0 {
                                place.update(repeating: 0, count: count * depth)
                            } else {
                                cintegers_widen(
                                    source + (point * inputs + group * depth), isSigned, zero, place, count * depth)
                            }
                        }
                        for index in columns.depth..<length { to[index] = 0 }
                    }
                } finish: { some, range, sums, stride in
                    for row in some {
                        finish(
                            row, (first + range.lowerBound)..<(first + range.upperBound),
                            sums + (row - some.lowerBound) * stride)
                    }
                }
            }
        }
    }
}

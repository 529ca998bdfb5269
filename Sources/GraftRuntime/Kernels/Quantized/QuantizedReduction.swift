import CNumerics
import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Operators of com.microsoft that sum over bytes: pooling and softmax.
///
/// They compute in 32-bit floating point, as onnxruntime's kernels do.
enum QuantizedReductionKernels: KernelFamily {
    private static let domain = "com.microsoft"

    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("QLinearAveragePool", domain: domain) { node in
                let pool = try PoolKernel(node, .average)
                let isLast = node.attributes.int("channels_last") ?? 0 != 0
                return FunctionKernel { try through(floats: $0, channelsLast: isLast) { try pool.run($0) } }
            },
            .function(
                "QLinearGlobalAveragePool", domain: domain,
                prepare: { $0.attributes.int("channels_last") ?? 0 != 0 },
                run: { isLast, context in
                    try through(floats: context, channelsLast: isLast) { try PoolingKernels.global($0, .average) }
                }),
            .function(
                "QLinearSoftmax", domain: domain,
                prepare: { node -> (axis: Int, isFlattened: Bool) in
                    let isFlattened = node.attributes.int("opset") ?? 13 < 13
                    return (node.attributes.int("axis") ?? (isFlattened ? 1 : -1), isFlattened)
                },
                run: { settings, context in
                    if try softmaxOfRows(context, axis: settings.axis, settings.isFlattened) { return }
                    try through(floats: context) { try softmax($0, axis: settings.axis, settings.isFlattened) }
                }),
        ]
    }

    /// Runs a kernel of floating-point numbers on bytes: the inputs are X, its scale and zero point, and the scale and
    /// zero point of the result.
    private static func through(
        floats context: KernelContext, channelsLast: Bool = false, _ body: (KernelContext) throws -> Void
    ) throws {
        let x = channelsLast ? try context.plain(0) : try context.input(0)
        let (from, to) = (try context.byteScale(1, 2), try context.byteScale(3, 4))
        var numbers = try context.dequantized(x, from)
        if channelsLast {
            guard x.rank >= 3 else { throw KernelFailure("channels last of shape \(x.shape)") }
            numbers = numbers.viewed(
                [x.shape[0], x.shape[x.rank - 1]] + x.shape[1..<(x.rank - 1)], layout: .channelsLast)
        }
        context.replaceInput(0, numbers)
        try body(context)
        guard case .tensor(let y)? = context.output(at: 0) else { return }
        var result = try context.quantized(y, to, x.elementType)
        if channelsLast {
            result = try context.reordered(result, .channelsLast)
            result = result.viewed([y.shape[0]] + y.shape[2...] + [y.shape[1]])
        }
        context.set(0, result)
    }

    /// The softmax along axes that lie together; false for others.
    ///
    /// Bytes of a row differ by at most 255 steps, so that a table holds all their exponentials.
    private static func softmaxOfRows(_ context: KernelContext, axis: Int, _ isFlattened: Bool) throws -> Bool {
        let x = try context.plain(0)
        let chosen = try normalizedAxis(axis, rank: x.rank)
        guard x.rank > 0, x.elementType == .uint8 || x.elementType == .int8 else { return false }
        let (outer, length, inner) = x.around(chosen)
        guard isFlattened || inner == 1, let (low, high) = QuantizeKernels.range(x.elementType) else { return false }
        let (from, to) = (try context.byteScale(1, 2), try context.byteScale(3, 4))
        guard from.scale > 0, from.scale.isFinite, to.scale > 0 else { return false }
        let exponentials = (0..<256).map { expf(-Float($0) * from.scale) }
        let rounded = Requantizer(zeroPoint: to.zeroPoint, lowest: low, highest: high)
        let (rows, size) = (outer, length * inner)
        let y = try context.output(0, x.elementType, x.shape)
        let (source, target) = (x.pointer, y.typed(UInt8.self))
        let isSigned: Int32 = x.elementType == .int8 ? 1 : 0
        exponentials.withUnsafeBufferPointer { exponentials in
            let table = exponentials.baseAddress
            Parallel.forEachRange(rows, grain: max(1, 8192 / max(1, size))) { range in
                for row in range {
                    cintegers_softmax(
                        source + row * size, isSigned, table, 1 / to.scale, rounded.low, rounded.high, to.zeroPoint,
                        target + row * size, size)
                }
            }
        }
        return true
    }

    private static func softmax(_ context: KernelContext, axis: Int, _ isFlattened: Bool) throws {
        let x = try context.plain(0)
        let chosen = try normalizedAxis(axis, rank: x.rank)
        let (outer, length, inner) = x.rank == 0 ? (1, 1, 1) : x.around(chosen)
        let rows = isFlattened ? outer : outer * inner
        let size = isFlattened ? length * inner : length
        let step = isFlattened ? 1 : inner
        let y = try context.output(0, .float32, x.shape)
        let (source, target) = (x.floats, y.floats)
        Parallel.forEachRange(rows, grain: max(1, 2048 / max(1, size))) { range in
            for row in range {
                let start = isFlattened ? row * size : row / inner * length * inner + row % inner
                var largest = -Float.infinity
                for index in 0..<size { largest = max(largest, source[start + index * step]) }
                var sum: Float = 0
                for index in 0..<size {
                    let value = expf(source[start + index * step] - largest)
                    target[start + index * step] = value
                    sum += value
                }
                for index in 0..<size { target[start + index * step] /= sum }
            }
        }
    }
}

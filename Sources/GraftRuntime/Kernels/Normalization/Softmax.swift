import CNumerics
import COneDNN
import GraftCore
import GraftIR

/// Softmax, LogSoftmax and Hardmax.
enum SoftmaxKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("Softmax", widens: true) { SoftmaxKernel($0, GDNN_SOFTMAX) },
            KernelDefinition("LogSoftmax", widens: true) { SoftmaxKernel($0, GDNN_LOG_SOFTMAX) },
            .function(
                "Hardmax", widens: true, prepare: { SoftmaxAxis($0) },
                run: { axis, context in
                    let (x, length) = try axis.rows(context)
                    let y = try context.output(0, .float32, x.shape)
                    let (source, target) = (x.floats, y.floats)
                    Parallel.forEachRange(x.count / max(1, length), grain: max(1, 4096 / max(1, length))) { range in
                        for row in range {
                            let (from, to) = (source + row * length, target + row * length)
                            var best = 0
                            for index in 0..<length {
                                to[index] = 0
                                if from[index] > from[best] { best = index }
                            }
                            if length > 0 { to[best] = 1 }
                        }
                    }
                    try axis.restore(y, context)
                }),
        ]
    }
}

/// The axis of a softmax; before opset 13 the axes from there on are one.
struct SoftmaxAxis: Sendable {
    let axis: Int
    let isFlattened: Bool

    init(_ node: KernelNode) {
        isFlattened = node.opset < 13
        axis = node.attributes.int("axis") ?? (isFlattened ? 1 : -1)
    }

    /// The input with its elements in rows along the axis, and the length of a row.
    func rows(_ context: KernelContext) throws -> (RuntimeTensor, Int) {
        let x = try context.input(0)
        guard x.elementType == .float32 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        if isFlattened {
            let split = axis < 0 ? axis + x.rank : axis
            guard split >= 0, split <= x.rank else { throw KernelFailure("the axis \(axis)") }
            return (try context.plain(0), x.shape[split...].reduce(1, *))
        }
        let chosen = try normalizedAxis(axis, rank: x.rank)
        let length = x.shape.isEmpty ? 1 : x.shape[chosen]
        if chosen == 1, x.rank >= 3 { return (try context.channelsLast(0), length) }
        let plain = try context.plain(0)
        let inner = plain.shape.dropFirst(chosen + 1).reduce(1, *)
        if inner == 1 { return (plain, length) }
        // Bring the axis to the end.
        let result = try context.temporary(.float32, plain.shape)
        transposeMatrices(
            plain.floats, result.floats, count: plain.count / max(1, length * inner), rows: length, columns: inner)
        return (result, length)
    }

    /// Makes output 0 of a result whose elements lie in rows.
    func restore(_ y: RuntimeTensor, _ context: KernelContext) throws {
        guard !isFlattened, !y.shape.isEmpty else { return context.set(0, y) }
        let chosen = try normalizedAxis(axis, rank: y.rank)
        if chosen == 1, y.rank >= 3 { return context.set(0, y.viewed(y.shape, layout: .channelsLast)) }
        let inner = y.shape.dropFirst(chosen + 1).reduce(1, *)
        if inner == 1 { return context.set(0, y) }
        let length = y.shape[chosen]
        let result = try context.output(0, .float32, y.shape)
        transposeMatrices(
            y.floats, result.floats, count: y.count / max(1, length * inner), rows: inner, columns: length)
    }
}

final class SoftmaxKernel: Kernel {
    private let axis: SoftmaxAxis
    private let algorithm: gdnn_algorithm
    private var primitives: [(rows: Int, length: Int, primitive: Primitive)] = []

    init(_ node: KernelNode, _ algorithm: gdnn_algorithm) {
        axis = SoftmaxAxis(node)
        self.algorithm = algorithm
    }

    func run(_ context: KernelContext) throws {
        let (x, length) = try axis.rows(context)
        let y = try context.temporary(.float32, x.shape)
        if length >= 16, x.count > 0 {
            let (source, target, isLogarithm) = (x.floats, y.floats, algorithm == GDNN_LOG_SOFTMAX)
            let streams = Streaming.isWorthwhile(y.byteCount)
            Parallel.forEachRange(x.count / length, grain: max(1, 8192 / length)) { rows in
                let start = rows.lowerBound * length
                cvectormath_softmax(
                    source + start, target + start, rows.count, length, isLogarithm ? 1 : 0, streams ? 1 : 0)
                Streaming.finish(streams)
            }
        } else if x.count > 0 {
            let rows = x.count / length
            try primitive(rows, length).run(context.arena, (GDNN_ARG_SRC, x.pointer), (GDNN_ARG_DST, y.pointer))
        }
        try axis.restore(y, context)
    }

    private func primitive(_ rows: Int, _ length: Int) throws -> Primitive {
        if let found = primitives.first(where: { $0.rows == rows && $0.length == length }) { return found.primitive }
        let layout = try MemoryDescriptor.strided(.float32, [rows, length])
        let made = try Primitive.make {
            gdnn_softmax(
                $0, Int32(GDNN_FORWARD_INFERENCE.rawValue), Int32(algorithm.rawValue), layout.handle, layout.handle, 1)
        }
        guard let made else { throw KernelFailure("oneDNN lacks softmax") }
        if primitives.count >= 16 { primitives.removeFirst() }
        primitives.append((rows, length, made))
        return made
    }
}

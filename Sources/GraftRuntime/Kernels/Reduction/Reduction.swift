import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// The Reduce operators, ArgMax, ArgMin, and the sum that undoes broadcasting.
enum ReductionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            reduce("ReduceSum", .sum), reduce("ReduceMean", .mean), reduce("ReduceMax", .maximum),
            reduce("ReduceMin", .minimum), reduce("ReduceProd", .product), reduce("ReduceL1", .l1),
            reduce("ReduceL2", .l2), reduce("ReduceSumSquare", .sumOfSquares), reduce("ReduceLogSum", .logSum),
            reduce("ReduceLogSumExp", .logSumExp), extreme("ArgMax", isMaximum: true),
            extreme("ArgMin", isMaximum: false),
            .function("ReduceTo", domain: graftDomain) { context in
                try reduceTo(context, try context.input(1).shape)
            },
        ]
    }

    enum Operation: Sendable { case sum, mean, maximum, minimum, product, l1, l2, sumOfSquares, logSum, logSumExp }

    private struct Settings: Sendable {
        let axes: [Int]?
        let keeps: Bool
        let emptyIsNothing: Bool
    }

    private static func reduce(_ type: String, _ operation: Operation) -> KernelDefinition {
        .function(
            type, widens: true,
            prepare: { node in
                Settings(
                    axes: node.attributes.ints("axes"), keeps: node.attributes.int("keepdims") ?? 1 != 0,
                    emptyIsNothing: node.attributes.int("noop_with_empty_axes") ?? 0 != 0)
            },
            run: { settings, context in
                let rank = try context.input(0).rank
                let given = try context.optionalIntegers(1) ?? settings.axes ?? []
                let axes = try normalizedAxes(given, rank: rank)
                if axes.isEmpty, settings.emptyIsNothing, operation == .sum || operation == .mean {
                    context.set(0, try context.input(0))
                    return
                }
                try reduce(
                    context, operation,
                    axes: axes.isEmpty && !settings.emptyIsNothing ? Array(0..<rank) : axes, keeps: settings.keeps)
            })
    }

    /// Brings input 0 into the form (outer, reduced, inner).
    static func grouped(
        _ context: KernelContext, axes: [Int]
    ) throws -> (tensor: RuntimeTensor, outer: Int, length: Int, inner: Int, isLast: Bool) {
        let x = try context.input(0)
        let order = x.memoryOrder.filter { x.shape[$0] != 1 }
        let flags = order.map { axes.contains($0) }
        let keptOrder = order.filter { !axes.contains($0) }
        // One run of reduced axes, and what stays in row-major order: no copy is needed.
        if let first = flags.firstIndex(of: true), let last = flags.lastIndex(of: true) {
            if flags[first...last].allSatisfy({ $0 }), keptOrder == keptOrder.sorted() {
                return (
                    x, order[..<first].reduce(1) { $0 * x.shape[$1] },
                    order[first...last].reduce(1) { $0 * x.shape[$1] },
                    order[(last + 1)...].reduce(1) { $0 * x.shape[$1] }, true
                )
            }
        }
        let plain = try context.plain(0)
        let kept = (0..<x.rank).filter { !axes.contains($0) }
        let moved = kept + axes.sorted()
        let shape = moved.map { plain.shape[$0] }
        let own = plain.strides
        let length = axes.reduce(1) { $0 * plain.shape[$1] }
        let result: RuntimeTensor
        if moved == Array(0..<x.rank) {
            result = plain
        } else {
            result = try context.temporary(plain.elementType, shape)
            try copyStrided(
                width: plain.elementType.byteWidth, shape: shape, from: plain.pointer,
                StridedView(strides: moved.map { own[$0] }), to: result.pointer, StridedView(strides: result.strides))
        }
        return (result, kept.reduce(1) { $0 * plain.shape[$1] }, length, 1, false)
    }

    static func reduce(_ context: KernelContext, _ operation: Operation, axes: [Int], keeps: Bool) throws {
        let shape = try context.input(0).shape
        let type = try context.input(0).elementType
        let target = shape.indices.compactMap { axes.contains($0) ? (keeps ? 1 : nil) : shape[$0] }
        let (x, outer, length, inner, _) = try grouped(context, axes: axes)
        let y = try context.output(0, type, target)
        switch type {
        case .float32:
            if operation == .sum || operation == .mean, inner == 1 {
                sumRows(x, y, outer, length, scale: operation == .mean ? 1 / Float(length) : 1)
            } else {
                reduceFloating(Float.self, operation, x, y, outer, length, inner)
            }
        case .float64: reduceFloating(Double.self, operation, x, y, outer, length, inner)
        case .int8: try reduceInteger(Int8.self, operation, x, y, outer, length, inner)
        case .int16: try reduceInteger(Int16.self, operation, x, y, outer, length, inner)
        case .int32: try reduceInteger(Int32.self, operation, x, y, outer, length, inner)
        case .int64: try reduceInteger(Int64.self, operation, x, y, outer, length, inner)
        case .uint8: try reduceInteger(UInt8.self, operation, x, y, outer, length, inner)
        case .uint16: try reduceInteger(UInt16.self, operation, x, y, outer, length, inner)
        case .uint32: try reduceInteger(UInt32.self, operation, x, y, outer, length, inner)
        case .uint64: try reduceInteger(UInt64.self, operation, x, y, outer, length, inner)
        case .bool where operation == .maximum: try reduceInteger(UInt8.self, .maximum, x, y, outer, length, inner)
        case .bool where operation == .minimum:
            // The smallest of no truth values is true.
            if length == 0 {
                y.typed(UInt8.self).update(repeating: 1, count: y.count)
            } else {
                try reduceInteger(UInt8.self, .minimum, x, y, outer, length, inner)
            }
        default: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static func sumRows(
        _ x: RuntimeTensor, _ y: RuntimeTensor, _ rows: Int, _ length: Int, scale: Float
    ) {
        let (source, target) = (x.floats, y.floats)
        Parallel.forEachRange(rows, grain: max(1, 16384 / max(1, length))) { range in
            for row in range { target[row] = GraftRuntime.sum(source + row * length, length) * scale }
        }
    }

    private static func reduceFloating<T: RealNumber>(
        _ type: T.Type, _ operation: Operation, _ x: RuntimeTensor, _ y: RuntimeTensor, _ outer: Int, _ length: Int,
        _ inner: Int
    ) {
        switch operation {
        case .sum: fold(Sum<T>.self, x, y, outer, length, inner)
        case .mean: fold(Mean<T>.self, x, y, outer, length, inner)
        case .maximum: fold(Maximum<T>.self, x, y, outer, length, inner)
        case .minimum: fold(Minimum<T>.self, x, y, outer, length, inner)
        case .product: fold(Product<T>.self, x, y, outer, length, inner)
        case .l1: fold(L1<T>.self, x, y, outer, length, inner)
        case .l2: fold(L2<T>.self, x, y, outer, length, inner)
        case .sumOfSquares: fold(SumOfSquares<T>.self, x, y, outer, length, inner)
        case .logSum: fold(LogSum<T>.self, x, y, outer, length, inner)
        case .logSumExp:
            let (source, target) = (x.typed(T.self), y.typed(T.self))
            Parallel.forEachRange(outer * inner, grain: max(1, 2048 / max(1, length))) { range in
                for index in range {
                    let from = source + (index / inner * length * inner + index % inner)
                    var largest = -T.infinity
                    for position in 0..<length { largest = max(largest, from[position * inner]) }
                    let base = largest.isFinite ? largest : 0
                    var total = T(0)
                    for position in 0..<length { total += (from[position * inner] - base).exponential }
                    target[index] = total.logarithm + base
                }
            }
        }
    }

    private static func reduceInteger<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, _ operation: Operation, _ x: RuntimeTensor, _ y: RuntimeTensor, _ outer: Int, _ length: Int,
        _ inner: Int
    ) throws {
        switch operation {
        case .sum: fold(WholeSum<T>.self, x, y, outer, length, inner)
        case .mean: fold(WholeMean<T>.self, x, y, outer, length, inner)
        case .maximum: fold(WholeMaximum<T>.self, x, y, outer, length, inner)
        case .minimum: fold(WholeMinimum<T>.self, x, y, outer, length, inner)
        case .product: fold(WholeProduct<T>.self, x, y, outer, length, inner)
        case .l1: fold(WholeL1<T>.self, x, y, outer, length, inner)
        case .sumOfSquares: fold(WholeSumOfSquares<T>.self, x, y, outer, length, inner)
        case .l2: fold(WholeL2<T>.self, x, y, outer, length, inner)
        case .logSum, .logSumExp:
            throw KernelFailure("logarithms of integers")
        }
    }

    // MARK: ReduceTo

    /// The sum of input 0 down to a shape that broadcasts to its own.
    static func reduceTo(_ context: KernelContext, _ shape: [Int]) throws {
        let x = try context.input(0)
        if x.shape == shape {
            context.set(0, x)
            return
        }
        guard try Broadcast.shape([x.shape, shape]) == x.shape else {
            throw KernelFailure("the shape \(x.shape) does not come from \(shape)")
        }
        let lead = x.rank - shape.count
        let axes = x.shape.indices.filter { $0 < lead || (shape[$0 - lead] == 1 && x.shape[$0] != 1) }
        if axes.isEmpty {
            context.set(0, try context.plain(0).viewed(shape))
            return
        }
        try reduce(context, .sum, axes: axes, keeps: true)
        guard case .tensor(let y)? = context.output(at: 0) else { return }
        context.set(0, y.viewed(shape))
    }

    // MARK: ArgMax, ArgMin

    private struct ExtremeSettings: Sendable {
        let axis: Int
        let keeps: Bool
        let takesLast: Bool
    }

    private static func extreme(_ type: String, isMaximum: Bool) -> KernelDefinition {
        .function(
            type, widens: true,
            prepare: { node in
                ExtremeSettings(
                    axis: node.attributes.int("axis") ?? 0, keeps: node.attributes.int("keepdims") ?? 1 != 0,
                    takesLast: node.attributes.int("select_last_index") ?? 0 != 0)
            },
            run: { settings, context in
                switch try context.input(0).elementType {
                case .float32: try extreme(Float.self, settings, isMaximum, context)
                case .float64: try extreme(Double.self, settings, isMaximum, context)
                case .int8: try extreme(Int8.self, settings, isMaximum, context)
                case .int16: try extreme(Int16.self, settings, isMaximum, context)
                case .int32: try extreme(Int32.self, settings, isMaximum, context)
                case .int64: try extreme(Int64.self, settings, isMaximum, context)
                case .uint8: try extreme(UInt8.self, settings, isMaximum, context)
                case .uint16: try extreme(UInt16.self, settings, isMaximum, context)
                case .uint32: try extreme(UInt32.self, settings, isMaximum, context)
                case .uint64: try extreme(UInt64.self, settings, isMaximum, context)
                case let type: throw KernelFailure("elements of type \(type.name)")
                }
            })
    }

    private static func extreme<T: Comparable & BitwiseCopyable>(
        _ type: T.Type, _ settings: ExtremeSettings, _ isMaximum: Bool, _ context: KernelContext
    ) throws {
        let x = try context.plain(0)
        let axis = try normalizedAxis(settings.axis, rank: x.rank)
        let (outer, length, inner) = x.rank == 0 ? (1, 1, 1) : x.around(axis)
        guard length > 0 else { throw KernelFailure("an empty axis") }
        var shape = x.shape
        if !shape.isEmpty { if settings.keeps { shape[axis] = 1 } else { shape.remove(at: axis) } }
        let y = try context.output(0, .int64, shape)
        if T.self == Float.self, length < Int32.max {
            ExtremePlaces(
                outer: outer, length: length, inner: inner, isMaximum: isMaximum, takesLast: settings.takesLast
            )
            .find(x.floats, y.int64s)
            return
        }
        let (source, target, takesLast) = (x.typed(T.self), y.int64s, settings.takesLast)
        Parallel.forEachRange(outer * inner, grain: max(1, 8192 / length)) { range in
            for index in range {
                let from = source + (index / inner * length * inner + index % inner)
                var (best, place) = (from[0], 0)
                for position in 1..<max(1, length) {
                    let value = from[position * inner]
                    let isBetter = isMaximum ? value > best : value < best
                    if isBetter || (takesLast && value == best) { (best, place) = (value, position) }
                }
                target[index] = Int64(place)
            }
        }
    }
}

/// Floating-point numbers with the functions that reductions need.
protocol RealNumber: BinaryFloatingPoint, BitwiseCopyable {
    var logarithm: Self { get }
    var exponential: Self { get }
}

extension Float: RealNumber {
    var logarithm: Float { logf(self) }
    var exponential: Float { expf(self) }
}

extension Double: RealNumber {
    var logarithm: Double { log(self) }
    var exponential: Double { exp(self) }
}

import COneDNN
import GraftCore
import GraftIR

/// Normalisations without learned statistics: RMSNormalization, LpNormalization, MeanVarianceNormalization.
enum RowNormalizationKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "RMSNormalization", opsets: 23...KernelRegistry.newestOpset,
                prepare: { ($0.attributes.int("axis") ?? -1, $0.attributes.float("epsilon") ?? 1e-5) },
                run: { settings, context in
                    // The result has the type of the scale, whatever the type of the input.
                    if try context.input(0).elementType == .float64 {
                        try rootMeanSquare(Double.self, .float64, context, axis: settings.0, epsilon: settings.1)
                    } else {
                        try rootMeanSquare(Float.self, .float32, context, axis: settings.0, epsilon: settings.1)
                    }
                }),
            .function(
                "LpNormalization", widens: true,
                prepare: { node in
                    let p = node.attributes.int("p") ?? 2
                    guard p == 1 || p == 2 else { throw KernelFailure("the norm is of order \(p); it must be 1 or 2") }
                    return (node.attributes.int("axis") ?? -1, p)
                },
                run: { settings, context in
                    try dispatch(context) {
                        try normalizeByNorm($0, context, axis: settings.0, p: settings.1)
                    } double: {
                        try normalizeByNorm($0, context, axis: settings.0, p: settings.1)
                    }
                }),
            .function(
                "MeanVarianceNormalization", widens: true, prepare: { $0.attributes.ints("axes") ?? [0, 2, 3] },
                run: { axes, context in
                    try dispatch(context) {
                        try normalizeByMoments($0, context, axes: axes)
                    } double: {
                        try normalizeByMoments($0, context, axes: axes)
                    }
                }),
        ]
    }

    /// Calls one of two forms by the type of input 0.
    private static func dispatch(
        _ context: KernelContext, single: (Float.Type) throws -> Void, double: (Double.Type) throws -> Void
    ) throws {
        switch try context.input(0).elementType {
        case .float32: try single(Float.self)
        case .float64: try double(Double.self)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static func rootMeanSquare<T: RealNumber>(
        _ type: T.Type, _ elementType: ElementType, _ context: KernelContext, axis: Int, epsilon: Float
    ) throws {
        let resultType = try context.input(1).elementType
        let x = try context.numbers(of: context.input(0), as: type, elementType)
        let scale = try context.numbers(of: context.input(1), as: type, elementType)
        let first = try normalizedAxis(axis, rank: x.rank)
        let inner = Array(x.shape[first...])
        let length = inner.reduce(1, *)
        guard try Broadcast.shape([scale.shape, inner]) == inner else {
            throw KernelFailure("a scale of shape \(scale.shape) does not fit \(inner)")
        }
        let y = try context.temporary(elementType, x.shape)
        if length > 0 {
            let factors = try spread(scale, inner, type, context)
            normalizeRows(
                x.typed(T.self), y.typed(T.self), factors.typed(T.self), rows: x.count / length, length: length,
                epsilon: T(epsilon))
        }
        context.set(0, try context.narrowed(y, resultType))
    }

    /// `y = x / sqrt(mean(x^2) + epsilon) * scale` for each row.
    static func normalizeRows<T: RealNumber>(
        _ x: UnsafePointer<T>, _ y: UnsafeMutablePointer<T>, _ scale: UnsafePointer<T>, rows: Int, length: Int,
        epsilon: T
    ) {
        Parallel.forEachRange(rows, grain: max(1, 8192 / length)) { range in
            for row in range {
                let (from, to) = (x + row * length, y + row * length)
                let inverse = 1 / (sumOfSquares(from, length) / T(length) + epsilon).squareRoot()
                for index in 0..<length { to[index] = from[index] * inverse * scale[index] }
            }
        }
    }

    private static func sumOfSquares<T: RealNumber>(_ values: UnsafePointer<T>, _ count: Int) -> T {
        // Four sums, so that additions do not wait for each other.
        var (a, b, c, d): (T, T, T, T) = (0, 0, 0, 0)
        var index = 0
        while index + 4 <= count {
            a += values[index] * values[index]
            b += values[index + 1] * values[index + 1]
            c += values[index + 2] * values[index + 2]
            d += values[index + 3] * values[index + 3]
            index += 4
        }
        while index < count {
            a += values[index] * values[index]
            index += 1
        }
        return (a + b) + (c + d)
    }

    private static func spread<T: RealNumber>(
        _ tensor: RuntimeTensor, _ shape: [Int], _ type: T.Type, _ context: KernelContext
    ) throws -> RuntimeTensor {
        if tensor.count == shape.reduce(1, *) { return tensor }
        let result = try context.temporary(tensor.elementType, shape)
        let walk = Broadcast([tensor], shape: shape, layout: .rowMajor)
        let (from, to) = (tensor.typed(T.self), result.typed(T.self))
        for index in 0..<result.count { to[index] = from[walk.offsets(of: index)[0]] }
        return result
    }

    private static func normalizeByNorm<T: RealNumber>(
        _ type: T.Type, _ context: KernelContext, axis: Int, p: Int
    ) throws {
        let x = try context.plain(0)
        let groups = try AxisGroups(x.shape, axes: [axis])
        let y = try context.output(0, x.elementType, x.shape)
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        let last = try normalizedAxis(axis, rank: x.rank)
        if p == 2, last == x.rank - 1, x.count > 0 {
            let length = x.shape[last]
            Parallel.forEachRange(x.count / length, grain: max(1, 8192 / length)) { range in
                for row in range {
                    let (from, to) = (source + row * length, target + row * length)
                    let norm = sumOfSquares(from, length).squareRoot()
                    for index in 0..<length { to[index] = norm == 0 ? 0 : from[index] / norm }
                }
            }
            return
        }
        groups.forEach { group in
            var sum: T = 0
            group.forEach { sum += p == 1 ? abs(source[$0]) : source[$0] * source[$0] }
            let norm = p == 1 ? sum : sum.squareRoot()
            group.forEach { target[$0] = norm == 0 ? 0 : source[$0] / norm }
        }
    }

    private static func normalizeByMoments<T: RealNumber>(
        _ type: T.Type, _ context: KernelContext, axes: [Int]
    ) throws {
        let x = try context.plain(0)
        let groups = try AxisGroups(x.shape, axes: axes)
        let y = try context.output(0, x.elementType, x.shape)
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        groups.forEach { group in
            var sum: T = 0
            group.forEach { sum += source[$0] }
            let mean = sum / T(group.count)
            var squares: T = 0
            group.forEach { squares += (source[$0] - mean) * (source[$0] - mean) }
            let inverse = 1 / ((squares / T(group.count)).squareRoot() + 1e-9)
            group.forEach { target[$0] = (source[$0] - mean) * inverse }
        }
    }
}

extension KernelContext {
    /// A tensor of 32- or 64-bit numbers as numbers of another floating-point type.
    func narrowed(_ tensor: RuntimeTensor, _ type: ElementType) throws -> RuntimeTensor {
        switch type {
        case tensor.elementType: return tensor
        case .float32: return try numbers(of: tensor, as: Float.self, .float32)
        case .float64: return try numbers(of: tensor, as: Double.self, .float64)
        default: return try converted(numbers(of: tensor, as: Float.self, .float32), type)
        }
    }
}

/// The elements of a row-major tensor in groups: a group for each position along the axes that are kept.
struct AxisGroups {
    private let starts: [Int]
    private let steps: [Int]
    private let run: Int

    init(_ shape: [Int], axes: [Int]) throws {
        let reduced = Set(try axes.map { try normalizedAxis($0, rank: shape.count) })
        let strides = RuntimeTensor.strides(shape, .rowMajor)
        var last = shape.count
        var run = 1
        while last > 0, reduced.contains(last - 1) {
            last -= 1
            run *= shape[last]
        }
        func offsets(_ wanted: (Int) -> Bool) -> [Int] {
            var result = [0]
            for axis in 0..<last where wanted(axis) {
                result = result.flatMap { start in (0..<shape[axis]).map { start + $0 * strides[axis] } }
            }
            return result
        }
        self.run = run
        guard !shape.contains(0) else {
            (starts, steps) = ([], [])
            return
        }
        starts = offsets { !reduced.contains($0) }
        steps = offsets { reduced.contains($0) }
    }

    /// Calls `body` for each group, in parallel.
    func forEach(_ body: (Group) -> Void) {
        let size = steps.count * run
        steps.withUnsafeBufferPointer { steps in
            Parallel.forEachRange(starts.count, grain: max(1, 8192 / max(1, size))) { range in
                for index in range { body(Group(start: starts[index], steps: steps, run: run)) }
            }
        }
    }

    struct Group {
        let start: Int
        let steps: UnsafeBufferPointer<Int>
        let run: Int

        /// The number of elements.
        var count: Int { steps.count * run }

        /// Calls `body` with the position of each element.
        @inline(__always) func forEach(_ body: (Int) -> Void) {
            for step in steps {
                let first = start + step
                for index in first..<(first + run) { body(index) }
            }
        }
    }
}

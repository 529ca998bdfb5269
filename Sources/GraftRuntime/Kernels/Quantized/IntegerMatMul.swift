import CNumerics
import GraftCore
import GraftIR

/// Matrix products of quantised tensors: MatMulInteger, QLinearMatMul, and QGemm, DynamicQuantizeMatMul and
/// MatMulIntegerToFloat of com.microsoft.
enum IntegerMatMulKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("MatMulInteger") { IntegerMatMulKernel($0, .integers) },
            KernelDefinition("QLinearMatMul") { IntegerMatMulKernel($0, .quantized) },
            KernelDefinition("QGemm", domain: "com.microsoft") { IntegerMatMulKernel($0, .gemm) },
            KernelDefinition("DynamicQuantizeMatMul", domain: "com.microsoft", widens: true) {
                IntegerMatMulKernel($0, .dynamic)
            },
            KernelDefinition("MatMulIntegerToFloat", domain: "com.microsoft", widens: true) {
                IntegerMatMulKernel($0, .floats)
            },
        ]
    }
}

/// A product of two stacks of matrices of bytes, with 32-bit sums.
final class IntegerMatMulKernel: Kernel {
    enum Form { case integers, quantized, gemm, dynamic, floats }

    private let form: Form
    private let transA: Bool
    private let transB: Bool
    private let alpha: Float
    private var packed: Packed?

    /// Right sides that do not change between runs.
    private struct Packed {
        let version: Int
        let zeroPoints: [Int32]
        let columns: [IntegerColumns]
    }

    init(_ node: KernelNode, _ form: Form) {
        self.form = form
        transA = form == .gemm && node.attributes.int("transA") ?? 0 != 0
        transB = form == .gemm && node.attributes.int("transB") ?? 0 != 0
        alpha = form == .gemm ? node.attributes.float("alpha") ?? 1 : 1
    }

    func run(_ context: KernelContext) throws {
        switch form {
        case .integers: try runIntegers(context)
        case .quantized: try runQuantized(context)
        case .gemm: try runGemm(context)
        case .dynamic: try runDynamic(context)
        case .floats: try runFloats(context)
        }
    }

    // MARK: The forms

    private func runIntegers(_ context: KernelContext) throws {
        let problem = try problem(context.plain(0), context.plain(1))
        let y = try context.output(0, .int32, problem.result)
        let target = y.typed(Int32.self)
        try multiply(problem, context, b: 1, context.zeroPoints(2), context.zeroPoints(3)) { row, columns, sums in
            let to = target + row * problem.n
            for column in columns { to[column] = sums[column - columns.lowerBound] }
        }
    }

    private func runQuantized(_ context: KernelContext) throws {
        if SmallFloatMatMul.applies(
            try context.input(0).elementType, try context.input(3).elementType, try context.input(7).elementType)
        {
            try SmallFloatMatMul.run(context)
            return
        }
        let problem = try problem(context.plain(0), context.plain(3))
        let scaleY = try context.scale(6)
        let scalesA = try problem.rowValues(context.numbers(1))
        let scalesB = try problem.columnValues(context.numbers(4))
        try requantize(
            problem, context, b: 3, context.zeroPoints(2), context.zeroPoints(5), zeroPointY: 7,
            bias: nil
        ) { row, column in scalesA(row) * scalesB(row, column) / scaleY }
    }

    private func runGemm(_ context: KernelContext) throws {
        let problem = try problem(context.plain(0), context.plain(3))
        guard problem.stack.isEmpty else { throw KernelFailure("matrices are needed") }
        let scaleA = try context.scale(1)
        let scalesB = try problem.columnValues(context.numbers(4))
        let bias = try bias(problem, context, 6)
        let alpha = alpha
        if context.has(7) {
            let scaleY = try context.scale(7)
            try requantize(
                problem, context, b: 3, [context.zeroPoint(2)], context.zeroPoints(5), zeroPointY: 8, bias: bias
            ) { row, column in alpha * scaleA * scalesB(row, column) / scaleY }
            return
        }
        let y = try context.output(0, .float32, problem.result)
        let target = y.floats
        try multiply(problem, context, b: 3, [context.zeroPoint(2)], context.zeroPoints(5)) { row, columns, sums in
            for column in columns {
                let sum = sums[column - columns.lowerBound] &+ (bias?(row, column) ?? 0)
                target[row * problem.n + column] = Float(sum) * (alpha * scaleA * scalesB(row, column))
            }
        }
    }

    private func runDynamic(_ context: KernelContext) throws {
        let x = try context.plain(0, .float32)
        let (scale, zeroPoint) = QuantizeKernels.dynamicScale(x)
        context.replaceInput(0, try QuantizeKernels.quantized(context, x, scale: scale, zeroPoint: zeroPoint))
        let problem = try problem(context.plain(0), context.plain(1))
        try floats(
            problem, context, [scale], [zeroPoint], context.numbers(2), context.zeroPoints(3), bias: 4)
    }

    private func runFloats(_ context: KernelContext) throws {
        let problem = try problem(context.plain(0), context.plain(1))
        try floats(
            problem, context, context.numbers(2), context.zeroPoints(4), context.numbers(3), context.zeroPoints(5),
            bias: 6)
    }

    private func floats(
        _ problem: IntegerProblem, _ context: KernelContext, _ scalesA: [Float], _ zerosA: [Int32],
        _ scalesB: [Float], _ zerosB: [Int32], bias index: Int
    ) throws {
        let addend = context.has(index) ? try context.plain(index, .float32) : nil
        if let addend, addend.count != problem.n {
            throw KernelFailure("a bias of shape \(addend.shape) for \(problem.n) columns")
        }
        let y = try context.output(0, .float32, problem.result)
        let target = y.floats
        let (rowScale, columnScale) = (try problem.rowValues(scalesA), try problem.columnValues(scalesB))
        try multiply(problem, context, b: 1, zerosA, zerosB) { row, columns, sums in
            let to = target + row * problem.n
            for column in columns {
                let value = Float(sums[column - columns.lowerBound]) * (rowScale(row) * columnScale(row, column))
                to[column] = value + (addend?.floats[column] ?? 0)
            }
        }
    }

    private func bias(
        _ problem: IntegerProblem, _ context: KernelContext, _ index: Int
    ) throws -> ((Int, Int) -> Int32)? {
        guard context.has(index) else { return nil }
        let c = try context.plain(index, .int32)
        guard try Broadcast.shape([c.shape, problem.result]) == problem.result else {
            throw KernelFailure("C of shape \(c.shape) does not fit \(problem.result)")
        }
        let values = c.typed(Int32.self)
        let stepColumn = c.rank == 0 || c.shape[c.rank - 1] == 1 ? 0 : 1
        let stepRow = c.rank < 2 || c.shape[c.rank - 2] == 1 ? 0 : c.shape[c.rank - 1]
        return { row, column in values[row * stepRow + column * stepColumn] }
    }

    private func requantize(
        _ problem: IntegerProblem, _ context: KernelContext, b: Int, _ zerosA: [Int32], _ zerosB: [Int32],
        zeroPointY: Int, bias: ((Int, Int) -> Int32)?, _ scale: (Int, Int) -> Float
    ) throws {
        let zero = try context.zeroPoint(zeroPointY)
        let type = context.has(zeroPointY) ? try context.input(zeroPointY).elementType : .uint8
        func run<T: QuantizedByte>(_ byte: T.Type) throws {
            let y = try context.output(0, type, problem.result)
            let (target, rounded) = (y.typed(T.self), Requantizer(zeroPoint: zero, T.self))
            try multiply(problem, context, b: b, zerosA, zerosB) { row, columns, sums in
                let to = target + row * problem.n
                for column in columns {
                    let sum = sums[column - columns.lowerBound] &+ (bias?(row, column) ?? 0)
                    to[column] = T(truncatingIfNeeded: rounded(Float(sum) * scale(row, column)))
                }
            }
        }
        switch type {
        case .uint8: try run(UInt8.self)
        case .int8: try run(Int8.self)
        default: throw KernelFailure("a result of type \(type.name)")
        }
    }

    // MARK: The product

    private func problem(_ a: RuntimeTensor, _ b: RuntimeTensor) throws -> IntegerProblem {
        try IntegerProblem(a, b, transA: transA, transB: transB)
    }

    /// Calls `finish` with the sums of part of each row of the result.
    private func multiply(
        _ problem: IntegerProblem, _ context: KernelContext, b index: Int, _ zerosA: [Int32], _ zerosB: [Int32],
        _ finish: (_ row: Int, _ columns: Range<Int>, UnsafePointer<Int32>) -> Void
    ) throws {
        let rowZero = try problem.rowValues(zerosA)
        let columns = try columns(problem, context, index, zerosB)
        let a = try context.plain(0)
        switch a.elementType {
        case .uint8: run(UInt8.self)
        case .int8: run(Int8.self)
        default: throw KernelFailure("elements of type \(a.elementType.name)")
        }
        func run<T: QuantizedByte>(_ type: T.Type) {
            let source = a.typed(T.self)
            let (m, k) = (problem.m, problem.k)
            let (stepM, stepK) = problem.transA ? (1, m) : (k, 1)
            for (batch, place) in problem.places.enumerated() {
                let (from, right) = (source + place.a * m * k, columns[place.b])
                let length = 2 * right.pairs
                right.multiply(rows: m) { rows, target in
                    for row in rows {
                        let zero = Int16(truncatingIfNeeded: rowZero(batch * m + row))
                        let to = target + (row - rows.lowerBound) * length
                        let line = from + row * stepM
                        if stepK == 1 {
                            cintegers_widen(line, T.isSigned ? 1 : 0, zero, to, k)
                        } else {
                            for i in 0..<k { to[i] = Int16(line[i * stepK]) &- zero }
                        }
                        for i in k..<length { to[i] = 0 }
                    }
                } finish: { rows, some, sums, stride in
                    for row in rows { finish(batch * m + row, some, sums + (row - rows.lowerBound) * stride) }
                }
            }
        }
    }

    private func columns(
        _ problem: IntegerProblem, _ context: KernelContext, _ index: Int, _ zeros: [Int32]
    ) throws -> [IntegerColumns] {
        let version = context.version(index)
        if let version, let packed, packed.version == version, packed.zeroPoints == zeros { return packed.columns }
        let b = try context.plain(index)
        let (k, n, transB) = (problem.k, problem.n, problem.transB)
        guard zeros.count == 1 || zeros.count == n || zeros.count == n * problem.rightCount else {
            throw KernelFailure("\(zeros.count) zero points for \(n) columns")
        }
        let made = try (0..<problem.rightCount).map { matrix in
            try IntegerColumns(
                b, depth: k, count: n,
                zeroPoints: zeros.count > n ? Array(zeros[(matrix * n)..<((matrix + 1) * n)]) : zeros, context.arena
            ) { row, column in matrix * k * n + (transB ? column * k + row : row * n + column) }
        }
        if let version { packed = Packed(version: version, zeroPoints: zeros, columns: made) }
        return made
    }
}

/// The shapes of a product of two stacks of matrices.
struct IntegerProblem {
    let m: Int
    let k: Int
    let n: Int
    let stack: [Int]
    let result: [Int]
    let transA: Bool
    let transB: Bool
    /// Which matrices of either side meet, for each matrix of the result.
    let places: [(a: Int, b: Int)]
    /// The number of matrices on the right.
    let rightCount: Int

    init(_ x: RuntimeTensor, _ w: RuntimeTensor, transA: Bool, transB: Bool) throws {
        var (a, b) = (x.shape, w.shape)
        let failure = KernelFailure("shapes \(a) and \(b) cannot be multiplied")
        guard !a.isEmpty, !b.isEmpty, !(transA || transB) || (a.count == 2 && b.count == 2) else { throw failure }
        if a.count == 1 { a = [1] + a }
        if b.count == 1 { b += [1] }
        (m, k) = transA ? (a[1], a[0]) : (a[a.count - 2], a[a.count - 1])
        let depth = transB ? b[1] : b[b.count - 2]
        n = transB ? b[0] : b[b.count - 1]
        guard k == depth else { throw failure }
        (self.transA, self.transB) = (transA, transB)
        let (left, right) = (Array(a.dropLast(2)), Array(b.dropLast(2)))
        rightCount = right.reduce(1, *)
        let stack = try Broadcast.shape([left, right])
        self.stack = stack
        result = stack + (x.rank == 1 ? [] : [m]) + (w.rank == 1 ? [] : [n])
        let walk = Broadcast(
            [
                RuntimeTensor(.uint8, left, buffer: x.buffer), RuntimeTensor(.uint8, right, buffer: w.buffer),
            ], shape: stack, layout: .rowMajor)
        places = (0..<walk.count).map { position in
            let offsets = walk.offsets(of: position)
            return (offsets[0], offsets[1])
        }
    }

    /// Values that belong to the rows of the result: one for all, one for each row of a matrix, or one for each row.
    func rowValues<T>(_ values: [T]) throws -> (Int) -> T {
        let m = m
        switch values.count {
        case 1:
            let value = values[0]
            return { _ in value }
        case m: return { values[$0 % m] }
        case m * places.count: return { values[$0] }
        default: throw KernelFailure("\(values.count) scales or zero points for \(m) rows")
        }
    }

    /// Values that belong to the columns of the result, by row and column.
    func columnValues<T>(_ values: [T]) throws -> (Int, Int) -> T {
        let (m, n, places) = (m, n, places)
        switch values.count {
        case 1:
            let value = values[0]
            return { _, _ in value }
        case n: return { values[$1] }
        case n * rightCount: return { values[places[$0 / m].b * n + $1] }
        default: throw KernelFailure("\(values.count) scales or zero points for \(n) columns")
        }
    }
}

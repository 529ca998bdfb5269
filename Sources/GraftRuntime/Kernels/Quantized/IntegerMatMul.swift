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
            // Also of stacks of matrices, with a bias of numbers for the columns; bytes may be bounded.
            KernelDefinition("QGemm", domain: graftDomain, fuses: true) { IntegerMatMulKernel($0, .gemm) },
            KernelDefinition("DynamicQuantizeMatMul", domain: "com.microsoft", fuses: true, widens: true) {
                IntegerMatMulKernel($0, .dynamic)
            },
            KernelDefinition("MatMulIntegerToFloat", domain: "com.microsoft", fuses: true, widens: true) {
                IntegerMatMulKernel($0, .floats)
            },
        ]
    }
}

/// A product of two stacks of matrices of bytes, with 32-bit sums: by oneDNN, or rows times packed columns.
final class IntegerMatMulKernel: Kernel {
    enum Form { case integers, quantized, gemm, dynamic, floats }

    private let form: Form
    private let takesStacks: Bool
    private let transA: Bool
    private let transB: Bool
    private let alpha: Float
    private let bounds: ByteBounds
    private let postOperations: [PostOperation]
    private let native: ByteProduct
    private var packed: Packed?

    /// Right sides that do not change between runs.
    private struct Packed {
        let version: Int
        let zeroPoints: [Int32]
        let columns: [IntegerColumns]
    }

    init(_ node: KernelNode, _ form: Form) {
        self.form = form
        takesStacks = node.op.domain == graftDomain
        transA = form == .gemm && node.attributes.int("transA") ?? 0 != 0
        transB = form == .gemm && node.attributes.int("transB") ?? 0 != 0
        alpha = form == .gemm ? node.attributes.float("alpha") ?? 1 : 1
        bounds = ByteBounds(node)
        postOperations = node.postOperations
        native = ByteProduct(node.postOperations)
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
        let zerosA = try context.zeroPoints(2)
        if zerosA.count == 1,
            try native.run(
                problem, right: 1, changing: [2], context, zeroLeft: zerosA[0],
                request: {
                    ByteProductRequest(
                        problem: problem, right: 1, zeroLeft: nil, zerosRight: try context.zeroPoints(3),
                        result: SumsResult(type: .int32))
                })
        {
            return
        }
        let y = try context.output(0, .int32, problem.result)
        let target = y.typed(Int32.self)
        try multiply(problem, context, b: 1, zerosA, context.zeroPoints(3)) { row, columns, sums in
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
        let isNative = try native.run(problem, right: 3, changing: [], context) {
            let (scalesA, scalesB) = (try context.numbers(1), try context.numbers(4))
            return try quantizedRequest(
                problem, context, scaleInput: 6, zeroPointInput: 7, scalesA: scalesA, scalesB: scalesB, bias: [])
        }
        if isNative { return }
        let scaleY = try context.scale(6)
        let scalesA = try problem.rowValues(context.numbers(1))
        let scalesB = try problem.columnValues(context.numbers(4))
        try requantize(
            problem, context, b: 3, context.zeroPoints(2), context.zeroPoints(5), zeroPointY: 7,
            bias: nil
        ) { row, column in scalesA(row) * scalesB(row, column) / scaleY }
    }

    /// The request for a product of inputs 0 and 3 with zero points 2 and 5; nil where oneDNN has no such form.
    private func quantizedRequest(
        _ problem: IntegerProblem, _ context: KernelContext, scaleInput: Int, zeroPointInput: Int, scalesA: [Float],
        scalesB: [Float], bias: [Float]
    ) throws -> ByteProductRequest? {
        let zerosA = try context.zeroPoints(2)
        guard zerosA.count == 1, scalesA.count == 1, scalesB.count == 1 || scalesB.count == problem.n else {
            return nil
        }
        var result = SumsResult(type: .float32, scales: scalesB.map { alpha * scalesA[0] * $0 }, bias: bias)
        if context.has(scaleInput) {
            let scaleY = try context.scale(scaleInput)
            result.scales = result.scales.map { $0 / scaleY }
            result.zeroPoint = try context.zeroPoint(zeroPointInput)
            result.type = context.has(zeroPointInput) ? try context.input(zeroPointInput).elementType : .uint8
            result.bounds = try SumsResult.bounds(result.type, bounds)
        }
        return ByteProductRequest(
            problem: problem, right: 3, zeroLeft: zerosA[0], zerosRight: try context.zeroPoints(5), result: result)
    }

    private func runGemm(_ context: KernelContext) throws {
        let problem = try problem(context.plain(0), context.plain(3))
        guard takesStacks || problem.stack.isEmpty else { throw KernelFailure("matrices are needed") }
        let scaleA = try context.scale(1)
        let isNative = try native.run(problem, right: 3, changing: [], context) {
            let scalesB = try context.numbers(4)
            guard let bias = try columnBias(problem, context, 6, scaleA: scaleA, scalesB) else { return nil }
            return try quantizedRequest(
                problem, context, scaleInput: 7, zeroPointInput: 8, scalesA: [scaleA], scalesB: scalesB, bias: bias)
        }
        if isNative { return }
        let scalesB = try problem.columnValues(context.numbers(4))
        let bias = try bias(problem, context, 6, scaleA: scaleA)
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
        try applyPostOperations(postOperations, context)
    }

    /// The bias of the columns in the unit of the sums, empty where there is none; nil where rows have different ones.
    private func columnBias(
        _ problem: IntegerProblem, _ context: KernelContext, _ index: Int, scaleA: Float, _ scalesB: [Float]
    ) throws -> [Float]? {
        guard context.has(index) else { return [] }
        let (c, n) = (try context.plain(index), problem.n)
        guard c.count == n, c.rank > 0, c.shape[c.rank - 1] == n, scalesB.count == 1 || scalesB.count == n else {
            return nil
        }
        return try context.sumBias(index, unit: scalesB.map { alpha * scaleA * $0 })
    }

    private func runDynamic(_ context: KernelContext) throws {
        let x = try context.plain(0, .float32)
        let (scale, zeroPoint) = QuantizeKernels.dynamicScale(x)
        context.replaceInput(0, try QuantizeKernels.quantized(context, x, scale: scale, zeroPoint: zeroPoint))
        let problem = try problem(context.plain(0), context.plain(1))
        try floats(
            problem, context, [scale], [zeroPoint], scaleInput: nil, zeroInput: nil, scalesB: 2, zerosB: 3, bias: 4)
    }

    private func runFloats(_ context: KernelContext) throws {
        let problem = try problem(context.plain(0), context.plain(1))
        try floats(
            problem, context, context.numbers(2), context.zeroPoints(4), scaleInput: 2, zeroInput: 4, scalesB: 3,
            zerosB: 5, bias: 6)
    }

    private func floats(
        _ problem: IntegerProblem, _ context: KernelContext, _ scalesA: [Float], _ zerosA: [Int32],
        scaleInput: Int?, zeroInput: Int?, scalesB scaleIndex: Int, zerosB zeroIndex: Int, bias index: Int
    ) throws {
        let addend = context.has(index) ? try context.plain(index, .float32) : nil
        if let addend, addend.count != problem.n {
            throw KernelFailure("a bias of shape \(addend.shape) for \(problem.n) columns")
        }
        let changing = Set([scaleInput, zeroInput].compactMap { $0 })
        if scalesA.count == 1, zerosA.count == 1,
            try native.run(
                problem, right: 1, changing: changing, context, factor: scalesA[0], zeroLeft: zerosA[0],
                request: {
                    let scalesB = try context.numbers(scaleIndex)
                    guard scalesB.count == 1 || scalesB.count == problem.n else { return nil }
                    return ByteProductRequest(
                        problem: problem, right: 1, zeroLeft: nil, zerosRight: try context.zeroPoints(zeroIndex),
                        result: SumsResult(type: .float32, scales: scalesB), takesFactor: true,
                        addend: try context.has(index) ? context.numbers(index) : [])
                })
        {
            return
        }
        let (scalesB, zerosB) = (try context.numbers(scaleIndex), try context.zeroPoints(zeroIndex))
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
        try applyPostOperations(postOperations, context)
    }

    private func bias(
        _ problem: IntegerProblem, _ context: KernelContext, _ index: Int, scaleA: Float
    ) throws -> ((Int, Int) -> Int32)? {
        guard context.has(index) else { return nil }
        if takesStacks, try context.plain(index).elementType == .float32 {
            let scalesB = try context.numbers(4)
            let sums = try context.sumBias(index, unit: scalesB.map { alpha * scaleA * $0 }).map {
                Int32(max(-0x1p31, min(0x1.fffffep30, $0.rounded(.toNearestOrEven))))
            }
            guard sums.count == problem.n || sums.count == 1 else {
                throw KernelFailure("a bias of \(sums.count) numbers for \(problem.n) columns")
            }
            return { _, column in sums[sums.count == 1 ? 0 : column] }
        }
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
        let bounds = try SumsResult.bounds(type, bounds)
        func run<T: QuantizedByte>(_ byte: T.Type) throws {
            let y = try context.output(0, type, problem.result)
            let (target, rounded) = (
                y.typed(T.self),
                Requantizer(zeroPoint: zero, lowest: bounds.lowerBound, highest: bounds.upperBound)
            )
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

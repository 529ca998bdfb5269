import COneDNN
import GraftCore
import GraftIR

/// MatMul and Gemm through oneDNN, with bias and activation in the same pass.
enum MatrixProductKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("MatMul", fuses: true, widens: true) { MatMulKernel($0) },
            KernelDefinition("FusedMatMul", domain: graftDomain, fuses: true, widens: true) { MatMulKernel($0) },
            KernelDefinition("Gemm", fuses: true, widens: true) { MatMulKernel($0) },
        ]
    }
}

/// The product of two stacks of matrices: `alpha op(A) op(B) + beta C`.
///
/// `FusedMatMul` of Graft's own domain is MatMul with a third input, a bias along the last axis.
final class MatMulKernel: Kernel {
    private let isGemm: Bool
    private let transA: Bool
    private let transB: Bool
    private let alpha: Float
    private let beta: Float
    private let postOperations: [PostOperation]
    private let allowsBF16: Bool
    private var weights: WeightOperand
    private var prepared: [Prepared] = []

    private struct Prepared {
        let a: [Int]
        let b: [Int]
        let hasBias: Bool
        let fused: Bool
        let primitive: Primitive
        let stored: MemoryDescriptor
        let weights: MemoryDescriptor
        /// What rounds the left side to bfloat16, and the layout that it then has.
        let rounding: (converter: LayoutConverter, layout: MemoryDescriptor)?
    }

    init(_ node: KernelNode) {
        isGemm = node.op.type == "Gemm"
        transA = isGemm && node.attributes.int("transA") ?? 0 != 0
        transB = isGemm && node.attributes.int("transB") ?? 0 != 0
        alpha = isGemm ? node.attributes.float("alpha") ?? 1 : 1
        beta = isGemm ? node.attributes.float("beta") ?? 1 : 1
        postOperations = node.postOperations
        allowsBF16 = node.options.allowsBF16 && gdnn_has_bf16() != 0
        let isTaken = node.constant(1).map { $0.elementType == .float32 && $0.rank == 2 && $0.count > 0 } ?? false
        weights = WeightOperand(isTaken ? node.takeConstant(1) : nil)
    }

    /// The shapes of a product as stacks of matrices.
    private struct Problem {
        var a: [Int]
        var b: [Int]
        var stack: [Int]
        var m: Int
        var k: Int
        var n: Int
        var result: [Int]
    }

    private func problem(_ givenA: [Int], _ givenB: [Int]) throws -> Problem {
        var (a, b) = (givenA, givenB)
        let failure = KernelFailure("shapes \(givenA) and \(givenB) cannot be multiplied")
        guard !a.isEmpty, !b.isEmpty, !isGemm || (a.count == 2 && b.count == 2) else { throw failure }
        if a.count == 1 { a = [1] + a }
        if b.count == 1 { b += [1] }
        let (m, k) = transA ? (a[1], a[0]) : (a[a.count - 2], a[a.count - 1])
        let (kB, n) = transB ? (b[1], b[0]) : (b[b.count - 2], b[b.count - 1])
        guard k == kB else { throw failure }
        let stack = try Broadcast.shape([Array(a.dropLast(2)), Array(b.dropLast(2))])
        let result = stack + (givenA.count == 1 ? [] : [m]) + (givenB.count == 1 ? [] : [n])
        return Problem(a: a, b: b, stack: stack, m: m, k: k, n: n, result: result)
    }

    func run(_ context: KernelContext) throws {
        let a = try context.plain(0)
        let b = weights.constantShape == nil ? try context.plain(1) : nil
        let problem = try problem(a.shape, weights.constantShape ?? b?.shape ?? [])
        guard a.elementType == .float32, b?.elementType ?? .float32 == .float32 else {
            try runGeneric(problem, context)
            try applyPostOperations(postOperations, context)
            return
        }
        let c = context.has(2) && beta != 0 ? try context.plain(2) : nil
        // A row that is added to every row of the result goes through the primitive.
        var bias: RuntimeTensor?
        var addend: RuntimeTensor?
        if let c {
            if c.count == problem.n, c.shape.last == problem.n, alpha == 1, c.count > 0 {
                bias = beta == 1 ? c : try scaled(c, beta, context)
            } else {
                addend = beta == 1 ? c : try scaled(c, beta, context)
            }
        }
        if problem.result.contains(0) || problem.k == 0 {
            let y = try context.output(0, .float32, problem.result)
            y.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: y.byteCount)
        } else {
            var fused = addend == nil
            for case .add(let input) in postOperations where try context.input(input).shape != problem.result {
                fused = false
            }
            try multiply(problem, a, b, bias, fused: fused, context)
            if fused { return }
            if addend == nil { bias = nil }
        }
        if let rest = addend ?? bias {
            guard case .tensor(let y)? = context.output(at: 0) else { return }
            context.append(.tensor(y), version: 0)
            context.append(.tensor(rest), version: 0)
            try runArithmetic(.add, context, context.inputCount - 2, context.inputCount - 1)
        }
        try applyPostOperations(postOperations, context)
    }

    private func scaled(_ c: RuntimeTensor, _ factor: Float, _ context: KernelContext) throws -> RuntimeTensor {
        guard c.elementType == .float32 else { throw KernelFailure("operands of different types") }
        let result = try context.temporary(.float32, c.shape)
        for index in 0..<c.count { result.floats[index] = c.floats[index] * factor }
        return result
    }

    private func multiply(
        _ problem: Problem, _ a: RuntimeTensor, _ b: RuntimeTensor?, _ bias: RuntimeTensor?, fused: Bool,
        _ context: KernelContext
    ) throws {
        // Rows of all matrices of a stack that meet one right side are rows of one product.
        var (shapeA, shapeB, shapeY) = (problem.a, problem.b, problem.stack + [problem.m, problem.n])
        if shapeB.dropLast(2).allSatisfy({ $0 == 1 }), !transA {
            shapeA = [shapeA.dropLast().reduce(1, *), problem.k]
            shapeB = Array(shapeB.suffix(2))
            shapeY = [shapeA[0], problem.n]
        } else if !problem.stack.isEmpty {
            let rank = problem.stack.count + 2
            shapeA = Array(repeating: 1, count: rank - shapeA.count) + shapeA
            shapeB = Array(repeating: 1, count: rank - shapeB.count) + shapeB
        }
        let entry = try prepare(shapeA, shapeB, shapeY, hasBias: bias != nil, fused: fused)
        let packed = try weights.pointer(
            b, version: context.version(1), stored: entry.stored, in: entry.weights, context)
        var operand: (gdnn_argument, UnsafeMutableRawPointer)?
        if fused {
            for (position, operation) in postOperations.enumerated() {
                guard case .add(let input) = operation else { continue }
                operand = (postOperandArgument(position), try context.plain(input).pointer)
            }
        }
        let y = try context.output(0, .float32, problem.result)
        var left = a.pointer
        if let rounding = entry.rounding {
            left = try context.temporary(.uint8, [rounding.layout.byteCount]).pointer
            try rounding.converter.run(a.pointer, left, context.arena)
        }
        let base = [(GDNN_ARG_SRC, left), (GDNN_ARG_WEIGHTS, packed), (GDNN_ARG_DST, y.pointer)]
        try entry.primitive.run(
            context.arena, base + (bias.map { [(GDNN_ARG_BIAS, $0.pointer)] } ?? []) + (operand.map { [$0] } ?? []))
    }

    private func prepare(_ a: [Int], _ b: [Int], _ y: [Int], hasBias: Bool, fused: Bool) throws -> Prepared {
        if let found = prepared.first(where: { $0.a == a && $0.b == b && $0.hasBias == hasBias && $0.fused == fused }) {
            return found
        }
        func matrix(_ shape: [Int], transposed: Bool, _ type: ElementType = .float32) throws -> MemoryDescriptor {
            guard transposed else { return try .strided(type, shape) }
            return try .strided(type, [shape[1], shape[0]], strides: [1, shape[1]])
        }
        let stored = try matrix(b, transposed: transB)
        let isPacked = weights.constantShape != nil
        let type: ElementType = isPacked && allowsBF16 ? .bfloat16 : .float32
        let left = try matrix(a, transposed: transA, type)
        let right = isPacked ? try MemoryDescriptor.any(type, transB ? [b[1], b[0]] : b) : stored
        let target = try MemoryDescriptor.strided(.float32, y)
        let bias =
            hasBias
            ? try MemoryDescriptor.strided(.float32, Array(repeating: 1, count: y.count - 1) + [y[y.count - 1]]) : nil
        var operations = fused ? postOperations : []
        if alpha != 1 { operations.insert(.activation(Activation(GDNN_LINEAR, alpha: alpha)), at: 0) }
        let made = try withAttributes(operations, operand: target) { attributes in
            try Primitive.make {
                gdnn_matmul($0, left.handle, right.handle, bias?.handle, target.handle, attributes)
            }
        }
        guard let made, let wanted = made.layout(GDNN_ARG_WEIGHTS) else {
            throw KernelFailure("oneDNN has no product for shapes \(a) and \(b)")
        }
        let entry = Prepared(
            a: a, b: b, hasBias: hasBias, fused: fused, primitive: made, stored: stored, weights: wanted,
            rounding: type == .float32
                ? nil : (try LayoutConverter(from: matrix(a, transposed: transA), to: left), left))
        if prepared.count >= 16 { prepared.removeFirst() }
        prepared.append(entry)
        return entry
    }

    // MARK: Other element types

    private func runGeneric(_ problem: Problem, _ context: KernelContext) throws {
        switch try context.input(0).elementType {
        case .float64: try multiplyGeneric(Double.self, problem, context)
        case .int32: try multiplyGeneric(Int32.self, problem, context)
        case .int64: try multiplyGeneric(Int64.self, problem, context)
        case .uint32: try multiplyGeneric(UInt32.self, problem, context)
        case .uint64: try multiplyGeneric(UInt64.self, problem, context)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private func multiplyGeneric<T: GenericNumber>(
        _ type: T.Type, _ problem: Problem, _ context: KernelContext
    ) throws {
        let elementType = try context.input(0).elementType
        let (a, b) = (try context.plain(0, elementType), try context.plain(1, elementType))
        let y = try context.output(0, elementType, problem.result)
        let (m, k, n) = (problem.m, problem.k, problem.n)
        let walk = Broadcast(
            [
                RuntimeTensor(elementType, Array(problem.a.dropLast(2)), buffer: a.buffer),
                RuntimeTensor(elementType, Array(problem.b.dropLast(2)), buffer: b.buffer),
            ], shape: problem.stack, layout: .rowMajor)
        let c = context.has(2) ? try context.plain(2, elementType) : nil
        let addend = try c.map { c -> (RuntimeTensor, Broadcast) in
            guard try Broadcast.shape([c.shape, problem.result]) == problem.result else {
                throw KernelFailure("C of shape \(c.shape) does not fit \(problem.result)")
            }
            return (c, Broadcast([c], shape: problem.result, layout: .rowMajor))
        }
        let (x, w, target) = (a.typed(T.self), b.typed(T.self), y.typed(T.self))
        let (stepM, stepK) = transA ? (1, m) : (k, 1)
        let (rowK, columnN) = transB ? (1, k) : (n, 1)
        let (alpha, beta) = (T(exactly: alpha) ?? 1, T(exactly: beta) ?? 1)
        Parallel.forEachRange(walk.count * m, grain: max(1, 8192 / max(1, k * n))) { range in
            for row in range {
                let offsets = walk.offsets(of: row / m)
                let from = x + (offsets[0] * m * k + row % m * stepM)
                let other = w + offsets[1] * k * n
                let out = target + row * n
                for j in 0..<n {
                    var sum: T = 0
                    for i in 0..<k { sum = sum.plus(from[i * stepK].times(other[i * rowK + j * columnN])) }
                    sum = sum.times(alpha)
                    if let addend {
                        let place = addend.1.offsets(of: row * n + j)[0]
                        sum = sum.plus(addend.0.typed(T.self)[place].times(beta))
                    }
                    out[j] = sum
                }
            }
        }
    }
}

/// Numbers with products and sums that wrap instead of trapping.
protocol GenericNumber: BitwiseCopyable, ExpressibleByIntegerLiteral {
    init?(exactly value: Float)
    func plus(_ other: Self) -> Self
    func times(_ other: Self) -> Self
}

extension GenericNumber where Self: FixedWidthInteger {
    @inline(__always) func plus(_ other: Self) -> Self { self &+ other }
    @inline(__always) func times(_ other: Self) -> Self { self &* other }
}
extension Double: GenericNumber {
    @inline(__always) func plus(_ other: Double) -> Double { self + other }
    @inline(__always) func times(_ other: Double) -> Double { self * other }
}
extension Int32: GenericNumber {}
extension Int64: GenericNumber {}
extension UInt32: GenericNumber {}
extension UInt64: GenericNumber {}

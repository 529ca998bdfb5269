import GraftCore
import GraftIR

/// QLinearMatMul of 8-bit floating-point numbers: sums in 64 bits, rounded once.
enum SmallFloatMatMul {
    /// Whether any of the tensors holds such numbers.
    static func applies(_ types: ElementType...) -> Bool { types.contains { SmallFloat($0) != nil } }

    /// Output 0 of the operands A, B and Y, each with its scale and zero point, A first and Y without a tensor.
    static func run(_ context: KernelContext) throws {
        func operand(_ tensor: Int, _ zero: Int) throws -> RuntimeTensor {
            let (x, point) = (try context.plain(tensor), try context.plain(zero))
            let numbers = try context.castAny(x, .float64)
            let points = try context.castAny(point, .float64)
            guard points.count == 1 || (0..<points.count).allSatisfy({ points.typed(Double.self)[$0] == 0 }) else {
                throw KernelFailure("zero points for each row or column of type \(point.elementType.name)")
            }
            let shift = points.count == 0 ? 0 : points.typed(Double.self)[0]
            guard shift != 0 else { return numbers }
            let result = try context.temporary(.float64, x.shape)
            for index in 0..<x.count {
                result.typed(Double.self)[index] = numbers.typed(Double.self)[index] - shift
            }
            return result
        }
        let (a, b) = (try operand(0, 2), try operand(3, 5))
        let problem = try IntegerProblem(a, b, transA: false, transB: false)
        let scaleA = try problem.rowValues(context.numbers(1))
        let scaleB = try problem.columnValues(context.numbers(4))
        let scaleY = try context.scale(6)
        let zeroY = try context.castAny(context.plain(7), .float32)
        guard zeroY.count == 1 else { throw KernelFailure("input 7 must hold one zero point, not \(zeroY.count)") }
        let type = try context.input(7).elementType
        let (m, n, k) = (problem.m, problem.n, problem.k)
        let sums = try context.temporary(.float32, problem.result)
        let (x, w, target) = (a.typed(Double.self), b.typed(Double.self), sums.floats)
        Parallel.forEachRange(problem.places.count * m, grain: max(1, 8192 / max(1, k * n))) { range in
            for row in range {
                let place = problem.places[row / m]
                let (from, other) = (x + (place.a * m + row % m) * k, w + place.b * k * n)
                for column in 0..<n {
                    var sum = 0.0
                    for index in 0..<k { sum += from[index] * other[index * n + column] }
                    target[row * n + column] = Float(sum) * (scaleA(row) * scaleB(row, column) / scaleY)
                }
            }
        }
        if let (low, high) = QuantizeKernels.range(type) {
            let rounded = Requantizer(zeroPoint: Int32(zeroY.floats[0]), lowest: low, highest: high)
            let y = try context.output(0, type, problem.result)
            for index in 0..<sums.count {
                y.typed(UInt8.self)[index] = UInt8(truncatingIfNeeded: rounded(target[index]))
            }
            return
        }
        if zeroY.floats[0] != 0 { for index in 0..<sums.count { target[index] += zeroY.floats[0] } }
        context.set(0, try context.encoded(sums, CastSettings(type)))
    }
}

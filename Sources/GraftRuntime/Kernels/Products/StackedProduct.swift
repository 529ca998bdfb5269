import COneDNN
import GraftCore

/// Products of stacks of matrices whose shapes are found while running: `Y[s] = A[s] B[s]`.
///
/// A is (stack, m, k) or, transposed, (stack, k, m); B is (stack, k, n) or (stack, n, k); all row-major.
final class StackedProduct {
    struct Shape: Equatable {
        let (stack, m, n, k): (Int, Int, Int, Int)
        let isATransposed: Bool
        let isBTransposed: Bool
    }

    private var prepared: [(shape: Shape, primitive: Primitive)] = []

    func run(_ shape: Shape, _ a: RuntimeTensor, _ b: RuntimeTensor, _ y: RuntimeTensor, _ arena: Arena) throws {
        guard y.count > 0 else { return }
        switch y.elementType {
        case .float32:
            // A product of small matrices costs oneDNN more than the numbers in it.
            if shape.k > 0, shape.m * shape.n * shape.k >= 512, let primitive = try primitive(shape) {
                try primitive.run(
                    arena, (GDNN_ARG_SRC, a.pointer), (GDNN_ARG_WEIGHTS, b.pointer), (GDNN_ARG_DST, y.pointer))
            } else {
                multiply(Float.self, shape, a, b, y)
            }
        case .float64: multiply(Double.self, shape, a, b, y)
        case .int8: multiply(Int8.self, shape, a, b, y)
        case .int16: multiply(Int16.self, shape, a, b, y)
        case .int32: multiply(Int32.self, shape, a, b, y)
        case .int64: multiply(Int64.self, shape, a, b, y)
        case .uint8: multiply(UInt8.self, shape, a, b, y)
        case .uint16: multiply(UInt16.self, shape, a, b, y)
        case .uint32: multiply(UInt32.self, shape, a, b, y)
        case .uint64: multiply(UInt64.self, shape, a, b, y)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private func primitive(_ shape: Shape) throws -> Primitive? {
        if let found = prepared.first(where: { $0.shape == shape }) { return found.primitive }
        func matrices(_ rows: Int, _ columns: Int, transposed: Bool) throws -> MemoryDescriptor {
            let strides = [rows * columns] + (transposed ? [1, rows] : [columns, 1])
            return shape.stack == 1
                ? try .strided(.float32, [rows, columns], strides: Array(strides[1...]))
                : try .strided(.float32, [shape.stack, rows, columns], strides: strides)
        }
        let left = try matrices(shape.m, shape.k, transposed: shape.isATransposed)
        let right = try matrices(shape.k, shape.n, transposed: shape.isBTransposed)
        let target = try matrices(shape.m, shape.n, transposed: false)
        let made = try withAttributes([], operand: nil) { attributes in
            try Primitive.make { gdnn_matmul($0, left.handle, right.handle, nil, target.handle, attributes) }
        }
        guard let made else { return nil }
        if prepared.count >= 16 { prepared.removeFirst() }
        prepared.append((shape, made))
        return made
    }

    private func multiply<T: RingElement>(
        _ type: T.Type, _ shape: Shape, _ a: RuntimeTensor, _ b: RuntimeTensor, _ y: RuntimeTensor
    ) {
        let (m, n, k) = (shape.m, shape.n, shape.k)
        let (left, right, target) = (a.typed(T.self), b.typed(T.self), y.typed(T.self))
        if m == 1, n == 1, k == 1 {
            Parallel.forEachRange(shape.stack, grain: 16384) { range in
                for index in range { target[index] = left[index].multiplied(right[index]) }
            }
            return
        }
        let (rowStep, step) = shape.isATransposed ? (1, m) : (k, 1)
        let isDot = shape.isBTransposed || n == 1
        Parallel.forEachRange(shape.stack * m, grain: max(1, 8192 / max(1, n * max(1, k)))) { range in
            for row in range {
                let from = left + (row / m * m * k + row % m * rowStep)
                let other = right + row / m * n * k
                let to = target + row * n
                if isDot {
                    for column in 0..<n {
                        var sum: T = 0
                        for index in 0..<k {
                            sum = sum.added(from[index * step].multiplied(other[column * k + index]))
                        }
                        to[column] = sum
                    }
                } else {
                    to.update(repeating: 0, count: n)
                    for index in 0..<k {
                        let (factor, line) = (from[index * step], other + index * n)
                        for column in 0..<n { to[column] = to[column].added(factor.multiplied(line[column])) }
                    }
                }
            }
        }
    }
}

/// Numbers with sums and products; those of integers wrap.
protocol RingElement: BitwiseCopyable, ExpressibleByIntegerLiteral {
    func added(_ other: Self) -> Self
    func multiplied(_ other: Self) -> Self
}

extension RingElement where Self: FixedWidthInteger {
    @inline(__always) func added(_ other: Self) -> Self { self &+ other }
    @inline(__always) func multiplied(_ other: Self) -> Self { self &* other }
}
extension RingElement where Self: FloatingPoint {
    @inline(__always) func added(_ other: Self) -> Self { self + other }
    @inline(__always) func multiplied(_ other: Self) -> Self { self * other }
}
extension Float: RingElement {}
extension Double: RingElement {}
extension Int8: RingElement {}
extension Int16: RingElement {}
extension Int32: RingElement {}
extension Int64: RingElement {}
extension UInt8: RingElement {}
extension UInt16: RingElement {}
extension UInt32: RingElement {}
extension UInt64: RingElement {}

import COneDNN
import GraftCore

/// Products of rows with a matrix of gate weights: `rows x columns'`, the weights stored by column of the result.
///
/// Numbers of 32 bits go through oneDNN with weights packed once a run, or once for weights that do not change.
final class GateProduct {
    private var primitives: [(rows: Int, k: Int, n: Int, primitive: Primitive)] = []
    private let packed = PackedWeights()

    /// Makes the product of a weight ready: of shape (n, k), or (k, n) where it is stored by rows.
    ///
    /// - Returns: a function from `rows` rows of k elements to rows of n elements.
    func prepare<T: RealNumber>(
        _ weight: RuntimeTensor, byRow: Bool = false, version: Int?, rows: Int, as type: T.Type,
        _ context: KernelContext
    ) throws -> (UnsafePointer<T>, UnsafeMutablePointer<T>) throws -> Void {
        let (n, k) = byRow ? (weight.shape[1], weight.shape[0]) : (weight.shape[0], weight.shape[1])
        guard weight.elementType == .float32, n > 0, k > 0, rows > 0 else {
            let stored = weight.typed(T.self)
            return { from, to in Self.multiply(from, stored, to, rows: rows, k: k, n: n, byRow: byRow) }
        }
        let primitive = try primitive(rows, k, n)
        guard let wanted = primitive.layout(GDNN_ARG_WEIGHTS) else { throw KernelFailure("oneDNN lacks a layout") }
        let pointer = try packed.dynamic(
            weight, layout: .strided(.float32, [k, n], strides: byRow ? [n, 1] : [1, k]), version: version, in: wanted,
            context)
        let arena = context.arena
        return { from, to in
            try primitive.run(
                arena, (GDNN_ARG_SRC, UnsafeMutableRawPointer(mutating: from)), (GDNN_ARG_WEIGHTS, pointer),
                (GDNN_ARG_DST, UnsafeMutableRawPointer(to)))
        }
    }

    private func primitive(_ rows: Int, _ k: Int, _ n: Int) throws -> Primitive {
        if let found = primitives.first(where: { $0.rows == rows && $0.k == k && $0.n == n }) {
            return found.primitive
        }
        let source = try MemoryDescriptor.strided(.float32, [rows, k])
        let weights = try MemoryDescriptor.any(.float32, [k, n])
        let target = try MemoryDescriptor.strided(.float32, [rows, n])
        let made = try withAttributes([], operand: nil) { attributes in
            try Primitive.make { gdnn_matmul($0, source.handle, weights.handle, nil, target.handle, attributes) }
        }
        guard let made else { throw KernelFailure("oneDNN has no product of \(rows) x \(k) and \(k) x \(n) matrices") }
        if primitives.count >= 16 { primitives.removeFirst() }
        primitives.append((rows, k, n, made))
        return made
    }

    private static func multiply<T: RealNumber>(
        _ from: UnsafePointer<T>, _ weight: UnsafePointer<T>, _ to: UnsafeMutablePointer<T>, rows: Int, k: Int, n: Int,
        byRow: Bool
    ) {
        Parallel.forEachRange(rows * n, grain: max(1, 8192 / max(1, k))) { range in
            for index in range {
                let (a, b) = (from + index / n * k, weight + index % n * (byRow ? 1 : k))
                let step = byRow ? n : 1
                var sum: T = 0
                for inner in 0..<k { sum += a[inner] * b[inner * step] }
                to[index] = sum
            }
        }
    }
}

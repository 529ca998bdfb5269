import GraftCore
import GraftIR

/// Det.
enum DeterminantKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("Det", widens: true) { context in
                switch try context.input(0).elementType {
                case .float32: try determinants(Float.self, context)
                case .float64: try determinants(Double.self, context)
                case let type: throw KernelFailure("elements of type \(type.name)")
                }
            }
        ]
    }

    private static func determinants<T: BinaryFloatingPoint & BitwiseCopyable>(
        _ type: T.Type, _ context: KernelContext
    ) throws {
        let x = try context.plain(0)
        guard x.rank >= 2, let size = x.shape.last, x.shape[x.rank - 2] == size else {
            throw KernelFailure("a shape of \(x.shape) is no stack of square matrices")
        }
        let y = try context.output(0, x.elementType, Array(x.shape.dropLast(2)))
        let (source, target, area) = (x.typed(T.self), y.typed(T.self), size * size)
        Parallel.forEachRange(y.count, grain: max(1, 4096 / max(1, area * size))) { range in
            let scratch = UnsafeMutablePointer<Double>.allocate(capacity: area)
            defer { scratch.deallocate() }
            for matrix in range {
                for index in 0..<area { scratch[index] = Double(source[matrix * area + index]) }
                target[matrix] = T(determinant(scratch, size))
            }
        }
    }

    /// The determinant of a matrix by elimination with row pivots; the matrix is overwritten.
    private static func determinant(_ a: UnsafeMutablePointer<Double>, _ size: Int) -> Double {
        var result = 1.0
        for column in 0..<size {
            var pivot = column
            for row in column..<size where abs(a[row * size + column]) > abs(a[pivot * size + column]) { pivot = row }
            let value = a[pivot * size + column]
            if value == 0 { return 0 }
            if pivot != column {
                result = -result
                for index in column..<size {
                    (a[pivot * size + index], a[column * size + index]) =
                        (a[column * size + index], a[pivot * size + index])
                }
            }
            result *= value
            for row in (column + 1)..<max(column + 1, size) {
                let factor = a[row * size + column] / value
                if factor == 0 { continue }
                for index in column..<size { a[row * size + index] -= factor * a[column * size + index] }
            }
        }
        return result
    }
}

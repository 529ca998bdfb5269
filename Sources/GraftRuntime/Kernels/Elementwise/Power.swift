import GraftCore
import GraftIR

/// Pow.
enum PowerKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [.function("Pow", prepare: { LegacyAxis($0) }, run: { try powerKernel($1, $0) })]
    }

    private static func powerKernel(_ context: KernelContext, _ axis: LegacyAxis?) throws {
        if let axis { try axis.align(context) }
        let type = try context.input(0).elementType
        let exponentType = try context.input(1).elementType
        // The exponent may have another type; products of whole numbers stay exact up to 2^53.
        if type == .float32, exponentType == .float32 {
            if try context.input(1).count == 1 {
                let exponent = try context.numbers(1)[0]
                let (shape, layout) = (try context.input(0).shape, try context.input(0).layout)
                guard try Broadcast.shape([shape, context.input(1).shape]) == shape else {
                    return try runPower(context)
                }
                let y = try context.output(0, .float32, shape, layout: layout)
                let (source, target) = (try context.input(0).floats, y.floats)
                Parallel.forEachRange(y.count, grain: 8192) { range in
                    switch exponent {
                    case 2: for index in range { target[index] = source[index] * source[index] }
                    case 3: for index in range { target[index] = source[index] * source[index] * source[index] }
                    case 0.5: for index in range { target[index] = source[index].squareRoot() }
                    case -1: for index in range { target[index] = 1 / source[index] }
                    default: for index in range { target[index] = power(source[index], exponent) }
                    }
                }
                return
            }
            try runPower(context)
            return
        }
        let base = try context.cast(context.input(0), .float64)
        context.replaceInput(0, base)
        context.replaceInput(1, try context.cast(context.input(1), .float64))
        let (tensors, walk) = try context.broadcast([0, 1])
        let result = try context.temporary(.float64, walk.shape, layout: walk.layout)
        combine(
            walk, UnsafePointer(tensors[0].typed(Double.self)), UnsafePointer(tensors[1].typed(Double.self)),
            result.typed(Double.self)
        ) { power($0, $1) }
        context.set(0, try context.cast(result, type))
    }

    private static func runPower(_ context: KernelContext) throws {
        let (tensors, walk) = try context.broadcast([0, 1])
        let y = try context.output(0, .float32, walk.shape, layout: walk.layout)
        combine(walk, UnsafePointer(tensors[0].floats), UnsafePointer(tensors[1].floats), y.floats) { power($0, $1) }
    }
}

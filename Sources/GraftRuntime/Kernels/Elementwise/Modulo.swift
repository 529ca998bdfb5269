import GraftCore
import GraftIR

/// Mod.
enum ModuloKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [.function("Mod", prepare: { $0.attributes.int("fmod") ?? 0 != 0 }, run: { try modulo($1, truncates: $0) })]
    }

    private static func modulo(_ context: KernelContext, truncates: Bool) throws {
        switch try context.input(0).elementType {
        case .float32: try moduloFloating(Float.self, context, truncates)
        case .float64: try moduloFloating(Double.self, context, truncates)
        case .float16, .bfloat16:
            let type = try context.input(0).elementType
            context.replaceInput(0, try context.cast(context.input(0), .float32))
            context.replaceInput(1, try context.cast(context.input(1), .float32))
            try moduloFloating(Float.self, context, truncates)
            if case .tensor(let y)? = context.output(at: 0) { context.set(0, try context.cast(y, type)) }
        case .int8: try moduloInteger(Int8.self, context, truncates)
        case .int16: try moduloInteger(Int16.self, context, truncates)
        case .int32: try moduloInteger(Int32.self, context, truncates)
        case .int64: try moduloInteger(Int64.self, context, truncates)
        case .uint8: try moduloInteger(UInt8.self, context, truncates)
        case .uint16: try moduloInteger(UInt16.self, context, truncates)
        case .uint32: try moduloInteger(UInt32.self, context, truncates)
        case .uint64: try moduloInteger(UInt64.self, context, truncates)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static func moduloFloating<T: BinaryFloatingPoint & TensorElement>(
        _ type: T.Type, _ context: KernelContext, _ truncates: Bool
    ) throws {
        if truncates { return try modulo(T.self, context) { $0.truncatingRemainder(dividingBy: $1) } }
        try modulo(T.self, context) { a, b in
            let remainder = a.truncatingRemainder(dividingBy: b)
            // A zero takes the sign of the divisor, as in Python.
            if remainder == 0 { return T(signOf: b, magnitudeOf: 0) }
            return (remainder < 0) != (b < 0) ? remainder + b : remainder
        }
    }

    private static func moduloInteger<T: FixedWidthInteger & TensorElement>(
        _ type: T.Type, _ context: KernelContext, _ truncates: Bool
    ) throws {
        try modulo(T.self, context) { a, b in
            guard b != 0 else { return 0 }
            let remainder = a.remainderReportingOverflow(dividingBy: b).partialValue
            // Python's remainder has the sign of the divisor.
            return !truncates && remainder != 0 && (remainder < 0) != (b < 0) ? remainder &+ b : remainder
        }
    }

    @inline(__always)
    private static func modulo<T: TensorElement>(
        _ type: T.Type, _ context: KernelContext, _ function: (T, T) -> T
    ) throws {
        let (tensors, walk) = try context.broadcast([0, 1])
        guard tensors[1].elementType == tensors[0].elementType else {
            throw KernelFailure("operands of different types")
        }
        let y = try context.output(0, T.elementType, walk.shape, layout: walk.layout)
        combine(
            walk, UnsafePointer(tensors[0].typed(T.self)), UnsafePointer(tensors[1].typed(T.self)), y.typed(T.self),
            function)
    }
}

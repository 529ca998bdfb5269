import CNumerics
import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Element-wise operators of com.microsoft on bytes with a scale and a zero point.
enum QuantizedElementwiseKernels: KernelFamily {
    private static let domain = "com.microsoft"

    static var definitions: [KernelDefinition] {
        [
            // What each byte becomes: the input, and 256 bytes by the bits of the input's.
            .function("ByteTable", domain: graftDomain) { context in
                let (x, table) = (try context.input(0), try context.plain(1))
                guard table.count == 256, table.elementType.byteWidth == 1, x.elementType.byteWidth == 1 else {
                    throw KernelFailure("a table of \(table.count) \(table.elementType.name)")
                }
                let y = try context.output(0, table.elementType, x.shape, layout: x.layout)
                ByteLookup.run(x, table.typed(UInt8.self), y)
            },
            .function("QLinearAdd", domain: domain) { try binary($0, isProduct: false) },
            .function("QLinearMul", domain: domain) { try binary($0, isProduct: true) },
            .function("QLinearSigmoid", domain: domain) { try unary($0) { 1 / (1 + expf(-$0)) } },
            .function(
                "QLinearLeakyRelu", domain: domain, prepare: { $0.attributes.float("alpha") ?? 0.01 },
                run: { alpha, context in try unary(context) { $0 < 0 ? alpha * $0 : $0 } }),
            .function("QLinearWhere", domain: domain) { context in
                let result = try context.byteScale(7, 8)
                let type = try context.input(8).elementType
                for (value, scale) in [(1, try context.byteScale(2, 3)), (4, try context.byteScale(5, 6))] {
                    context.replaceInput(
                        value == 1 ? 1 : 2,
                        try context.mapped(context.input(value), scale, result, type) { $0 })
                }
                try ComparisonKernels.select(context)
            },
            .function(
                "QLinearConcat", domain: domain, prepare: { $0.attributes.int("axis") ?? 0 },
                run: { try concat($1, axis: $0) }),
        ]
    }

    /// `f(X)` of the inputs X, its scale and zero point, and the scale and zero point of the result.
    private static func unary(_ context: KernelContext, _ function: (Float) -> Float) throws {
        let x = try context.input(0)
        context.set(
            0,
            try context.mapped(
                x, context.byteScale(1, 2), context.byteScale(3, 4), x.elementType, function))
    }

    /// The sum or product of the inputs A and B, each with scale and zero point, and the scale and zero point of the
    /// result.
    private static func binary(_ context: KernelContext, isProduct: Bool) throws {
        switch try context.input(0).elementType {
        case .uint8: try binary(UInt8.self, .uint8, context, isProduct: isProduct)
        case .int8: try binary(Int8.self, .int8, context, isProduct: isProduct)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static func binary<T: QuantizedByte>(
        _ byte: T.Type, _ type: ElementType, _ context: KernelContext, isProduct: Bool
    ) throws {
        guard try context.input(3).elementType == type else { throw KernelFailure("operands of different types") }
        let (left, right, result) = (
            try context.byteScale(1, 2), try context.byteScale(4, 5), try context.byteScale(6, 7)
        )
        let (tensors, walk) = try context.broadcast([0, 3])
        let y = try context.output(0, type, walk.shape, layout: walk.layout)
        let rounded = Requantizer(zeroPoint: result.zeroPoint, T.self)
        let (scaleA, scaleB) =
            isProduct
            ? (left.scale * right.scale / result.scale, 1) : (left.scale / result.scale, right.scale / result.scale)
        let (stepA, stepB) = (walk.innerStride(0), walk.innerStride(1))
        if stepA <= 1, stepB <= 1, stepA + stepB > 0 {
            let (a, b) = (tensors[0].pointer, tensors[1].pointer)
            let target = y.typed(UInt8.self)
            let run = isProduct ? cintegers_scale : cintegers_add
            walk.forEachRun { position, offsetA, offsetB, count in
                run(
                    cintegers_operand(bytes: a + offsetA, step: stepA, zero: left.zeroPoint, scale: scaleA),
                    cintegers_operand(bytes: b + offsetB, step: stepB, zero: right.zeroPoint, scale: scaleB),
                    T.isSigned ? 1 : 0, rounded.low, rounded.high, result.zeroPoint, target + position, count)
            }
            return
        }
        let (a, b) = (UnsafePointer(tensors[0].typed(T.self)), UnsafePointer(tensors[1].typed(T.self)))
        let target = y.typed(T.self)
        let (zeroA, zeroB) = (left.zeroPoint, right.zeroPoint)
        if isProduct {
            combine(walk, a, b, target) {
                T(truncatingIfNeeded: rounded(Float((Int32($0) &- zeroA) &* (Int32($1) &- zeroB)) * scaleA))
            }
        } else {
            combine(walk, a, b, target) {
                T(
                    truncatingIfNeeded: rounded(
                        Float(Int32($0) &- zeroA) * scaleA + Float(Int32($1) &- zeroB) * scaleB))
            }
        }
    }

    /// Inputs: scale and zero point of the result, then each tensor with its scale and zero point.
    private static func concat(_ context: KernelContext, axis givenAxis: Int) throws {
        let result = try context.byteScale(0, 1)
        let type = try context.input(1).elementType
        guard context.inputCount >= 5, context.inputCount % 3 == 2 else {
            throw KernelFailure("\(context.inputCount) inputs")
        }
        let tensors = try stride(from: 2, to: context.inputCount, by: 3).map { index -> RuntimeTensor in
            let x = try context.plain(index)
            if x.elementType == .float32 { return try context.quantized(x, result, type) }
            return try context.mapped(x, context.byteScale(index + 1, index + 2), result, type) { $0 }
        }
        let axis = try normalizedAxis(givenAxis, rank: tensors[0].rank)
        guard tensors[0].rank > 0 else { throw KernelFailure("scalars cannot be joined") }
        var shape = tensors[0].shape
        shape[axis] = 0
        for tensor in tensors {
            var other = tensor.shape
            guard other.count == shape.count else { throw KernelFailure("the inputs differ in rank") }
            shape[axis] += other[axis]
            other[axis] = shape[axis]
            guard other == shape else { throw KernelFailure("the inputs differ outside the axis \(axis)") }
        }
        let y = try context.output(0, type, shape)
        let (outer, length, inner) = y.around(axis)
        var start = 0
        for tensor in tensors where tensor.count > 0 {
            let block = tensor.shape[axis] * inner
            try copyStrided(
                width: 1, shape: [outer, block], from: tensor.pointer, StridedView(strides: [block, 1]),
                to: y.pointer, StridedView(offset: start * inner, strides: [length * inner, 1]))
            start += tensor.shape[axis]
        }
    }
}

import GraftCore
import GraftIR

/// BitShift, BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot and BitCast.
enum BitwiseKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "BitShift",
                prepare: { node -> Operation in
                    switch node.attributes.string("direction") {
                    case "LEFT": return .left
                    case "RIGHT": return .right
                    default: throw KernelFailure("the attribute \"direction\" must be LEFT or RIGHT")
                    }
                }, run: { try run($0, $1) }),
            .function("BitwiseAnd") { try run(.and, $0) },
            .function("BitwiseOr") { try run(.or, $0) },
            .function("BitwiseXor") { try run(.xor, $0) },
            .function("BitwiseNot") { context in
                let x = try context.input(0)
                guard x.elementType.isInteger, x.elementType.byteWidth > 0 else {
                    throw KernelFailure("elements of type \(x.elementType.name)")
                }
                let y = try context.output(0, x.elementType, x.shape, layout: x.layout)
                let (source, target) = (x.typed(UInt8.self), y.typed(UInt8.self))
                Parallel.forEachRange(x.byteCount, grain: 65536) { range in
                    for index in range { target[index] = ~source[index] }
                }
            },
            .function(
                "BitCast",
                prepare: { node -> ElementType in
                    guard let type = try node.elementTypeAttribute("to"), type != .string else {
                        throw KernelFailure("the attribute \"to\" is missing or names texts")
                    }
                    return type
                },
                run: { type, context in
                    let x = try context.input(0)
                    guard x.elementType.bitWidth == type.bitWidth else {
                        throw KernelFailure("\(x.elementType.name) has another width than \(type.name)")
                    }
                    context.set(
                        0, RuntimeTensor(type, x.shape, layout: x.layout, buffer: x.buffer, offset: x.offset))
                }),
        ]
    }

    private enum Operation: Sendable { case left, right, and, or, xor }

    private static func run(_ operation: Operation, _ context: KernelContext) throws {
        let type = try context.input(0).elementType
        guard try context.input(1).elementType == type else { throw KernelFailure("operands of different types") }
        switch type {
        case .int8: try run(Int8.self, operation, context)
        case .int16: try run(Int16.self, operation, context)
        case .int32: try run(Int32.self, operation, context)
        case .int64: try run(Int64.self, operation, context)
        case .uint8: try run(UInt8.self, operation, context)
        case .uint16: try run(UInt16.self, operation, context)
        case .uint32: try run(UInt32.self, operation, context)
        case .uint64: try run(UInt64.self, operation, context)
        default: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static func run<T: FixedWidthInteger & TensorElement>(
        _ type: T.Type, _ operation: Operation, _ context: KernelContext
    ) throws {
        let (tensors, walk) = try context.broadcast([0, 1])
        let y = try context.output(0, T.elementType, walk.shape, layout: walk.layout).typed(T.self)
        let (a, b) = (UnsafePointer(tensors[0].typed(T.self)), UnsafePointer(tensors[1].typed(T.self)))
        // A shift by less than nothing or by the width and more leaves what fills the other side: signs or zeros.
        let width = T(T.bitWidth)
        switch operation {
        case .left: combine(walk, a, b, y) { $1 < 0 || $1 >= width ? 0 : $0 &<< $1 }
        case .right:
            combine(walk, a, b, y) { $1 < 0 || $1 >= width ? ($0 < 0 ? 0 &- 1 : 0) : $0 &>> $1 }
        case .and: combine(walk, a, b, y) { $0 & $1 }
        case .or: combine(walk, a, b, y) { $0 | $1 }
        case .xor: combine(walk, a, b, y) { $0 ^ $1 }
        }
    }
}

import CNumerics
import GraftCore
import GraftIR

/// Add, Sub, Mul, Div, Pow, Mod, Min, Max, Sum, Mean and the bitwise operators, with broadcasting.
enum ArithmeticKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            binary("Add", .add), binary("Sub", .subtract), binary("Mul", .multiply), binary("Div", .divide),
            variadic("Max", .maximum), variadic("Min", .minimum), variadic("Sum", .add),
            variadic("Mean", .add, isMean: true),
        ]
    }

    private static func binary(_ type: String, _ operation: ArithmeticOperation) -> KernelDefinition {
        .function(
            type, widens: true, prepare: { LegacyAxis($0) },
            run: { axis, context in
                if let axis { try axis.align(context) }
                try runArithmetic(operation, context, 0, 1)
            })
    }

    private static func variadic(
        _ type: String, _ operation: ArithmeticOperation, isMean: Bool = false
    ) -> KernelDefinition {
        .function(type, widens: true) { context in
            let count = context.inputCount
            guard count > 0 else { throw KernelFailure("there are no inputs") }
            if count == 1 {
                context.set(0, try context.input(0))
                return
            }
            for index in 1..<count {
                try runArithmetic(operation, context, 0, index)
                if index < count - 1, case .tensor(let partial)? = context.output(at: 0) {
                    context.replaceInput(0, partial)
                }
            }
            if isMean, case .tensor(let sum)? = context.output(at: 0) {
                switch sum.elementType {
                case .float32: divide(sum.floats, sum.count, by: Float(count))
                case .float64: divide(sum.typed(Double.self), sum.count, by: Double(count))
                case let type: throw KernelFailure("the mean of \(type.name)")
                }
            }
        }
    }
}

/// Divides numbers in place.
private func divide<T: BinaryFloatingPoint & BitwiseCopyable>(
    _ values: UnsafeMutablePointer<T>, _ count: Int, by divisor: T
) {
    Parallel.forEachRange(count, grain: 16384) { range in
        for index in range { values[index] /= divisor }
    }
}

/// The `axis` and `broadcast` attributes that binary operators had before opset 7.
struct LegacyAxis: Sendable {
    let axis: Int?

    init?(_ node: KernelNode) {
        guard node.opset < 7, node.attributes.int("broadcast") ?? 0 != 0 else { return nil }
        axis = node.attributes.int("axis")
    }

    /// Gives the second operand the trailing axes that make NumPy's rules do the same.
    func align(_ context: KernelContext) throws {
        guard let axis else { return }
        let (a, b) = (try context.input(0), try context.plain(1))
        let start = axis < 0 ? axis + a.rank : axis
        let trailing = a.rank - start - b.rank
        guard start >= 0, trailing >= 0 else { throw KernelFailure("the axis \(axis) does not fit") }
        context.replaceInput(1, b.viewed(b.shape + Array(repeating: 1, count: trailing)))
    }
}

/// A function of two numbers of one type.
enum ArithmeticOperation: Sendable {
    case add, subtract, multiply, divide, maximum, minimum

    var native: celementwise_operation {
        switch self {
        case .add: CELEMENTWISE_ADD
        case .subtract: CELEMENTWISE_SUBTRACT
        case .multiply: CELEMENTWISE_MULTIPLY
        case .divide: CELEMENTWISE_DIVIDE
        case .maximum: CELEMENTWISE_MAXIMUM
        case .minimum: CELEMENTWISE_MINIMUM
        }
    }
}

/// Computes output 0 from two inputs.
func runArithmetic(_ operation: ArithmeticOperation, _ context: KernelContext, _ first: Int, _ second: Int) throws {
    if try runOnBlocks(operation, context, first, second) { return }
    let type = try context.input(first).elementType
    guard try context.input(second).elementType == type else {
        let other = try context.input(second).elementType
        throw KernelFailure("operands of types \(type.name) and \(other.name)")
    }
    switch type {
    case .float32: try runFloats(operation, context, first, second)
    case .float64: try runFloating(Double.self, operation, context, first, second)
    case .int8: try runInteger(Int8.self, operation, context, first, second)
    case .int16: try runInteger(Int16.self, operation, context, first, second)
    case .int32: try runInteger(Int32.self, operation, context, first, second)
    case .int64: try runInteger(Int64.self, operation, context, first, second)
    case .uint8: try runInteger(UInt8.self, operation, context, first, second)
    case .uint16: try runInteger(UInt16.self, operation, context, first, second)
    case .uint32: try runInteger(UInt32.self, operation, context, first, second)
    case .uint64: try runInteger(UInt64.self, operation, context, first, second)
    default: throw KernelFailure("elements of type \(type.name)")
    }
}

/// Prepares operands and a result that may take the memory of either operand.
private func withOperands<T: BitwiseCopyable>(
    _ type: T.Type, _ context: KernelContext, _ first: Int, _ second: Int,
    _ body: (Broadcast, UnsafePointer<T>, UnsafePointer<T>, UnsafeMutablePointer<T>) -> Void
) throws {
    let elementType = try context.input(first).elementType
    let walk: Broadcast
    let reusable: Int?
    let pointers: (UnsafePointer<T>, UnsafePointer<T>)
    do {
        let (tensors, described) = try context.broadcast([first, second])
        walk = described
        pointers = (UnsafePointer(tensors[0].typed(T.self)), UnsafePointer(tensors[1].typed(T.self)))
        // The walk reads and writes position by position, so a full-size operand may be overwritten.
        let isFull = [first, second].enumerated().map { index, input in
            tensors[index].count == walk.count && tensors[index].rank == walk.shape.count
                && (try? context.input(input).layout) == walk.layout
        }
        reusable = isFull[0] ? first : isFull[1] ? second : nil
    }
    let result =
        if let reusable {
            try context.output(0, reusing: reusable, elementType, walk.shape, layout: walk.layout)
        } else {
            try context.output(0, elementType, walk.shape, layout: walk.layout)
        }
    body(walk, pointers.0, pointers.1, result.typed(T.self))
}

private func runFloats(
    _ operation: ArithmeticOperation, _ context: KernelContext, _ first: Int, _ second: Int
) throws {
    try withOperands(Float.self, context, first, second) { walk, a, b, target in
        let (strideA, strideB) = (walk.innerStride(0), walk.innerStride(1))
        guard strideA | strideB == 1 else {
            combineFloating(operation, walk, a, b, target)
            return
        }
        let native = operation.native
        // The lines of an operand that is overwritten are read anyway.
        let isInPlace = a == UnsafePointer(target) || b == UnsafePointer(target)
        let streams = !isInPlace && Streaming.isWorthwhile(walk.count * MemoryLayout<Float>.size)
        walk.forEachRun(streams: streams) { position, offsetA, offsetB, count in
            celementwise_binary(
                native, a + offsetA, Int32(strideA), b + offsetB, Int32(strideB), target + position, count,
                streams ? 1 : 0)
        }
    }
}

private func runFloating<T: BinaryFloatingPoint & BitwiseCopyable>(
    _ type: T.Type, _ operation: ArithmeticOperation, _ context: KernelContext, _ first: Int, _ second: Int
) throws {
    try withOperands(T.self, context, first, second) { walk, a, b, target in
        combineFloating(operation, walk, a, b, target)
    }
}

private func combineFloating<T: BinaryFloatingPoint & BitwiseCopyable>(
    _ operation: ArithmeticOperation, _ walk: Broadcast, _ a: UnsafePointer<T>, _ b: UnsafePointer<T>,
    _ target: UnsafeMutablePointer<T>
) {
    switch operation {
    case .add: combine(walk, a, b, target) { $0 + $1 }
    case .subtract: combine(walk, a, b, target) { $0 - $1 }
    case .multiply: combine(walk, a, b, target) { $0 * $1 }
    case .divide: combine(walk, a, b, target) { $0 / $1 }
    case .maximum: combine(walk, a, b, target) { $0 > $1 || $0.isNaN ? $0 : $1 }
    case .minimum: combine(walk, a, b, target) { $0 < $1 || $0.isNaN ? $0 : $1 }
    }
}

private func runInteger<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, _ operation: ArithmeticOperation, _ context: KernelContext, _ first: Int, _ second: Int
) throws {
    try withOperands(T.self, context, first, second) { walk, a, b, target in
        switch operation {
        case .add: combine(walk, a, b, target) { $0 &+ $1 }
        case .subtract: combine(walk, a, b, target) { $0 &- $1 }
        case .multiply: combine(walk, a, b, target) { $0 &* $1 }
        case .divide:
            // Division by zero is undefined in ONNX; the quotient that overflows wraps.
            combine(walk, a, b, target) { $1 == 0 ? 0 : $0.dividedReportingOverflow(by: $1).partialValue }
        case .maximum: combine(walk, a, b, target) { max($0, $1) }
        case .minimum: combine(walk, a, b, target) { min($0, $1) }
        }
    }
}

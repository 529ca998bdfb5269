import GraftCore
import GraftIR

/// Comparisons, logical operators and Where.
enum ComparisonKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            compare("Equal", .equal), compare("Less", .less), compare("Greater", .greater),
            compare("LessOrEqual", .lessOrEqual), compare("GreaterOrEqual", .greaterOrEqual),
            logical("And", .and), logical("Or", .or), logical("Xor", .xor),
            .function("Not") { context in
                let x = try context.input(0)
                guard x.elementType == .bool else { throw KernelFailure("elements of type \(x.elementType.name)") }
                let y = try context.output(0, .bool, x.shape, layout: x.layout)
                let (source, target) = (x.typed(UInt8.self), y.typed(UInt8.self))
                Parallel.forEachRange(x.count, grain: 65536) { range in
                    for index in range { target[index] = source[index] == 0 ? 1 : 0 }
                }
            },
            .function("Where") { try select($0) },
        ]
    }

    private enum Relation: Sendable { case equal, less, greater, lessOrEqual, greaterOrEqual }
    private enum Logic: Sendable { case and, or, xor }

    private static func compare(_ type: String, _ relation: Relation) -> KernelDefinition {
        .function(
            type, widens: true, prepare: { LegacyAxis($0) },
            run: { axis, context in
                if let axis { try axis.align(context) }
                if case .strings = try context.value(0) {
                    try compareStrings(context)
                    return
                }
                switch try context.input(0).elementType {
                case .float32: try compare(Float.self, relation, context)
                case .float64: try compare(Double.self, relation, context)
                case .int8: try compare(Int8.self, relation, context)
                case .int16: try compare(Int16.self, relation, context)
                case .int32: try compare(Int32.self, relation, context)
                case .int64: try compare(Int64.self, relation, context)
                case .uint8, .bool: try compare(UInt8.self, relation, context)
                case .uint16: try compare(UInt16.self, relation, context)
                case .uint32: try compare(UInt32.self, relation, context)
                case .uint64: try compare(UInt64.self, relation, context)
                case let type: throw KernelFailure("elements of type \(type.name)")
                }
            })
    }

    private static func compare<T: Comparable & BitwiseCopyable>(
        _ type: T.Type, _ relation: Relation, _ context: KernelContext
    ) throws {
        guard try context.input(0).elementType == context.input(1).elementType else {
            throw KernelFailure("operands of different types")
        }
        let (tensors, walk) = try context.broadcast([0, 1])
        let y = try context.output(0, .bool, walk.shape, layout: walk.layout)
        let (a, b) = (UnsafePointer(tensors[0].typed(T.self)), UnsafePointer(tensors[1].typed(T.self)))
        let target = y.typed(UInt8.self)
        switch relation {
        case .equal: combine(walk, a, b, target, Equal<T>.self)
        case .less: combine(walk, a, b, target, Less<T>.self)
        case .greater: combine(walk, a, b, target, Greater<T>.self)
        case .lessOrEqual: combine(walk, a, b, target, LessOrEqual<T>.self)
        case .greaterOrEqual: combine(walk, a, b, target, GreaterOrEqual<T>.self)
        }
    }

    private static func compareStrings(_ context: KernelContext) throws {
        guard case .strings(let a) = try context.value(0), case .strings(let b) = try context.value(1) else {
            throw KernelFailure("operands of different types")
        }
        let shape = try Broadcast.shape([a.shape, b.shape])
        let y = try context.output(0, .bool, shape)
        let index = try context.temporary(.uint8, [1])
        let walk = Broadcast(
            [
                RuntimeTensor(.uint8, a.shape, buffer: index.buffer),
                RuntimeTensor(.uint8, b.shape, buffer: index.buffer),
            ], shape: shape, layout: .rowMajor)
        for position in 0..<walk.count {
            let offsets = walk.offsets(of: position)
            y.typed(UInt8.self)[position] = a.elements[offsets[0]] == b.elements[offsets[1]] ? 1 : 0
        }
    }

    private static func logical(_ type: String, _ logic: Logic) -> KernelDefinition {
        .function(
            type, prepare: { LegacyAxis($0) },
            run: { axis, context in
                if let axis { try axis.align(context) }
                guard try context.input(0).elementType == .bool, try context.input(1).elementType == .bool else {
                    throw KernelFailure("operands that are not truth values")
                }
                let (tensors, walk) = try context.broadcast([0, 1])
                let y = try context.output(0, .bool, walk.shape, layout: walk.layout)
                let (a, b) = (
                    UnsafePointer(tensors[0].typed(UInt8.self)), UnsafePointer(tensors[1].typed(UInt8.self))
                )
                switch logic {
                case .and: combine(walk, a, b, y.typed(UInt8.self), And.self)
                case .or: combine(walk, a, b, y.typed(UInt8.self), Or.self)
                case .xor: combine(walk, a, b, y.typed(UInt8.self), Xor.self)
                }
            })
    }

    static func select(_ context: KernelContext) throws {
        if case .strings = try context.value(1) {
            try selectStrings(context)
            return
        }
        let type = try context.input(1).elementType
        guard try context.input(0).elementType == .bool, try context.input(2).elementType == type else {
            throw KernelFailure("operands of types that do not go together")
        }
        let (tensors, walk) = try context.broadcast([0, 1, 2])
        let y = try context.output(0, type, walk.shape, layout: walk.layout)
        switch type.byteWidth {
        case 1: select(UInt8.self, tensors, walk, y)
        case 2: select(UInt16.self, tensors, walk, y)
        case 4: select(UInt32.self, tensors, walk, y)
        case 8: select(UInt64.self, tensors, walk, y)
        case 16: select(SIMD2<UInt64>.self, tensors, walk, y)
        default: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static func select<T: BitwiseCopyable>(
        _ type: T.Type, _ tensors: [RuntimeTensor], _ walk: Broadcast, _ y: RuntimeTensor
    ) {
        let (condition, a, b) = (tensors[0].typed(UInt8.self), tensors[1].typed(T.self), tensors[2].typed(T.self))
        let target = y.typed(T.self)
        let steps = (walk.innerStride(0), walk.innerStride(1), walk.innerStride(2))
        walk.forEachRun(of: 3) { position, offsets, count in
            choose(condition + offsets[0], a + offsets[1], b + offsets[2], target + position, count, steps)
        }
    }

    /// Both sides are read, so that a loop over vectors can choose.
    @inline(__always)
    private static func choose<T: BitwiseCopyable>(
        _ condition: UnsafePointer<UInt8>, _ a: UnsafePointer<T>, _ b: UnsafePointer<T>,
        _ target: UnsafeMutablePointer<T>, _ count: Int, _ steps: (Int, Int, Int)
    ) {
        switch steps {
        case (1, 1, 1):
            for index in 0..<count {
                let (x, y) = (a[index], b[index])
                target[index] = condition[index] != 0 ? x : y
            }
        case (1, 1, 0):
            let y = b.pointee
            for index in 0..<count {
                let x = a[index]
                target[index] = condition[index] != 0 ? x : y
            }
        case (1, 0, 1):
            let x = a.pointee
            for index in 0..<count {
                let y = b[index]
                target[index] = condition[index] != 0 ? x : y
            }
        case (0, 1, _) where condition.pointee != 0: target.update(from: a, count: count)
        case (0, _, 1) where condition.pointee == 0: target.update(from: b, count: count)
        default:
            for index in 0..<count {
                target[index] = condition[index * steps.0] != 0 ? a[index * steps.1] : b[index * steps.2]
            }
        }
    }

    private static func selectStrings(_ context: KernelContext) throws {
        guard case .strings(let a) = try context.value(1), case .strings(let b) = try context.value(2) else {
            throw KernelFailure("operands of different types")
        }
        let condition = try context.plain(0, .bool)
        let shape = try Broadcast.shape([condition.shape, a.shape, b.shape])
        let walk = Broadcast(
            [
                condition, RuntimeTensor(.uint8, a.shape, buffer: condition.buffer),
                RuntimeTensor(.uint8, b.shape, buffer: condition.buffer),
            ], shape: shape, layout: .rowMajor)
        let elements = (0..<walk.count).map { position in
            let offsets = walk.offsets(of: position)
            return condition.typed(UInt8.self)[offsets[0]] != 0 ? a.elements[offsets[1]] : b.elements[offsets[2]]
        }
        context.set(0, .strings(StringTensor(shape: shape, elements: elements)))
    }
}

// One type a relation, so that loops over vectors are made of each.

private enum Equal<T: Comparable & BitwiseCopyable>: PairFunction {
    @inline(__always) static func apply(_ a: T, _ b: T) -> UInt8 { a == b ? 1 : 0 }
}

private enum Less<T: Comparable & BitwiseCopyable>: PairFunction {
    @inline(__always) static func apply(_ a: T, _ b: T) -> UInt8 { a < b ? 1 : 0 }
}

private enum Greater<T: Comparable & BitwiseCopyable>: PairFunction {
    @inline(__always) static func apply(_ a: T, _ b: T) -> UInt8 { a > b ? 1 : 0 }
}

private enum LessOrEqual<T: Comparable & BitwiseCopyable>: PairFunction {
    @inline(__always) static func apply(_ a: T, _ b: T) -> UInt8 { a <= b ? 1 : 0 }
}

private enum GreaterOrEqual<T: Comparable & BitwiseCopyable>: PairFunction {
    @inline(__always) static func apply(_ a: T, _ b: T) -> UInt8 { a >= b ? 1 : 0 }
}

private enum And: PairFunction {
    @inline(__always) static func apply(_ a: UInt8, _ b: UInt8) -> UInt8 { a & b }
}

private enum Or: PairFunction {
    @inline(__always) static func apply(_ a: UInt8, _ b: UInt8) -> UInt8 { a | b }
}

private enum Xor: PairFunction {
    @inline(__always) static func apply(_ a: UInt8, _ b: UInt8) -> UInt8 { a ^ b }
}

import COneDNN
import GraftCore

/// What a product of bytes by oneDNN is asked for.
struct ByteProductRequest {
    let problem: IntegerProblem
    /// The input that is the right side.
    let right: Int
    /// The zero points of both sides; nil on the left where it changes between runs.
    let zeroLeft: Int32?
    let zerosRight: [Int32]
    /// What the sums become.
    let result: SumsResult
    /// Whether the result is multiplied with a number that each run brings.
    var takesFactor = false
    /// What is added to the columns of a result that was multiplied so; empty for nothing.
    var addend: [Float] = []
}

/// A product of matrices of bytes by oneDNN: rows times constant weights, or two stacks that are computed.
final class ByteProduct {
    /// What a primitive is made for.
    private struct Key: Equatable {
        let extents: [Int]
        let types: [ElementType]
        let versions: [Int]
    }

    private struct Prepared {
        let key: Key
        /// Nil where oneDNN has no fast implementation.
        let primitive: Primitive?
        let type: ElementType
        var layout: MemoryDescriptor?
        var weights: Buffer?
        var bias: (argument: gdnn_argument, buffer: Buffer)?
        var factor: Bool = false
        var addend: (position: Int, input: Int)?
    }

    private let postOperations: [PostOperation]
    private var prepared: [Prepared] = []

    /// A product; `postOperations` are applied to a result of numbers.
    init(_ postOperations: [PostOperation]) { self.postOperations = postOperations }

    /// Computes output 0; false where own kernels have to.
    ///
    /// - Parameters:
    ///   - changing: the inputs besides the sides that may change between runs.
    ///   - factor: what the result is multiplied with, and the zero point of the left side, where these change.
    func run(
        _ problem: IntegerProblem, right: Int, changing: Set<Int>, _ context: KernelContext,
        factor: Float? = nil, zeroLeft: Int32? = nil, request: () throws -> ByteProductRequest?
    ) throws -> Bool {
        let isConstant = context.version(right) != nil
        var changing = changing
        for case .add(let input) in postOperations { changing.insert(input) }
        let a = try context.plain(0)
        guard ByteNumbers.areExact, !problem.transA, problem.m > 0, problem.k > 0, problem.n > 0,
            !problem.places.isEmpty, isConstant ? problem.rightCount == 1 : problem.isAligned && !problem.transB,
            let b = context.elementType(right),
            let versions = ByteNumbers.versions(
                context, (1..<context.inputCount).filter { !changing.contains($0) && ($0 != right || isConstant) })
        else { return false }
        for case .add(let input) in postOperations where try context.anyOrder(input).shape != problem.result {
            return false
        }
        let rows = isConstant ? problem.places.count * problem.m : problem.m
        let key = Key(
            extents: [isConstant ? 1 : problem.places.count, rows, problem.k, problem.n], types: [a.elementType, b],
            versions: versions)
        let chosen: Prepared
        if let found = prepared.first(where: { $0.key == key }) {
            chosen = found
        } else {
            chosen = try prepare(key, context, isConstant: isConstant, request())
            if prepared.count >= 16 { prepared.removeFirst() }
            prepared.append(chosen)
        }
        guard let primitive = chosen.primitive else { return false }
        if let zeroLeft { primitive.setSourceZero(zeroLeft) }
        let y = try context.output(0, chosen.type, problem.result)
        var arguments = [(GDNN_ARG_SRC, a.pointer), (GDNN_ARG_DST, y.pointer)]
        if let weights = chosen.weights {
            arguments.append((GDNN_ARG_WEIGHTS, weights.pointer))
        } else {
            arguments.append((GDNN_ARG_WEIGHTS, try signed(context.plain(right), context).pointer))
        }
        if chosen.factor, let factor {
            let scalar = try context.temporary(.float32, [1])
            scalar.floats.pointee = factor
            arguments.append((postOperandArgument(0), scalar.pointer))
        }
        if let bias = chosen.bias { arguments.append((bias.argument, bias.buffer.pointer)) }
        if let addend = chosen.addend {
            arguments.append((postOperandArgument(addend.position), try context.plain(addend.input).pointer))
        }
        try primitive.run(context.arena, arguments)
        return true
    }

    /// Unsigned bytes less 128.
    private func signed(_ b: RuntimeTensor, _ context: KernelContext) throws -> RuntimeTensor {
        guard b.elementType == .uint8 else { return b }
        let result = try context.temporary(.int8, b.shape)
        let (source, target) = (b.typed(UInt8.self), result.typed(UInt8.self))
        Parallel.forEachRange(b.count, grain: 65536) { range in
            for index in range { target[index] = source[index] ^ 128 }
        }
        return result
    }

    private func prepare(
        _ key: Key, _ context: KernelContext, isConstant: Bool, _ request: ByteProductRequest?
    ) throws -> Prepared {
        let none = Prepared(key: key, primitive: nil, type: .float32)
        guard let request else { return none }
        let (problem, result) = (request.problem, request.result)
        let (stack, rows, k, n) = (key.extents[0], key.extents[1], key.extents[2], key.extents[3])
        let leading = isConstant ? [] : [stack]
        let ones = [Int](repeating: 1, count: leading.count + 1)
        let source = try MemoryDescriptor.strided(key.types[0], leading + [rows, k])
        let target = try MemoryDescriptor.strided(result.type, leading + [rows, n])
        var zeroRight: Int32 = 0
        var weights: RuntimeTensor?
        let wanted: MemoryDescriptor
        if isConstant {
            let b = try context.plain(request.right)
            weights = try ByteNumbers.signed(b, request.zerosRight, inner: problem.transB ? k : 1, context)
            guard weights != nil else { return none }
            wanted = try MemoryDescriptor.any(.int8, [k, n])
        } else {
            guard request.zerosRight.count == 1, result.scales.count <= 1, result.bias.isEmpty, request.addend.isEmpty
            else { return none }
            zeroRight = request.zerosRight[0] - (key.types[1] == .uint8 ? 128 : 0)
            wanted = try MemoryDescriptor.strided(.int8, leading + [k, n])
        }

        var made = Prepared(key: key, primitive: nil, type: result.type)
        var operations: [gdnn_post_op] = []
        let row = try MemoryDescriptor.strided(.float32, ones + [n])
        let scalar = try MemoryDescriptor.strided(.float32, ones + [1])
        func binary(_ algorithm: gdnn_algorithm, _ operand: MemoryDescriptor) {
            operations.append(
                gdnn_post_op(
                    kind: 2, algorithm: Int32(algorithm.rawValue), alpha: 0, beta: 0, operand: operand.handle))
        }
        if request.takesFactor {
            made.factor = true
            binary(GDNN_MULTIPLY, scalar)
        }
        if !request.addend.isEmpty {
            made.bias = (
                postOperandArgument(operations.count), try ByteNumbers.buffer(request.addend, context.arena)
            )
            binary(GDNN_ADD, row)
        } else if !result.bias.isEmpty {
            made.bias = (GDNN_ARG_BIAS, try ByteNumbers.buffer(result.nativeBias, context.arena))
        }
        for operation in postOperations {
            switch operation {
            case .activation(let activation):
                operations.append(
                    gdnn_post_op(
                        kind: 0, algorithm: Int32(activation.algorithm.rawValue), alpha: activation.alpha,
                        beta: activation.beta, operand: nil))
            case .add(let input):
                made.addend = (operations.count, input)
                binary(GDNN_ADD, target)
            }
        }
        let primitive = try withExtendedLifetime((row, scalar)) {
            try result.withNative(zeroSource: request.zeroLeft, zeroWeights: zeroRight, operations) { attributes in
                try Primitive.make {
                    gdnn_matmul(
                        $0, source.handle, wanted.handle, result.bias.isEmpty ? nil : row.handle, target.handle,
                        attributes)
                }
            }
        }
        guard let primitive, !primitive.isReference else { return none }
        if let weights {
            guard let layout = primitive.layout(GDNN_ARG_WEIGHTS) else { return none }
            let stored = try MemoryDescriptor.strided(.int8, [k, n], strides: problem.transB ? [1, k] : [n, 1])
            // Another number of rows may want the same form of the same weights.
            let last = prepared.last { $0.key.versions == key.versions && $0.layout?.isEqual(to: layout) == true }
            made.weights = try last?.weights ?? ByteNumbers.packed(weights, stored, as: layout, context.arena)
            made.layout = layout
        }
        return Prepared(
            key: key, primitive: primitive, type: made.type, layout: made.layout, weights: made.weights,
            bias: made.bias, factor: made.factor, addend: made.addend)
    }
}

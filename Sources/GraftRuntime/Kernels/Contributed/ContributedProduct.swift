import COneDNN
import GraftCore
import GraftIR

/// Products of onnxruntime's domain: FusedMatMul, FusedGemm and FusedConv.
enum ContributedProductKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("FusedMatMul", domain: contributedDomain, widens: true) { try StackedProductKernel($0) },
            KernelDefinition("FusedGemm", domain: contributedDomain, widens: true) { node in
                var inner = node
                inner.op = OperatorName("Gemm")
                inner.postOperations =
                    try activation(node.attributes.string("activation") ?? "") { name in
                        node.attributes.float("activation_\(name)")
                    }.map { [.activation($0)] } ?? []
                return MatMulKernel(inner)
            },
            KernelDefinition("FusedConv", domain: contributedDomain, widens: true) { node in
                var inner = node
                let parameters = node.attributes.floats("activation_params") ?? []
                let activation = try activation(node.attributes.string("activation") ?? "") { name in
                    name == "alpha" ? parameters.first : parameters.dropFirst().first
                }
                inner.postOperations =
                    (node.has(3) ? [.add(input: 3)] : []) + (activation.map { [.activation($0)] } ?? [])
                return try ConvolutionKernel(inner, transposed: false)
            },
        ]
    }

    /// The activation of a fused node; nil for none.
    private static func activation(
        _ name: String, _ parameter: (String) -> Float?
    ) throws -> Activation? {
        switch name {
        case "": nil
        case "Relu": Activation(GDNN_RELU)
        case "Tanh": Activation(GDNN_TANH)
        case "Sigmoid": Activation(GDNN_LOGISTIC)
        case "LeakyRelu": Activation(GDNN_RELU, alpha: parameter("alpha") ?? 0.01)
        case "Elu": Activation(GDNN_ELU, alpha: parameter("alpha") ?? 1)
        case "Gelu": Activation(GDNN_GELU_ERF)
        case "HardSwish": Activation(GDNN_HARDSWISH)
        case "Softplus": Activation(GDNN_SOFTPLUS)
        case "Clip":
            Activation(
                GDNN_CLIP, alpha: parameter("alpha") ?? -.greatestFiniteMagnitude,
                beta: parameter("beta") ?? .greatestFiniteMagnitude)
        default: throw KernelFailure("the fused activation \"\(name)\" is not known")
        }
    }
}

/// `alpha A B` for stacks of matrices, either transposed.
final class StackedProductKernel: Kernel {
    private let alpha: Float
    private let transA: Bool
    private let transB: Bool
    private var prepared: [(a: [Int], b: [Int], primitive: Primitive)] = []

    init(_ node: KernelNode) throws {
        for name in ["transBatchA", "transBatchB"] where node.attributes.int(name) ?? 0 != 0 {
            throw KernelFailure("\(name) is not supported")
        }
        alpha = node.attributes.float("alpha") ?? 1
        transA = node.attributes.int("transA") ?? 0 != 0
        transB = node.attributes.int("transB") ?? 0 != 0
    }

    func run(_ context: KernelContext) throws {
        let (a, b) = (try context.plain(0, .float32), try context.plain(1, .float32))
        // A vector is a matrix of one row or column, and is not transposed.
        let (isRow, isColumn) = (a.rank == 1, b.rank == 1)
        let left = isRow ? [1] + a.shape : a.shape
        let right = isColumn ? b.shape + [1] : b.shape
        guard left.count >= 2, right.count >= 2 else { throw KernelFailure("shapes \(a.shape) and \(b.shape)") }
        let (flipA, flipB) = (transA && !isRow, transB && !isColumn)
        let (m, k) = flipA ? (left[left.count - 1], left[left.count - 2]) : (left[left.count - 2], left[left.count - 1])
        let (other, n) =
            flipB ? (right[right.count - 1], right[right.count - 2]) : (right[right.count - 2], right[right.count - 1])
        guard k == other else { throw KernelFailure("shapes \(a.shape) and \(b.shape) cannot be multiplied") }
        let stack = try Broadcast.shape([Array(left.dropLast(2)), Array(right.dropLast(2))])
        let y = try context.output(0, .float32, stack + (isRow ? [] : [m]) + (isColumn ? [] : [n]))
        guard y.count > 0 else { return }
        guard k > 0 else { return y.floats.update(repeating: 0, count: y.count) }
        let primitive = try prepare(left, right, stack, m, k, n, flipA, flipB)
        try primitive.run(
            context.arena, (GDNN_ARG_SRC, a.pointer), (GDNN_ARG_WEIGHTS, b.pointer), (GDNN_ARG_DST, y.pointer))
    }

    private func prepare(
        _ a: [Int], _ b: [Int], _ stack: [Int], _ m: Int, _ k: Int, _ n: Int, _ flipA: Bool, _ flipB: Bool
    ) throws -> Primitive {
        if let found = prepared.first(where: { $0.a == a && $0.b == b }) { return found.primitive }
        let rank = stack.count + 2
        guard rank <= Int(GDNN_MAX_RANK) else { throw KernelFailure("\(rank) axes") }
        func layout(_ shape: [Int], flipped: Bool) throws -> MemoryDescriptor {
            var dims = Array(repeating: 1, count: rank - shape.count) + shape
            var strides = RuntimeTensor.strides(dims, .rowMajor)
            if flipped {
                dims.swapAt(rank - 1, rank - 2)
                strides.swapAt(rank - 1, rank - 2)
            }
            return try .strided(.float32, dims, strides: strides)
        }
        let left = try layout(a, flipped: flipA)
        let right = try layout(b, flipped: flipB)
        let target = try MemoryDescriptor.strided(.float32, stack + [m, n])
        let operations = alpha == 1 ? [] : [PostOperation.activation(Activation(GDNN_LINEAR, alpha: alpha))]
        let made = try withAttributes(operations, operand: nil) { attributes in
            try Primitive.make { gdnn_matmul($0, left.handle, right.handle, nil, target.handle, attributes) }
        }
        guard let made else { throw KernelFailure("oneDNN has no product for shapes \(a) and \(b)") }
        if prepared.count >= 16 { prepared.removeFirst() }
        prepared.append((a, b, made))
        return made
    }
}

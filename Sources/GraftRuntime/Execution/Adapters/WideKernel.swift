import GraftCore
import GraftIR

/// Runs a kernel, or another one where the first operand has a type that the kernel does not compute in: float64, or
/// integers where ONNX allows them.
final class WideKernel: Kernel {
    private let inner: any Kernel
    private let other: (KernelContext) throws -> Void
    private let types: Set<ElementType>
    private let postOperations: [PostOperation]

    /// The kernel for a node; nil where the operator has no other form.
    init?(_ inner: any Kernel, _ node: KernelNode) throws {
        self.inner = inner
        postOperations = node.postOperations
        let signed: Set<ElementType> = [.int8, .int16, .int32, .int64]
        let unsigned: Set<ElementType> = [.uint8, .uint16, .uint32, .uint64]
        switch node.op.type {
        case "Relu":
            types = signed.union([.float64])
            other = { try WideElementwise.relu($0) }
        case "PRelu":
            types = [.float64, .int32, .int64, .uint32, .uint64]
            other = { try WideElementwise.prelu($0) }
        case "Softmax", "LogSoftmax", "Hardmax":
            types = [.float64]
            let isFlattened = node.opset < 13
            let axis = node.attributes.int("axis") ?? (isFlattened ? 1 : -1)
            let form: WideSoftmax.Form =
                node.op.type == "Softmax" ? .softmax : node.op.type == "LogSoftmax" ? .logSoftmax : .hardmax
            other = { try WideSoftmax.run($0, form, axis: axis, isFlattened: isFlattened) }
        case "Conv", "ConvTranspose":
            guard node.elementType(1) ?? .float64 == .float64 else { return nil }
            types = [.float64]
            other = try WideWindow.convolution(node, transposed: node.op.type == "ConvTranspose")
        case "AveragePool", "LpPool":
            types = [.float64]
            other = try WideWindow.pool(node, isNorm: node.op.type == "LpPool")
        case "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool":
            types = [.float64]
            let kind: PoolingKernels.Kind =
                node.op.type == "GlobalAveragePool" ? .average : node.op.type == "GlobalMaxPool" ? .maximum : .norm
            let p = Double(node.attributes.int("p") ?? 2)
            other = { try WideWindow.global($0, kind, p: p) }
        case "BatchNormalization":
            types = [.float64]
            other = WideNormalization.batch(node)
        case "InstanceNormalization", "GroupNormalization":
            types = [.float64]
            other = try WideNormalization.groups(node)
        case "LayerNormalization":
            types = [.float64]
            other = WideNormalization.layer(node)
        case "LRN":
            types = [.float64]
            other = WideNormalization.acrossChannels(node)
        default:
            guard let function = WideElementwise.function(node) else { return nil }
            types = node.op.type == "Shrink" ? signed.union(unsigned).union([.float64]) : [.float64]
            other = { try WideElementwise.map($0, function) }
        }
    }

    func run(_ context: KernelContext) throws {
        if let type = context.elementType(0), types.contains(type) {
            try other(context)
            try applyPostOperations(postOperations, context)
        } else {
            try inner.run(context)
        }
    }
}

import GraftCore
import GraftIR

/// Runs a kernel, or another one where the first operand has a type that the kernel does not compute in: float64, or
/// integers where ONNX allows them.
final class WideKernel: Kernel {
    private let inner: any Kernel
    private let other: (KernelContext) throws -> Void
    private let types: Set<ElementType>

    /// The kernel for a node; nil where the operator has no other form.
    init?(_ inner: any Kernel, _ node: KernelNode) {
        self.inner = inner
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
        default:
            guard let function = WideElementwise.function(node) else { return nil }
            types = node.op.type == "Shrink" ? signed.union(unsigned).union([.float64]) : [.float64]
            other = { try WideElementwise.map($0, function) }
        }
    }

    func run(_ context: KernelContext) throws {
        if context.has(0), let type = try context.value(0).elementType, types.contains(type) {
            try other(context)
        } else {
            try inner.run(context)
        }
    }
}

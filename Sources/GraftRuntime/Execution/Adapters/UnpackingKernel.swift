import GraftCore
import GraftIR

/// Runs a kernel that only moves elements on packed ones: operands are taken apart before, results packed after.
final class UnpackingKernel: Kernel {
    /// The operators that move elements and that ONNX allows packed ones for, those aside that never look at elements.
    static let operators: Set<String> = [
        "CenterCropPad", "Compress", "Concat", "ConcatFromSequence", "DepthToSpace", "Expand", "Gather",
        "GatherElements", "GatherND", "Pad", "ReverseSequence", "Scatter", "ScatterElements", "ScatterND", "Slice",
        "SpaceToDepth", "Split", "TensorScatter", "Tile", "Transpose", "Trilu", "Where",
    ]

    private let inner: any Kernel

    init(_ inner: any Kernel) { self.inner = inner }

    func run(_ context: KernelContext) throws {
        var packed: ElementType?
        for index in 0..<context.inputCount {
            guard context.has(index), case .tensor(let tensor) = try context.value(index), tensor.elementType.isPacked
            else { continue }
            packed = packed ?? tensor.elementType
            guard tensor.elementType == packed else { throw KernelFailure("operands of different types") }
            context.replaceInput(index, try context.unpacked(tensor))
        }
        try inner.run(context)
        guard let packed else { return }
        for index in 0..<context.outputCount {
            guard case .tensor(let tensor)? = context.output(at: index), tensor.elementType == .uint8 else { continue }
            context.set(index, try context.packed(tensor, packed))
        }
    }
}

extension KernelDefinition {
    /// A kernel behind the conversions of elements that it needs.
    func adapted(_ kernel: any Kernel, _ node: KernelNode) throws -> any Kernel {
        guard op.domain.isEmpty || op.domain == graftDomain else { return widens ? WideningKernel(kernel) : kernel }
        let wide = try WideKernel(kernel, node) ?? kernel
        let widened = widens ? WideningKernel(wide) : wide
        return op.domain.isEmpty && UnpackingKernel.operators.contains(op.type) ? UnpackingKernel(widened) : widened
    }
}

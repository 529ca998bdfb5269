import GraftCore
import GraftIR

/// A kernel whose results may stay in 32 bits where they stand for a narrower type.
protocol WideResults: Kernel {
    /// The outputs that only kernels read which take wide operands.
    var staysWide: Set<Int> { get set }
}

/// Runs a kernel that only moves elements, or does not look at them, on elements that are wide between two widening
/// kernels: they are not rounded on the way.
final class CarryingKernel: WideResults {
    /// The operators that move elements of floating point and whose other operands are integers or truth values.
    private static let operators = UnpackingKernel.operators.subtracting(["ConcatFromSequence"]).union([
        "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze",
    ])

    var staysWide: Set<Int> = []
    /// Whether the kernel asks for nothing but shapes.
    let ignoresElements: Bool
    private let inner: any Kernel

    private init(_ inner: any Kernel, ignoresElements: Bool) {
        self.inner = inner
        self.ignoresElements = ignoresElements
    }

    /// The kernel, made able to carry wide elements where its operator moves elements.
    static func wrap(_ kernel: any Kernel, _ node: KernelNode) -> any Kernel {
        guard node.op.canonicalDomain.isEmpty else { return kernel }
        let ignoresElements = node.op.type == "Shape" || node.op.type == "Size"
        guard ignoresElements || operators.contains(node.op.type) else { return kernel }
        return CarryingKernel(kernel, ignoresElements: ignoresElements)
    }

    func run(_ context: KernelContext) throws {
        var meant: ElementType?
        var isPlain = false
        for index in 0..<context.inputCount {
            if let type = try context.takeMeaning(of: index) {
                guard meant ?? type == type else { throw KernelFailure("operands of different types") }
                meant = type
            } else if context.elementType(index) == .float32 {
                isPlain = true
            }
        }
        guard let meant else { return try inner.run(context) }
        guard !isPlain else { throw KernelFailure("operands of different types") }
        for index in 0..<context.inputCount where context.elementType(index) == meant {
            context.replaceInput(index, try context.converted(context.input(index), .float32))
        }
        try inner.run(context)
        try context.settle(meant, staysWide: staysWide)
    }
}

extension PlanGraph {
    /// Lets results stay wide that only kernels read which compute with wide elements, or carry them on to such kernels.
    func keepWide(_ kernels: [(index: Int, kernel: any Kernel)]) {
        var takes: Set<Int> = []
        for (index, kernel) in kernels.reversed() {
            guard let kernel = kernel as? any WideResults, let node = nodes[index] else { continue }
            let written = node.outputs.indices.filter { position in
                node.outputs[position].map { results.contains($0) || !readers[$0].isEmpty } ?? false
            }
            kernel.staysWide = Set(
                written.filter { position in
                    guard let slot = node.outputs[position] else { return false }
                    return !results.contains(slot) && readers[slot].allSatisfy(takes.contains)
                })
            // What is rounded behind a move is better rounded before it.
            let mover = kernel as? CarryingKernel
            if mover?.ignoresElements ?? true || kernel.staysWide.count == written.count { takes.insert(index) }
        }
    }
}

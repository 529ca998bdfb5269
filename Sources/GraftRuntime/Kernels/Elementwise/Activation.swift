import COneDNN
import GraftCore
import GraftIR

/// Element-wise functions through oneDNN: activations, exponentials and roots.
enum ActivationKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        names.map { type, _ in
            KernelDefinition(type, widens: true) { node in
                guard let activation = try activation(for: node.op, node.attributes, opset: node.opset) else {
                    throw KernelFailure("no activation")
                }
                return ElementwiseKernel(activation)
            }
        } + [
            KernelDefinition("Swish", widens: true) { node in
                ElementwiseKernel(Activation(GDNN_SWISH, alpha: node.attributes.float("alpha") ?? 1))
            },
            KernelDefinition("Swish", domain: graftDomain) { node in
                ElementwiseKernel(Activation(GDNN_SWISH, alpha: node.attributes.float("alpha") ?? 1))
            },
        ]
    }

    private static let names: [(String, gdnn_algorithm)] = [
        ("Relu", GDNN_RELU), ("LeakyRelu", GDNN_RELU), ("Sigmoid", GDNN_LOGISTIC), ("Tanh", GDNN_TANH),
        ("Elu", GDNN_ELU), ("Softplus", GDNN_SOFTPLUS), ("HardSwish", GDNN_HARDSWISH), ("Mish", GDNN_MISH),
        ("Gelu", GDNN_GELU_ERF), ("Exp", GDNN_EXP), ("Log", GDNN_LOG), ("Sqrt", GDNN_SQRT),
    ]

    /// The function of an activation operator with its parameters; nil for another operator.
    ///
    /// Source of the defaults: the ONNX operator reference.
    static func activation(for op: OperatorName, _ attributes: Attributes, opset: Int) throws -> Activation? {
        let isKnownDomain = op.canonicalDomain.isEmpty || op.domain == graftDomain
        guard isKnownDomain else { return nil }
        switch op.type {
        case "Relu": return Activation(GDNN_RELU)
        case "LeakyRelu": return Activation(GDNN_RELU, alpha: attributes.float("alpha") ?? 0.01)
        case "Elu": return Activation(GDNN_ELU, alpha: attributes.float("alpha") ?? 1)
        case "Gelu":
            return Activation(attributes.string("approximate") == "tanh" ? GDNN_GELU_TANH : GDNN_GELU_ERF)
        case "Swish": return Activation(GDNN_SWISH, alpha: attributes.float("alpha") ?? 1)
        default:
            guard let entry = names.first(where: { $0.0 == op.type }) else { return nil }
            return Activation(entry.1)
        }
    }
}

/// Applies an element-wise function; the memory order does not matter to it.
final class ElementwiseKernel: Kernel {
    private let activation: Activation
    private let runner: ElementwiseRunner
    private let keepsZero: Bool

    init(_ activation: Activation) {
        self.activation = activation
        runner = ElementwiseRunner(activation)
        keepsZero = activation.keepsZero
    }

    func run(_ context: KernelContext) throws {
        if try PreciseActivations.run(activation, context) { return }
        // Channels that fill up a block must stay zeros.
        if !keepsZero, context.isBlocked(0) { _ = try context.input(0) }
        if try context.anyOrder(0).layout == .roundedBlocks {
            context.replaceInput(0, try context.reordered(context.anyOrder(0), .blocked))
        }
        let (shape, layout) = try { (try context.anyOrder(0).shape, try context.anyOrder(0).layout) }()
        guard try context.anyOrder(0).elementType == .float32 else {
            throw KernelFailure("elements of type \(try context.anyOrder(0).elementType.name)")
        }
        let target = try context.output(0, reusing: 0, .float32, shape, layout: layout)
        try runner.run(try context.anyOrder(0).pointer, target.pointer, target.storedCount, context.arena)
    }
}

/// An element-wise function, or its gradient, with its primitives by element count.
final class ElementwiseRunner {
    private let activation: Activation
    private let direction: gdnn_direction
    private var primitives: [(count: Int, primitive: Primitive)] = []

    init(_ activation: Activation, direction: gdnn_direction = GDNN_FORWARD_INFERENCE) {
        self.activation = activation
        self.direction = direction
    }

    func run(
        _ source: UnsafeMutableRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int, _ arena: Arena
    ) throws {
        guard count > 0 else { return }
        try primitive(count).run(arena, (GDNN_ARG_SRC, source), (GDNN_ARG_DST, target))
    }

    /// The primitive for some number of elements, in this direction.
    func primitive(_ count: Int) throws -> Primitive {
        if let found = primitives.first(where: { $0.count == count }) { return found.primitive }
        let layout = try MemoryDescriptor.strided(.float32, [count])
        let made = try Primitive.make {
            gdnn_eltwise(
                $0, Int32(direction.rawValue), Int32(activation.algorithm.rawValue), activation.alpha,
                activation.beta, layout.handle, layout.handle)
        }
        guard let made else { throw KernelFailure("oneDNN lacks this element-wise function") }
        if primitives.count >= 16 { primitives.removeFirst() }
        primitives.append((count, made))
        return made
    }
}

/// Applies post-operations to output 0 one by one; for results that a fused primitive cannot make.
func applyPostOperations(_ operations: some Collection<PostOperation>, _ context: KernelContext) throws {
    for operation in operations {
        guard case .tensor(let tensor)? = context.output(at: 0) else { return }
        switch operation {
        case .activation(let activation):
            guard tensor.elementType == .float32 else {
                context.set(0, try WideElementwise.applied(activation, tensor, context))
                continue
            }
            try ElementwiseRunner(activation).run(
                tensor.pointer, tensor.pointer, tensor.storedCount, context.arena)
        case .add(let input):
            // The sum is made in the order of the result.
            if !tensor.layout.isBlocked, context.isBlocked(input) { _ = try context.input(input) }
            context.append(.tensor(tensor), version: 0)
            try runArithmetic(.add, context, context.inputCount - 1, input)
        }
    }
}

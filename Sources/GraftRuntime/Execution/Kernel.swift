import GraftCore
import GraftIR

/// The code of one node: made once when the graph is planned, run as often as wanted.
///
/// # How to add a kernel
/// Write a file in its room of `Kernels/`, named after the operator family, with an enum that conforms to
/// ``KernelFamily`` and lists its ``KernelDefinition``s, and add the enum to ``KernelRegistry/families``. A definition names the operator,
/// the opset versions whose semantics it implements, and a factory. The factory reads the attributes once, refuses
/// what the kernel does not do by throwing ``KernelFailure`` (the model is then refused before anything runs), and
/// returns the kernel.
///
/// A kernel without state between runs is a function on ``KernelContext``: return ``FunctionKernel``. A kernel that
/// keeps packed weights or oneDNN primitives is a class. In `run`, ask the context for inputs
/// (``KernelContext/plain(_:)`` for row-major elements, ``KernelContext/input(_:)`` for whatever memory order they
/// have), then for outputs; pointers of both stay valid until the run of the node ends. Shapes come from a file: check
/// them and throw, never trap. Dispatch on element types with a `switch` that calls one generic function; it is
/// specialised for each type because it is in this module.
package protocol Kernel: AnyObject {
    /// Computes the outputs from the inputs.
    func run(_ context: KernelContext) throws
}

/// A kernel that is a function.
package final class FunctionKernel: Kernel {
    private let body: (KernelContext) throws -> Void
    package init(_ body: @escaping (KernelContext) throws -> Void) { self.body = body }
    package func run(_ context: KernelContext) throws { try body(context) }
}

/// Which operator a kernel runs, in which versions, and how it is made.
package struct KernelDefinition: Sendable {
    /// The operator.
    package let op: OperatorName
    /// The opset versions whose semantics the kernel implements.
    package let opsets: ClosedRange<Int>
    /// Whether the result depends on nothing but the inputs, so that it may be computed while planning.
    package let isPure: Bool
    /// Whether the kernel applies post-operations to its first output.
    package let fuses: Bool
    /// Whether the kernel computes in 32-bit floating point and the executor converts narrower operands and results.
    package let widens: Bool
    /// Makes the kernel for a node, or throws ``KernelFailure``.
    package let make: @Sendable (KernelNode) throws -> any Kernel

    package init(
        _ type: String, domain: String = "", opsets: ClosedRange<Int> = 1...KernelRegistry.newestOpset,
        isPure: Bool = true, fuses: Bool = false, widens: Bool = false,
        make: @escaping @Sendable (KernelNode) throws -> any Kernel
    ) {
        op = OperatorName(type, domain: domain)
        self.opsets = opsets
        self.isPure = isPure
        self.fuses = fuses
        self.widens = widens
        self.make = make
    }

    /// A kernel that is a function of the context; `prepare` reads the node once.
    package static func function<Settings>(
        _ type: String, domain: String = "", opsets: ClosedRange<Int> = 1...KernelRegistry.newestOpset,
        isPure: Bool = true, widens: Bool = false, prepare: @escaping @Sendable (KernelNode) throws -> Settings,
        run: @escaping @Sendable (Settings, KernelContext) throws -> Void
    ) -> KernelDefinition {
        KernelDefinition(type, domain: domain, opsets: opsets, isPure: isPure, widens: widens) { node in
            let settings = try prepare(node)
            return FunctionKernel { context in try run(settings, context) }
        }
    }

    /// A kernel that is a function of the context and needs nothing from the node.
    package static func function(
        _ type: String, domain: String = "", opsets: ClosedRange<Int> = 1...KernelRegistry.newestOpset,
        isPure: Bool = true, widens: Bool = false, run: @escaping @Sendable (KernelContext) throws -> Void
    ) -> KernelDefinition {
        KernelDefinition(type, domain: domain, opsets: opsets, isPure: isPure, widens: widens) { _ in
            FunctionKernel(run)
        }
    }
}

/// A family of kernels: one file.
package protocol KernelFamily {
    /// The kernels of the family.
    static var definitions: [KernelDefinition] { get }
}

/// What a factory sees of the node that it makes a kernel for.
package struct KernelNode {
    /// The node's name, for messages.
    package let name: String
    /// The operator.
    package internal(set) var op: OperatorName
    /// The version of the operator's domain that the model imports.
    package let opset: Int
    /// The settings.
    package let attributes: Attributes
    /// What the kernel applies to its first output, in order.
    package internal(set) var postOperations: [PostOperation]
    /// Whether the result shall lie in blocks of channels.
    package let prefersBlocks: Bool
    /// Whether a result in blocks may be rounded to bfloat16.
    package let roundsBlocks: Bool
    /// How the plan is made.
    package let options: PlanOptions
    /// What is known about the types of the inputs.
    package let inputTypes: [ValueType?]
    private let inputs: [Bool]
    private let outputs: [Bool]
    let constants: [RuntimeValue?]
    /// Where the node comes from, for a node that has bodies.
    let scope: PlanScope?
    let claims = Claims()

    /// The constants that the kernel keeps in a form of its own.
    final class Claims { var taken: Set<Int> = [] }

    init(_ node: PlanNode, constants: [RuntimeValue?], types: [ValueType?], options: PlanOptions) {
        name = node.name
        op = node.op
        opset = node.opset
        attributes = node.attributes
        postOperations = node.postOperations
        prefersBlocks = node.prefersBlocks
        roundsBlocks = node.roundsBlocks
        inputs = node.inputs.map { $0 != nil }
        outputs = node.outputs.map { $0 != nil }
        self.options = options
        self.constants = constants
        scope = node.scope
        inputTypes = types
    }

    /// The number of inputs, those left out included.
    package var inputCount: Int { inputs.count }
    /// The number of outputs, those left out included.
    package var outputCount: Int { outputs.count }
    /// Whether an input is given.
    package func has(_ input: Int) -> Bool { inputs.indices.contains(input) && inputs[input] }
    /// Whether an output is wanted.
    package func wants(_ output: Int) -> Bool { outputs.indices.contains(output) && outputs[output] }

    /// The tensor of an input that is a constant.
    package func constant(_ input: Int) -> RuntimeTensor? {
        guard constants.indices.contains(input), case .tensor(let tensor)? = constants[input] else { return nil }
        return tensor
    }

    /// The tensor of an input that is a constant, for a kernel that keeps it in a form of its own.
    ///
    /// The executor lets go of the tensor where all its readers took it; the input is then not there when the kernel
    /// runs. The bytes may lie at any address: read them through oneDNN or unaligned loads.
    package func takeConstant(_ input: Int) -> RuntimeTensor? {
        guard let tensor = constant(input) else { return nil }
        claims.taken.insert(input)
        return tensor
    }

    /// The element type of an input, where the graph says it.
    package func elementType(_ input: Int) -> ElementType? {
        guard inputTypes.indices.contains(input) else { return nil }
        return constant(input)?.elementType ?? inputTypes[input]?.elementType
    }
}

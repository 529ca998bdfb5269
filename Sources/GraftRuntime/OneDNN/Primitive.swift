import COneDNN
import GraftCore

/// One of oneDNN's operations, made for fixed layouts, ready to run on pointers.
package final class Primitive {
    private let handle: OpaquePointer
    /// The bytes of scratch memory that a run needs.
    let scratchBytes: Int

    private init(_ handle: OpaquePointer) {
        self.handle = handle
        scratchBytes = gdnn_scratchpad_bytes(handle)
    }

    deinit { gdnn_primitive_destroy(handle) }

    /// Makes a primitive; nil where oneDNN has no implementation for the combination.
    static func make(_ create: (UnsafeMutablePointer<OpaquePointer?>) -> Int32) throws -> Primitive? {
        var handle: OpaquePointer?
        let status = create(&handle)
        if status == Int32(GDNN_UNIMPLEMENTED.rawValue) { return nil }
        guard status == 0, let handle else { throw KernelFailure(String(cString: gdnn_last_error())) }
        return Primitive(handle)
    }

    /// Whether this is oneDNN's slow reference code rather than an optimised kernel.
    var isReference: Bool { name.hasPrefix("ref") || name.hasPrefix("simple") }

    /// The name of the implementation.
    var name: String { String(cString: gdnn_primitive_name(handle)) }

    /// The layout that an argument must have.
    func layout(_ argument: gdnn_argument) -> MemoryDescriptor? {
        gdnn_primitive_layout(handle, Int32(argument.rawValue)).map { MemoryDescriptor(handle: $0) }
    }

    /// Sets the zero point of the source, for a primitive of bytes that was made for a changing one.
    func setSourceZero(_ zero: Int32) { gdnn_primitive_set_source_zero(handle, zero) }

    /// Runs on the given pointers; scratch memory comes from the arena.
    func run(_ arena: Arena, _ arguments: (gdnn_argument, UnsafeMutableRawPointer)...) throws {
        try run(arena, arguments)
    }

    /// Runs on the given pointers, at most ten; scratch memory comes from the arena.
    func run(_ arena: Arena, _ arguments: [(gdnn_argument, UnsafeMutableRawPointer)]) throws {
        try withUnsafeTemporaryAllocation(of: Int32.self, capacity: 12) { codes in
            try withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer?.self, capacity: 12) { pointers in
                var count = 0
                for (argument, pointer) in arguments {
                    codes[count] = Int32(argument.rawValue)
                    pointers[count] = pointer
                    count += 1
                }
                let scratch = scratchBytes > 0 ? try arena.allocate(scratchBytes) : nil
                if let scratch {
                    codes[count] = Int32(GDNN_ARG_SCRATCHPAD.rawValue)
                    pointers[count] = scratch.pointer
                    count += 1
                }
                let status = withExtendedLifetime(scratch) {
                    gdnn_execute(handle, Int32(count), codes.baseAddress, pointers.baseAddress)
                }
                guard status == 0 else { throw KernelFailure(String(cString: gdnn_last_error())) }
            }
        }
    }
}

/// What a primitive does with its result before it is written.
package enum PostOperation: Equatable, Sendable {
    /// An element-wise function with its parameters.
    case activation(Activation)
    /// Addition of the tensor that is the kernel's input of that position; of the result's shape.
    case add(input: Int)
}

/// An element-wise function that oneDNN knows, with its parameters.
package struct Activation: Equatable, Sendable {
    let algorithm: gdnn_algorithm
    let alpha: Float
    let beta: Float

    init(_ algorithm: gdnn_algorithm, alpha: Float = 0, beta: Float = 0) {
        self.algorithm = algorithm
        self.alpha = alpha
        self.beta = beta
    }

    /// Whether zero becomes zero.
    var keepsZero: Bool {
        switch algorithm {
        case GDNN_RELU, GDNN_TANH, GDNN_ELU, GDNN_SQUARE, GDNN_ABS, GDNN_SQRT, GDNN_GELU_TANH, GDNN_GELU_ERF,
            GDNN_SWISH, GDNN_MISH, GDNN_HARDSWISH:
            true
        default: false
        }
    }

    package static func == (a: Activation, b: Activation) -> Bool {
        a.algorithm.rawValue == b.algorithm.rawValue && a.alpha == b.alpha && a.beta == b.beta
    }
}

extension gdnn_algorithm: @retroactive @unchecked Sendable {}

/// The argument that is the operand of the post-operation at a position.
func postOperandArgument(_ position: Int) -> gdnn_argument {
    gdnn_argument(
        rawValue: GDNN_ARG_POST_BINARY.rawValue + UInt32(position) * GDNN_ARG_POST_STRIDE.rawValue)
}

/// Calls `body` with the C form of post-operations; operands have the given layout.
///
/// - Parameter sums: whether the tensor that is added lies where the result goes.
func withAttributes<R>(
    _ operations: [PostOperation], operand: MemoryDescriptor?, allowBF16: Bool = false, sums: Bool = false,
    _ body: (UnsafePointer<gdnn_attributes>) throws -> R
) rethrows -> R {
    let list = operations.map { operation -> gdnn_post_op in
        switch operation {
        case .activation(let activation):
            gdnn_post_op(
                kind: 0, algorithm: Int32(activation.algorithm.rawValue), alpha: activation.alpha,
                beta: activation.beta, operand: nil)
        case .add:
            gdnn_post_op(
                kind: sums ? 1 : 2, algorithm: Int32(GDNN_ADD.rawValue), alpha: 0, beta: 0, operand: operand?.handle)
        }
    }
    return try list.withUnsafeBufferPointer { list in
        var attributes = gdnn_attributes(
            post_ops: list.baseAddress, post_op_count: Int32(list.count), allow_bf16: allowBF16 ? 1 : 0,
            quantization: nil)
        return try withExtendedLifetime(operand) { try body(&attributes) }
    }
}

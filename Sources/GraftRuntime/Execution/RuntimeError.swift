import GraftCore
import GraftIR

/// Why a model cannot be planned or run.
public enum RuntimeError: GraftError {
    /// No kernel runs these nodes; each entry names a node, its operator and the reason.
    case unsupported([UnsupportedNode])
    /// The model's graph does not hold together.
    case invalidGraph(String)
    /// The domain of an operator is not imported by the model.
    case missingOpset(domain: String, node: String)
    /// An input was not given.
    case missingInput(String)
    /// A name that is no input of the model was given.
    case unknownInput(name: String, known: [String])
    /// An input has another type or shape than the model declares.
    case inputMismatch(name: String, expected: String, found: String)
    /// An output that is wanted as a tensor is something else.
    case notATensor(output: String, found: String)
    /// A node failed while running.
    case failed(node: String, op: OperatorName, reason: String)
    /// Memory ran out.
    case outOfMemory(bytes: Int)
    /// The task that runs the model was cancelled.
    case cancelled
    /// A name that is no persistent value was given.
    case unknownPersistentValue(String)

    /// The input is at fault.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .unsupported(let nodes):
            let shown = nodes.prefix(20).map(\.description).joined(separator: "; ")
            let rest = nodes.count > 20 ? "; and \(nodes.count - 20) more" : ""
            return "cannot run \(nodes.count) node\(nodes.count == 1 ? "" : "s"): \(shown)\(rest)"
        case .invalidGraph(let reason): return "the graph cannot be run: \(reason)"
        case .missingOpset(let domain, let node):
            let name = domain.isEmpty ? "ai.onnx" : domain
            return "node \"\(node)\" uses the domain \"\(name)\" that the model does not import"
        case .notATensor(let output, let found):
            return "the output \"\(output)\" is \(found), not a tensor"
        case .missingInput(let name): return "the input \"\(name)\" was not given"
        case .unknownInput(let name, let known):
            return "the model has no input \"\(name)\"; its inputs are \(known.joined(separator: ", "))"
        case .inputMismatch(let name, let expected, let found):
            return "the input \"\(name)\" must be \(expected), not \(found)"
        case .failed(let node, let op, let reason): return "node \"\(node)\" (\(op)): \(reason)"
        case .outOfMemory(let bytes): return "no memory for a block of \(bytes) bytes"
        case .cancelled: return "the run was cancelled"
        case .unknownPersistentValue(let name): return "the plan keeps no value named \"\(name)\""
        }
    }
}

/// A node that no kernel can run.
public struct UnsupportedNode: Sendable, Equatable, CustomStringConvertible {
    /// The node's name.
    public let node: String
    /// Its operator.
    public let op: OperatorName
    /// Why not.
    public let reason: String

    /// The node, its operator and the reason.
    public var description: String { "\"\(node)\" (\(op)): \(reason)" }
}

/// What a kernel cannot do: thrown by factories while planning and by kernels while running; the executor adds the
/// node's name.
package struct KernelFailure: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

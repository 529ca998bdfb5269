import GraftCore
import GraftIR

/// Why a model cannot be trained as asked: gradients that cannot be right.
public struct DifferentiationError: GraftError, Equatable {
    /// A node that a gradient would have to flow back through, and cannot.
    public struct Obstacle: Sendable, Hashable {
        /// The name of the node, or of its first output.
        public let node: String
        /// Its operator.
        public let op: OperatorName
        /// Why there is no gradient.
        public let reason: String
        /// What needs the gradient: a trainable value, the nodes from it through this one, and the loss.
        public let path: [String]

        /// A node that stops a gradient.
        public init(node: String, op: OperatorName, reason: String, path: [String]) {
            self.node = node
            self.op = op
            self.reason = reason
            self.path = path
        }
    }

    /// Everything that is in the way, in the order of the graph.
    public let obstacles: [Obstacle]

    /// A refusal with its reasons.
    public init(obstacles: [Obstacle]) { self.obstacles = obstacles }

    public var exitStatus: ExitStatus { .badInput }

    public var description: String {
        let shown = obstacles.prefix(8).map { obstacle in
            "node \"\(obstacle.node)\" (\(obstacle.op)): \(obstacle.reason)"
                + (obstacle.path.isEmpty ? "" : "; needed on the way \(Self.text(obstacle.path))")
        }
        let rest = obstacles.count > 8 ? "; and \(obstacles.count - 8) more" : ""
        return "no gradient: \(shown.joined(separator: "; "))\(rest). "
            + "Freeze what lies before these nodes, or choose a body without them."
    }

    private static func text(_ path: [String]) -> String {
        let shown = path.count > 8 ? Array(path.prefix(4)) + ["..."] + Array(path.suffix(3)) : path
        return shown.joined(separator: " -> ")
    }
}

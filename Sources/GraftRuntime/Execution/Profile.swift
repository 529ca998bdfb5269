import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// How long each node of a plan took, over all runs since the profile was made.
public final class Profile {
    /// The time of one node.
    public struct Entry: Sendable {
        /// The node's name; of a fused one the name of the node that it was fused into.
        public let node: String
        /// The operator.
        public let op: OperatorName
        /// How often it ran.
        public var calls: Int
        /// The time of all runs in nanoseconds.
        public var nanoseconds: UInt64
    }

    /// One run of a node, for a time line.
    public struct Event: Sendable {
        /// The position of the node in ``entries``.
        public let entry: Int
        /// When it began, in nanoseconds of the monotonic clock.
        public let start: UInt64
        /// How long it took in nanoseconds.
        public let nanoseconds: UInt64
    }

    /// The times by node, in plan order.
    public private(set) var entries: [Entry]
    /// Every run of every node, in order.
    public private(set) var events: [Event] = []

    /// An empty profile of a plan.
    public init(_ plan: Plan) {
        entries = plan.steps.map { Entry(node: $0.name, op: $0.op, calls: 0, nanoseconds: 0) }
    }

    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    func record(step: Int, from start: UInt64) {
        let elapsed = Self.now() &- start
        entries[step].calls += 1
        entries[step].nanoseconds += elapsed
        events.append(Event(entry: step, start: start, nanoseconds: elapsed))
    }

    /// The times by operator, the longest first.
    public var byOperator: [(op: OperatorName, calls: Int, nanoseconds: UInt64)] {
        var sums: [OperatorName: (Int, UInt64)] = [:]
        for entry in entries {
            let old = sums[entry.op] ?? (0, 0)
            sums[entry.op] = (old.0 + entry.calls, old.1 + entry.nanoseconds)
        }
        return sums.map { ($0.key, $0.value.0, $0.value.1) }
            .sorted { ($1.nanoseconds, $0.op.type) < ($0.nanoseconds, $1.op.type) }
    }
}

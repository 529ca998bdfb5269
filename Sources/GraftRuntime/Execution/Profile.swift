import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// How long each node of a plan took, over all runs since the profile was made; the nodes of bodies count as nodes of
/// their own.
public final class Profile {
    /// The time of one node.
    public struct Entry: Sendable {
        /// The node's name; of a fused one the name of the node that it was fused into.
        ///
        /// A node of a body has the name of the node around it before its own, `loop/Add_3`.
        public let node: String
        /// The operator.
        public let op: OperatorName
        /// The position in ``Profile/entries`` of the node whose body it is in; nil outside bodies.
        public let parent: Int?
        /// How often it ran.
        public internal(set) var calls = 0
        /// The time of all runs in nanoseconds, without the time of the nodes in its bodies.
        public internal(set) var nanoseconds: UInt64 = 0
    }

    /// One run of a node, for a time line.
    public struct Event: Sendable {
        /// The position of the node in ``Profile/entries``.
        public let entry: Int
        /// When it began, in nanoseconds of the monotonic clock.
        public let start: UInt64
        /// How long it took in nanoseconds, its bodies included.
        public let nanoseconds: UInt64
    }

    /// The times by node: in plan order, then those of bodies in the order in which these ran first.
    public private(set) var entries: [Entry] = []
    /// Every run of every node, in the order in which they ended; a node of a body comes before the node around it.
    public private(set) var events: [Event] = []
    /// The time of the nodes that ran so far inside the node that is running.
    private var inside: UInt64 = 0

    /// An empty profile of a plan.
    public init(_ plan: Plan) { add(plan, parent: nil) }

    /// Adds the nodes of a plan.
    ///
    /// - Parameter parent: the entry of the node whose body the plan is.
    /// - Returns: the position of the first.
    @discardableResult func add(_ plan: Plan, parent: Int?) -> Int {
        let first = entries.count
        let prefix = parent.map { "\(entries[$0].node)/" } ?? ""
        entries += plan.steps.map { Entry(node: prefix + $0.name, op: $0.op, parent: parent) }
        return first
    }

    /// A node that is running.
    struct Running {
        let entry: Int
        let start: UInt64
        /// What ``Profile/inside`` was before it.
        let before: UInt64
    }

    func begin(_ entry: Int) -> Running {
        defer { inside = 0 }
        return Running(entry: entry, start: Self.now(), before: inside)
    }

    func end(_ node: Running) {
        let elapsed = Self.now() &- node.start
        entries[node.entry].calls += 1
        entries[node.entry].nanoseconds += elapsed &- inside
        inside = node.before + elapsed
        events.append(Event(entry: node.entry, start: node.start, nanoseconds: elapsed))
    }

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
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

/// The part of a profile that the nodes of one plan report to.
struct ProfileSection {
    let profile: Profile
    /// The entry of the plan's first node.
    let first: Int
}

import GraftCore
import OrderedCollections

/// A group of parameters that train at a rate of their own.
public struct RateGroup: Sendable, Hashable {
    /// The name.
    public var name: String
    /// What the learning rate of the run is multiplied by.
    public var multiplier: Double
    /// The weight decay of the group; nil for that of the run, 0 for none.
    public var weightDecay: Double?
    /// Members of the file's record that this program does not know.
    public var other: OrderedDictionary<String, JSON>

    /// A group.
    public init(
        _ name: String, multiplier: Double = 1, weightDecay: Double? = nil, other: OrderedDictionary<String, JSON> = [:]
    ) {
        self.name = name
        self.multiplier = multiplier
        self.weightDecay = weightDecay
        self.other = other
    }
}

/// Where the classifier of a model is.
public struct HeadMarker: Sendable, Hashable {
    /// The name of the node that multiplies by the classifier's matrix.
    public var node: String
    /// The name of the value where the head begins: what the body gives.
    public var features: String
    /// The name of the value that holds the class scores.
    public var logits: String
    /// The number of classes.
    public var classes: Int
    /// Members of the file's record that this program does not know.
    public var other: OrderedDictionary<String, JSON>

    /// A marker.
    public init(
        node: String, features: String, logits: String, classes: Int, other: OrderedDictionary<String, JSON> = [:]
    ) {
        self.node = node
        self.features = features
        self.logits = logits
        self.classes = classes
        self.other = other
    }
}

/// What a model says about its own training and use; `formats/annotations.md` defines how files hold it.
///
/// Parameters are named by their values' names. What is not said has a default: parameters are thawed, belong to no
/// group, and batch normalizations follow ``defaultBatchNorm`` where that is set.
public struct Annotations: Sendable, Equatable {
    /// The parameters that training must not change.
    public var frozen: OrderedSet<String> = []
    /// The learning-rate groups, by name, in order.
    public var groups: OrderedDictionary<String, RateGroup> = [:]
    /// The group of each parameter that is in one.
    public var groupOfParameter: OrderedDictionary<String, String> = [:]
    /// How batch normalizations behave that are not named in ``batchNorm``; nil where the recipe decides.
    public var defaultBatchNorm: BatchNormMode?
    /// How single batch normalizations behave, by the names of their running means.
    public var batchNorm: OrderedDictionary<String, BatchNormMode> = [:]
    /// The names of the classes, in the order of the scores.
    public var labels: [String]?
    /// How inputs are prepared; its fields are defined where data is read.
    public var preprocessing: JSON?
    /// Where the classifier is.
    public var head: HeadMarker?
    /// What was done to the model, oldest first: objects with a member `pass`.
    public var history: [JSON] = []

    /// Nothing said.
    public init() {}

    /// Whether training may change a parameter.
    public func isTrainable(_ parameter: String) -> Bool { !frozen.contains(parameter) }

    /// The group of a parameter; nil where it is in none.
    public func group(of parameter: String) -> RateGroup? { groupOfParameter[parameter].flatMap { groups[$0] } }

    /// Puts a parameter into a group, which is added or replaced.
    public mutating func assign(_ parameter: String, to group: RateGroup) {
        groups[group.name] = group
        groupOfParameter[parameter] = group.name
    }

    /// Forgets groups that have no parameters.
    public mutating func removeEmptyGroups() {
        let used = Set(groupOfParameter.values)
        groups.removeAll { !used.contains($0.key) }
    }

    /// How a batch normalization behaves, by the name of its running mean; nil where nothing is said.
    public func batchNormMode(ofMean name: String) -> BatchNormMode? { batchNorm[name] ?? defaultBatchNorm }

    /// Follows a parameter, node or value to its new name.
    public mutating func rename(_ old: String, to new: String) {
        if let index = frozen.firstIndex(of: old) {
            frozen.remove(at: index)
            frozen.insert(new, at: min(index, frozen.count))
        }
        Self.rename(old, to: new, in: &groupOfParameter)
        Self.rename(old, to: new, in: &batchNorm)
        if head?.node == old { head?.node = new }
        if head?.features == old { head?.features = new }
        if head?.logits == old { head?.logits = new }
    }

    /// Forgets what is said about parameters that are not there any more.
    public mutating func keep(only names: (String) -> Bool) {
        frozen = OrderedSet(frozen.filter(names))
        groupOfParameter.removeAll { !names($0.key) }
        batchNorm.removeAll { !names($0.key) }
        removeEmptyGroups()
    }

    private static func rename<Item>(
        _ old: String, to new: String, in items: inout OrderedDictionary<String, Item>
    ) {
        guard items[old] != nil else { return }
        items = OrderedDictionary(
            items.map { ($0.key == old ? new : $0.key, $0.value) }, uniquingKeysWith: { $1 })
    }
}

/// Why annotations cannot be read.
public enum AnnotationError: GraftError, Equatable {
    /// The text of a key is no JSON.
    case notJSON(key: String, reason: String)
    /// A member is not what it should be.
    case malformed(key: String, member: String, expected: String)
    /// A parameter names a group that is not defined.
    case unknownGroup(parameter: String, group: String)
    /// The file was written for a later version of the annotations.
    case laterVersion(String)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus { .badInput }
    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .notJSON(let key, let reason): "the model's metadata \"\(key)\" is damaged: \(reason)"
        case .malformed(let key, let member, let expected):
            "the model's metadata \"\(key)\" is damaged: \(member.isEmpty ? "it" : member) should be \(expected)"
        case .unknownGroup(let parameter, let group):
            "the model's metadata \"graft.groups\" is damaged: \(parameter) is in the group \"\(group)\", "
                + "which is not defined"
        case .laterVersion(let version):
            "the model's annotations are of version \(version), which this program does not know; use a later one"
        }
    }
}

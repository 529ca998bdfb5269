import GraftCore
import OrderedCollections

/// The names under which a model's metadata holds annotations.
enum AnnotationKey {
    static let version = "graft.version"
    static let frozen = "graft.frozen"
    static let groups = "graft.groups"
    static let batchNorm = "graft.batch_norm"
    static let labels = "graft.labels"
    static let preprocessing = "graft.preprocessing"
    static let head = "graft.head"
    static let history = "graft.history"
    /// The keys of the model's own metadata, but for the version.
    static let all = [frozen, groups, batchNorm, labels, preprocessing, head, history]
    /// On stored tensors: `true` or `false`.
    static let trainable = "graft.trainable"
    /// On stored tensors: the name of the group.
    static let group = "graft.group"

    /// The version that this program reads and writes.
    static let currentVersion = "1"
}

extension Model {
    /// What the model says about its training and use.
    ///
    /// - Throws: ``AnnotationError``.
    public func annotations() throws(AnnotationError) -> Annotations { try Annotations(metadata) }
}

extension Annotations {
    /// Reads the annotations in a model's metadata.
    public init(_ metadata: Metadata) throws(AnnotationError) {
        if let version = metadata[AnnotationKey.version], version != AnnotationKey.currentVersion {
            throw .laterVersion(version)
        }
        if let json = try Self.json(AnnotationKey.frozen, in: metadata) {
            frozen = OrderedSet(try Self.texts(json, key: AnnotationKey.frozen))
        }
        if let json = try Self.json(AnnotationKey.groups, in: metadata) { try readGroups(json) }
        if let json = try Self.json(AnnotationKey.batchNorm, in: metadata) { try readBatchNorm(json) }
        if let json = try Self.json(AnnotationKey.labels, in: metadata) {
            labels = try Self.texts(json, key: AnnotationKey.labels)
        }
        preprocessing = try Self.json(AnnotationKey.preprocessing, in: metadata)
        if let json = try Self.json(AnnotationKey.head, in: metadata) { try readHead(json) }
        if let json = try Self.json(AnnotationKey.history, in: metadata) {
            guard let entries = json.array else {
                throw .malformed(key: AnnotationKey.history, member: "", expected: "a list")
            }
            history = entries
        }
    }

    private static func json(_ key: String, in metadata: Metadata) throws(AnnotationError) -> JSON? {
        guard let text = metadata[key] else { return nil }
        do {
            return try JSON(parsing: text)
        } catch {
            throw .notJSON(key: key, reason: "\(error)")
        }
    }

    private static func texts(_ json: JSON, key: String) throws(AnnotationError) -> [String] {
        guard let elements = json.array else { throw .malformed(key: key, member: "", expected: "a list of names") }
        var result: [String] = []
        for (index, element) in elements.enumerated() {
            guard let text = element.string else {
                throw .malformed(key: key, member: "element \(index)", expected: "a name")
            }
            result.append(text)
        }
        return result
    }

    private mutating func readGroups(_ json: JSON) throws(AnnotationError) {
        let key = AnnotationKey.groups
        guard let elements = json.array else { throw .malformed(key: key, member: "", expected: "a list of groups") }
        for (index, element) in elements.enumerated() {
            guard var members = element.object, let name = members.removeValue(forKey: "name")?.string else {
                throw .malformed(key: key, member: "group \(index)", expected: "an object with a name")
            }
            let multiplier = members.removeValue(forKey: "multiplier") ?? 1
            guard let rate = multiplier.double, rate.isFinite, rate >= 0 else {
                throw .malformed(key: key, member: "the multiplier of \(name)", expected: "a number of at least 0")
            }
            var decay: Double?
            if let value = members.removeValue(forKey: "weight_decay"), !value.isNull {
                guard let number = value.double, number.isFinite, number >= 0 else {
                    throw .malformed(
                        key: key, member: "the weight_decay of \(name)", expected: "a number of at least 0")
                }
                decay = number
            }
            let parameters = try Self.texts(members.removeValue(forKey: "parameters") ?? [], key: key)
            groups[name] = RateGroup(name, multiplier: rate, weightDecay: decay, other: members)
            for parameter in parameters { groupOfParameter[parameter] = name }
        }
    }

    private mutating func readBatchNorm(_ json: JSON) throws(AnnotationError) {
        let key = AnnotationKey.batchNorm
        let expected = "frozen, inference, train, or the switches affine, statistics and update"
        guard let members = json.object else {
            throw .malformed(key: key, member: "", expected: "an object of names and modes")
        }
        for (name, value) in members {
            guard let mode = BatchNormMode(json: value) else {
                throw .malformed(key: key, member: "the mode of \"\(name)\"", expected: expected)
            }
            if name == "*" { defaultBatchNorm = mode } else { batchNorm[name] = mode }
        }
    }

    private mutating func readHead(_ json: JSON) throws(AnnotationError) {
        let key = AnnotationKey.head
        guard var members = json.object, let node = members.removeValue(forKey: "node")?.string,
            let features = members.removeValue(forKey: "features")?.string,
            let logits = members.removeValue(forKey: "logits")?.string,
            let classes = members.removeValue(forKey: "classes")?.int, classes > 0
        else {
            throw .malformed(key: key, member: "", expected: "an object with node, features, logits and classes")
        }
        head = HeadMarker(node: node, features: features, logits: logits, classes: classes, other: members)
    }
}

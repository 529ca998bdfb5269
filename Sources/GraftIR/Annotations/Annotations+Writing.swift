import GraftCore
import OrderedCollections

extension Model {
    /// Replaces what the model says about its training and use.
    ///
    /// Metadata under other names stays. Stored tensors get their own entries (`graft.trainable`, `graft.group`) too
    /// where the file's IR version has room for them (10 and later); those are for other programs and are not read.
    public mutating func setAnnotations(_ annotations: Annotations) {
        annotations.write(to: &metadata)
        for id in graph.initializers {
            let name = graph[id].name
            let isFrozen = annotations.frozen.contains(name)
            let group = annotations.groupOfParameter[name]
            let canSay = irVersion >= 10
            setTensorMetadata(AnnotationKey.trainable, of: id, to: canSay && isFrozen ? "false" : nil)
            setTensorMetadata(AnnotationKey.group, of: id, to: canSay ? group : nil)
        }
    }

    /// Changes what the model says about its training and use.
    public mutating func updateAnnotations(_ edit: (inout Annotations) throws -> Void) throws {
        var annotations = try annotations()
        try edit(&annotations)
        setAnnotations(annotations)
    }

    /// Renames a stored tensor or other value; annotations follow.
    ///
    /// - Precondition: no other value has the name.
    public mutating func renameParameter(_ id: ValueID, to name: String) throws(AnnotationError) {
        var annotations = try annotations()
        let old = graph[id].name
        graph.rename(id, to: name)
        annotations.rename(old, to: name)
        setAnnotations(annotations)
    }

    private mutating func setTensorMetadata(_ key: String, of id: ValueID, to text: String?) {
        guard graph[id].initializer?.metadata[key] != text else { return }
        graph[id].initializer?.metadata[key] = text
    }
}

extension Annotations {
    /// Writes the annotations into a model's metadata; what says nothing is left out.
    func write(to metadata: inout Metadata) {
        var entries: [(key: String, json: JSON)] = []
        if !frozen.isEmpty { entries.append((AnnotationKey.frozen, JSON(Array(frozen)))) }
        if !groups.isEmpty { entries.append((AnnotationKey.groups, groupsJSON)) }
        if let batchNormJSON { entries.append((AnnotationKey.batchNorm, batchNormJSON)) }
        if let labels { entries.append((AnnotationKey.labels, JSON(labels))) }
        if let preprocessing { entries.append((AnnotationKey.preprocessing, preprocessing)) }
        if let head { entries.append((AnnotationKey.head, Self.json(head))) }
        if !history.isEmpty { entries.append((AnnotationKey.history, JSON(history))) }
        for key in AnnotationKey.all where !entries.contains(where: { $0.key == key }) { metadata[key] = nil }
        metadata[AnnotationKey.version] = entries.isEmpty ? nil : AnnotationKey.currentVersion
        for (key, json) in entries {
            // A text that already says the same keeps its layout.
            if let present = metadata[key], (try? JSON(parsing: present)) == json { continue }
            metadata[key] = json.text()
        }
    }

    private var groupsJSON: JSON {
        var members: [String: [String]] = [:]
        for (parameter, group) in groupOfParameter { members[group, default: []].append(parameter) }
        return JSON(
            groups.values.map { group in
                var json: OrderedDictionary<String, JSON> = [
                    "name": JSON(group.name), "multiplier": JSON(group.multiplier),
                ]
                if let decay = group.weightDecay { json["weight_decay"] = JSON(decay) }
                json["parameters"] = JSON(members[group.name] ?? [])
                json.merge(group.other) { a, _ in a }
                return .object(json)
            })
    }

    private var batchNormJSON: JSON? {
        guard defaultBatchNorm != nil || !batchNorm.isEmpty else { return nil }
        var json: OrderedDictionary<String, JSON> = [:]
        if let mode = defaultBatchNorm { json["*"] = mode.json }
        for (name, mode) in batchNorm { json[name] = mode.json }
        return .object(json)
    }

    private static func json(_ head: HeadMarker) -> JSON {
        var json: OrderedDictionary<String, JSON> = [
            "node": JSON(head.node), "features": JSON(head.features), "logits": JSON(head.logits),
            "classes": JSON(head.classes),
        ]
        json.merge(head.other) { a, _ in a }
        return .object(json)
    }
}

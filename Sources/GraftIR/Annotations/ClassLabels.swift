import GraftCore
import OrderedCollections

/// The names of a model's classes, and where they were found.
public struct ClassLabels: Sendable, Equatable {
    /// The names, in the order of the scores.
    public let names: [String]
    /// The metadata key that holds them.
    public let key: String

    /// Names, and the key that holds them.
    public init(names: [String], key: String) {
        self.names = names
        self.key = key
    }
}

extension Model {
    /// The keys under which other programs keep class names.
    private static let labelKeys = [
        "names", "classes", "labels", "class_names", "classnames", "class_labels", "categories", "id2label",
    ]

    /// The names of the classes: Graft's own annotation, or what another program left in the metadata.
    ///
    /// Other programs write JSON, a Python literal (`{0: 'cat', 1: 'dog'}`), a line a class, or a list with commas;
    /// a text that is none of these is passed over.
    public var classLabels: ClassLabels? {
        if let labels = try? annotations().labels { return ClassLabels(names: labels, key: AnnotationKey.labels) }
        for key in Self.labelKeys {
            if let text = metadata[key], let names = Self.labels(in: text) {
                return ClassLabels(names: names, key: key)
            }
        }
        return nil
    }

    private static func labels(in text: String) -> [String]? {
        if let json = (try? JSON(parsing: text)) ?? PythonLiteral.parse(text) { return labels(in: json) }
        guard text.utf8.count < 1 << 20, !text.hasPrefix("{"), !text.hasPrefix("[") else { return nil }
        let isSeparator: (Character) -> Bool = text.contains(where: \.isNewline) ? \.isNewline : { $0 == "," }
        let names = text.split(whereSeparator: isSeparator).map(trimmed).filter { !$0.isEmpty }
        return names.count > 1 ? names : nil
    }

    private static func labels(in json: JSON) -> [String]? {
        if let elements = json.array {
            let names = elements.compactMap { $0.string ?? $0.int.map(String.init) }
            return names.count == elements.count && !names.isEmpty ? names : nil
        }
        guard let members = json.object, !members.isEmpty else { return nil }
        // From number to name, or the other way round.
        var byIndex = [String?](repeating: nil, count: members.count)
        for (key, value) in members {
            let (index, name) = Int(key) != nil ? (Int(key), value.string) : (value.int, Optional(key))
            guard let index, let name, byIndex.indices.contains(index), byIndex[index] == nil else { return nil }
            byIndex[index] = name
        }
        return byIndex.compactMap { $0 }
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}

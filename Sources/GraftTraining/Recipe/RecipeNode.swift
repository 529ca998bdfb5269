import GraftCore
import Yams

/// One value of a recipe's YAML with the path and line that messages name.
struct RecipeNode {
    let node: Node
    let place: RecipePlace

    init(_ node: Node, _ path: String, source: String) {
        self.node = node
        place = RecipePlace(path, source: source, line: node.mark?.line)
    }

    /// What stands there, for messages.
    private var found: String {
        switch node {
        case .mapping: "a mapping"
        case .sequence: "a list"
        case .scalar(let scalar): scalar.string.isEmpty ? "nothing" : "\"\(scalar.string.prefix(60))\""
        default: "an alias"
        }
    }

    func wrongType(_ expected: String) -> RecipeError { .wrongType(place, expected: expected, found: found) }

    /// Whether this is a scalar that YAML reads as nothing.
    var isNull: Bool {
        guard case .scalar(let scalar) = node, scalar.style == .plain || scalar.style == .any else { return false }
        return ["", "~", "null", "none"].contains(scalar.string.lowercased())
    }

    private func plain() -> String? {
        guard case .scalar(let scalar) = node, scalar.style == .plain || scalar.style == .any else { return nil }
        return scalar.string
    }

    func text() throws(RecipeError) -> String {
        guard case .scalar(let scalar) = node, !scalar.string.isEmpty else { throw wrongType("a text") }
        return scalar.string
    }

    func bool() throws(RecipeError) -> Bool {
        switch plain()?.lowercased() {
        case "true", "yes", "on": true
        case "false", "no", "off": false
        default: throw wrongType("true or false")
        }
    }

    /// A number, where the text is one.
    var numeric: Double? {
        guard let text = plain(), let first = text.first, first.isNumber || "+-.".contains(first),
            let value = Double(text), value.isFinite
        else { return nil }
        return value
    }

    func number(_ range: ClosedRange<Double> = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude)
        throws(RecipeError) -> Double
    {
        guard let value = numeric else { throw wrongType("a number") }
        guard range.contains(value) else {
            throw .outOfRange(
                place, value: YAMLText.number(value),
                allowed: "\(YAMLText.number(range.lowerBound)) to \(YAMLText.number(range.upperBound))")
        }
        return value
    }

    func count(_ range: ClosedRange<Int>) throws(RecipeError) -> Int {
        guard let text = plain(), let value = Int(text) else { throw wrongType("a whole number") }
        guard range.contains(value) else {
            throw .outOfRange(place, value: text, allowed: "\(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func unsigned() throws(RecipeError) -> UInt64 {
        guard let text = plain(), let value = UInt64(text) else { throw wrongType("a whole number, not negative") }
        return value
    }

    func choice<Choice: RawRepresentable & CaseIterable>(_ type: Choice.Type) throws(RecipeError) -> Choice
    where Choice.RawValue == String {
        let name = try text()
        guard let value = Choice(rawValue: name) else {
            throw .unknownName(place, name: name, known: type.allCases.map(\.rawValue))
        }
        return value
    }

    func list() throws(RecipeError) -> [RecipeNode] {
        guard case .sequence(let sequence) = node else { throw wrongType("a list") }
        guard sequence.count <= 10_000 else {
            throw .outOfRange(place, value: "a list of \(sequence.count)", allowed: "at most 10000 entries")
        }
        return sequence.enumerated().map { RecipeNode($0.element, "\(place.path)[\($0.offset)]", source: place.source) }
    }

    var isList: Bool { if case .sequence = node { true } else { false } }
    var isMapping: Bool { if case .mapping = node { true } else { false } }

    /// The entries of a mapping whose keys are all known.
    func mapping(_ known: [String]) throws(RecipeError) -> [String: RecipeNode] {
        let entries = try entries()
        for (key, value) in entries where !known.contains(key) {
            throw .unknownKey(
                RecipePlace(place.path, source: place.source, line: value.keyLine), key: key, known: known)
        }
        return Dictionary(entries.map { ($0.key, $0.value.value) }, uniquingKeysWith: { $1 })
    }

    /// All entries of a mapping with the lines of their keys, in file order.
    func entries() throws(RecipeError) -> [(key: String, value: (value: RecipeNode, keyLine: Int?))] {
        guard case .mapping(let mapping) = node else { throw wrongType("a mapping of keys to values") }
        var result: [(String, (RecipeNode, Int?))] = []
        var seen = Set<String>()
        for (key, value) in mapping {
            guard case .scalar(let scalar) = key else { throw wrongType("keys that are texts") }
            let name = scalar.string
            let line = key.mark?.line
            guard seen.insert(name).inserted else {
                throw .repeatedKey(RecipePlace(place.path, source: place.source, line: line), key: name)
            }
            let path = place.path.isEmpty ? name : "\(place.path).\(name)"
            result.append((name, (RecipeNode(value, path, source: place.source), line)))
        }
        return result
    }
}

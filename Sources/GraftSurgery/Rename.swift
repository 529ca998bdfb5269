import GraftCore
import GraftIR

/// Gives values, nodes and named extents other names, also inside bodies and functions.
public enum Rename: Pass {
    /// What a rule renames.
    public enum Kind: String, Sendable, CaseIterable {
        /// Inputs, outputs, stored tensors and what nodes make.
        case values
        /// Nodes.
        case nodes
        /// Named extents, such as a batch size.
        case dimensions
    }

    /// One old name or pattern and its new name.
    public struct Rule: Sendable, Equatable {
        /// The old name, or a regular expression.
        public var old: String
        /// The new name; with a regular expression `$1` stands for its first group, `$0` for what matched.
        public var new: String

        /// A rule.
        public init(_ old: String, to new: String) {
            self.old = old
            self.new = new
        }
    }

    /// The rules, and what they rename.
    public struct Options: Sendable, Equatable {
        /// The rules; of several that match a name the first counts.
        public var rules: [Rule]
        /// Whether the old names are regular expressions, of which every match is replaced.
        public var isRegex: Bool
        /// What is renamed.
        public var kinds: Set<Kind>

        /// Rules.
        public init(_ rules: [Rule], isRegex: Bool = false, kinds: Set<Kind> = Set(Kind.allCases)) {
            self.rules = rules
            self.isRegex = isRegex
            self.kinds = kinds
        }
    }

    /// The name of the pass.
    public static let name = "rename"
    /// What the pass does.
    public static let summary = "Renames values, nodes and named extents."

    /// The patch that renames.
    ///
    /// - Throws: ``RenameError`` where a rule matches nothing, a pattern is no pattern, or two things would have one
    ///   name.
    public static func patch(for model: Model, _ options: Options) throws -> Patch {
        let details: JSON = [
            "rules": JSON(options.rules.map { JSON("\($0.old)=\($0.new)") })
        ]
        return try record(on: model, details: details) { edited in
            var renamer = try Renamer(options)
            let before = model.graph
            try renamer.apply(to: &edited.graph, outer: [])
            for index in edited.functions.indices {
                try renamer.apply(to: &edited.functions[index].body, outer: [])
            }
            let stored = before.initializers.filter { edited.graph[$0].name != before[$0].name }
            if !model.training.isEmpty, let first = stored.first {
                throw RenameError.training(name: before[first].name)
            }
            for (index, rule) in options.rules.enumerated() where !renamer.matched.contains(index) {
                throw RenameError.noMatch(
                    old: rule.old, suggestion: Suggestion.sentence(rule.old, in: renamer.seen.sorted()))
            }
            // Two steps, so that two names may be exchanged.
            var changes: [(old: String, new: String)] = []
            for id in before.values where edited.graph[id].name != before[id].name {
                changes.append((before[id].name, edited.graph[id].name))
            }
            for id in before.order where edited.graph[id].name != before[id].name {
                changes.append((before[id].name, edited.graph[id].name))
            }
            if model.metadata.entries.contains(where: { $0.key.hasPrefix("graft.") }) {
                try edited.updateAnnotations { annotations in
                    for (index, change) in changes.enumerated() {
                        annotations.rename(change.old, to: "\u{0}\(index)")
                    }
                    for (index, change) in changes.enumerated() {
                        annotations.rename("\u{0}\(index)", to: change.new)
                    }
                }
            }
        }
    }
}

/// Applies rules to graphs, and remembers which rules matched.
private struct Renamer {
    let kinds: Set<Rename.Kind>
    private let rules: [Rename.Rule]
    private let patterns: [Regex<AnyRegexOutput>]
    private(set) var matched: Set<Int> = []
    /// The names that were looked at.
    private(set) var seen: Set<String> = []

    init(_ options: Rename.Options) throws {
        kinds = options.kinds
        rules = options.rules
        patterns =
            try options.isRegex
            ? options.rules.map { rule in
                do { return try Regex(rule.old) } catch { throw RenameError.badPattern(rule.old, reason: "\(error)") }
            } : []
    }

    private mutating func renamed(_ name: String) throws -> String {
        guard !name.isEmpty else { return name }
        seen.insert(name)
        for index in rules.indices {
            let result: String
            if patterns.isEmpty {
                guard name == rules[index].old else { continue }
                result = rules[index].new
            } else {
                guard name.contains(patterns[index]) else { continue }
                result = name.replacing(patterns[index]) { expand(rules[index].new, $0) }
            }
            matched.insert(index)
            guard !result.isEmpty else { throw RenameError.emptyName(old: name) }
            return result
        }
        return name
    }

    /// The template with `$0` to `$9` replaced by what matched.
    private func expand(_ template: String, _ match: Regex<AnyRegexOutput>.Match) -> String {
        var result = ""
        var rest = template[...]
        while let character = rest.popFirst() {
            guard character == "$", let digit = rest.first, digit.isASCII, let index = digit.wholeNumberValue else {
                result.append(character)
                continue
            }
            rest.removeFirst()
            if index < match.output.count, let text = match.output[index].substring { result += text }
        }
        return result
    }

    /// Renames in a graph and the bodies inside it.
    ///
    /// - Parameter outer: the names of the values around the graph, after renaming.
    mutating func apply(to graph: inout Graph, outer: Set<String>) throws {
        var names = outer
        if kinds.contains(.values) {
            let before = graph
            try renameValues(in: &graph, outer: outer)
            graph.followRenamedValues(since: before)
        }
        for id in graph.values { names.insert(graph[id].name) }
        for id in graph.order {
            if kinds.contains(.nodes) {
                let name = try renamed(graph[id].name)
                if name != graph[id].name { graph[id].name = name }
            }
            for body in graph.bodies(of: id) {
                var inner = body.graph
                try apply(to: &inner, outer: names)
                guard inner != body.graph else { continue }
                graph.setBody(inner, of: id, attribute: body.attribute, index: body.index)
            }
        }
        if kinds.contains(.dimensions) {
            for id in graph.values {
                guard let type = graph[id].type else { continue }
                let fresh = try renamed(type)
                guard fresh != type else { continue }
                for index in graph[id].variants.indices { graph[id].variants[index].original.type = fresh }
                graph[id].type = fresh
            }
        }
    }

    private mutating func renameValues(in graph: inout Graph, outer: Set<String>) throws {
        var changes: [(id: ValueID, name: String)] = []
        var final: [String: String] = [:]
        for id in graph.values {
            let old = graph[id].name
            // What a body captures has the name of the value around it.
            if case .capture = graph[id].origin {
                final[old] = old
                continue
            }
            let name = try renamed(old)
            if let other = final[name] { throw RenameError.clash(first: other, second: old, name: name) }
            if name != old, outer.contains(name) { throw RenameError.clash(first: name, second: old, name: name) }
            final[name] = old
            if name != old { changes.append((id, name)) }
        }
        for change in changes { graph.rename(change.id, to: graph.uniqueValueName("\u{0}\(change.name)")) }
        for change in changes { graph.rename(change.id, to: change.name) }
    }

    private mutating func renamed(_ type: ValueType) throws -> ValueType {
        var result = type
        switch type.kind {
        case .tensor, .sparseTensor:
            guard var shape = type.shape else { return type }
            for axis in 0..<shape.rank {
                guard case .symbol(let text) = shape[axis].extent else { continue }
                shape[axis].extent = .symbol(try renamedNames(in: text))
            }
            if shape != type.shape { result.shape = shape }
        case .sequence(let inner?): result.kind = .sequence(try renamed(inner))
        case .optional(let inner?): result.kind = .optional(try renamed(inner))
        case .map(let key, let inner?): result.kind = .map(key, try renamed(inner))
        default: break
        }
        return result
    }

    /// An extent with its names renamed: the name itself, or each name in an expression.
    private mutating func renamedNames(in text: String) throws -> String {
        let whole = try renamed(text)
        if whole != text || text.isIdentifier { return whole }
        var result = ""
        var word = ""
        for character in text {
            if character == "_" || character == "." || character.isLetter || character.isNumber {
                word.append(character)
                continue
            }
            result += try renamed(word)
            word = ""
            result.append(character)
        }
        return result + (try renamed(word))
    }
}

/// Why names cannot be given.
public enum RenameError: GraftError, Equatable {
    /// A rule matches nothing.
    case noMatch(old: String, suggestion: String)
    /// A pattern is no regular expression.
    case badPattern(String, reason: String)
    /// A name would be empty.
    case emptyName(old: String)
    /// Two values would have one name.
    case clash(first: String, second: String, name: String)
    /// The model's own training step names the tensor.
    case training(name: String)

    public var exitStatus: ExitStatus { .badInput }
    public var description: String {
        switch self {
        case .noMatch(let old, let suggestion): "nothing is named \"\(old)\".\(suggestion)"
        case .badPattern(let text, let reason): "\"\(text)\" is no regular expression: \(reason)"
        case .emptyName(let old): "\"\(old)\" would have an empty name"
        case .clash(let first, let second, let name):
            "\"\(first)\" and \"\(second)\" would both be named \"\(name)\""
        case .training(let name): "\"\(name)\" is named by the training step in the file, which is not rewritten"
        }
    }
}

import GraftCore

extension Selector {
    /// Parses a selector.
    ///
    /// - Throws: ``SelectorError/syntax(text:position:reason:)``.
    public static func parse(_ text: String) throws(SelectorError) -> Selector {
        var parser = Parser(text: text, characters: Array(text))
        let result = try parser.list(depth: 0)
        parser.skipSpace()
        if parser.position < parser.characters.count { throw parser.error("unexpected \"\(parser.rest)\"") }
        return result
    }

    /// The names of the selectors that begin with `@`.
    private static let words = [
        "@head", "@backbone", "@last", "@first", "@block", "@norm", "@bias", "@weight", "@frozen", "@trainable",
        "@group",
    ]

    private struct Parser {
        let text: String
        let characters: [Character]
        var position = 0

        var rest: String { String(characters[position...].prefix(20)) }

        func error(_ reason: String, at place: Int? = nil) -> SelectorError {
            .syntax(text: text, position: place ?? position, reason: reason)
        }

        mutating func skipSpace() {
            while position < characters.count, characters[position].isWhitespace { position += 1 }
        }

        mutating func take(_ character: Character) -> Bool {
            skipSpace()
            guard position < characters.count, characters[position] == character else { return false }
            position += 1
            return true
        }

        mutating func list(depth: Int) throws(SelectorError) -> Selector {
            guard depth < 50 else { throw error("too many parentheses") }
            var items = [try meet(depth: depth)]
            while take(",") { items.append(try meet(depth: depth)) }
            if items.count == 1, case .not = items[0] { return items[0] }
            return items.count == 1 ? items[0] : .list(items)
        }

        private mutating func meet(depth: Int) throws(SelectorError) -> Selector {
            var factors = [try factor(depth: depth)]
            while true {
                if take("&") {
                    factors.append(try factor(depth: depth))
                } else if takeDash() {
                    factors.append(.not(try factor(depth: depth)))
                } else {
                    return factors.count == 1 ? factors[0] : .all(factors)
                }
            }
        }

        /// A dash between spaces takes away; any other is a part of a name.
        private mutating func takeDash() -> Bool {
            skipSpace()
            guard position > 0, position + 1 < characters.count, characters[position] == "-",
                characters[position - 1].isWhitespace, characters[position + 1].isWhitespace
            else { return false }
            position += 1
            return true
        }

        private mutating func factor(depth: Int) throws(SelectorError) -> Selector {
            var negations = 0
            while take("!") { negations += 1 }
            let inner: Selector
            if take("(") {
                inner = try list(depth: depth + 1)
                guard take(")") else { throw error("a parenthesis is not closed") }
            } else {
                inner = try atom()
            }
            return negations % 2 == 1 ? .not(inner) : inner
        }

        private mutating func atom() throws(SelectorError) -> Selector {
            skipSpace()
            let start = position
            if position < characters.count, characters[position] == "\"" { return .name(try quoted()) }
            let word = word()
            guard !word.isEmpty else {
                throw error(position < characters.count ? "expected a name, found \"\(rest)\"" : "expected a name")
            }
            if word.hasPrefix("@") { return try special(word, at: start) }
            for (prefix, make) in [
                ("op:", Selector.op), ("from:", Selector.from), ("through:", Selector.through),
            ] where word.hasPrefix(prefix) {
                var name = String(word.dropFirst(prefix.count))
                if name.isEmpty, position < characters.count, characters[position] == "\"" { name = try quoted() }
                guard !name.isEmpty else { throw error("\(prefix) needs a name, such as \(prefix)Conv") }
                return make(name)
            }
            return .name(word)
        }

        private mutating func special(_ word: String, at start: Int) throws(SelectorError) -> Selector {
            let parts = word.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let argument = parts.count > 1 ? parts[1] : nil
            switch parts[0] {
            case "@last", "@first":
                guard let count = argument.flatMap(Int.init), count > 0 else {
                    throw error("\(parts[0]) needs a number of blocks, such as \(parts[0]):2", at: start)
                }
                return parts[0] == "@last" ? .last(count) : .first(count)
            case "@block", "@group":
                guard let argument, !argument.isEmpty else { throw error("\(parts[0]) needs a name", at: start) }
                return parts[0] == "@block" ? .block(argument) : .group(argument)
            default: break
            }
            if argument != nil { throw error("\(parts[0]) takes nothing after a colon", at: start) }
            switch word {
            case "@head": return .head
            case "@backbone": return .backbone
            case "@norm": return .norm
            case "@bias": return .bias
            case "@weight": return .weight
            case "@frozen": return .frozen
            case "@trainable": return .trainable
            default:
                throw error(
                    "there is no \(word);" + Suggestion.sentence(word, in: Selector.words)
                        + " Known are \(Selector.words.joined(separator: ", "))", at: start)
            }
        }

        private mutating func word() -> String {
            let start = position
            var brackets = false
            while position < characters.count {
                let character = characters[position]
                if character == "[" { brackets = true }
                if character == "]" { brackets = false }
                // In a set such as [!0-3] an exclamation mark belongs to the name.
                if ",&()\"".contains(character) || character.isWhitespace || character == "!" && !brackets { break }
                position += 1
            }
            return String(characters[start..<position])
        }

        private mutating func quoted() throws(SelectorError) -> String {
            let start = position
            position += 1
            guard let end = characters[position...].firstIndex(of: "\"") else {
                throw error("a quotation mark is not closed", at: start)
            }
            defer { position = end + 1 }
            return String(characters[position..<end])
        }
    }
}

extension Selector: CustomStringConvertible {
    /// The selector as it is written.
    public var description: String {
        switch self {
        case .name(let name): Self.quotedIfNeeded(name)
        case .head: "@head"
        case .backbone: "@backbone"
        case .last(let count): "@last:\(count)"
        case .first(let count): "@first:\(count)"
        case .block(let name): "@block:\(name)"
        case .norm: "@norm"
        case .bias: "@bias"
        case .weight: "@weight"
        case .frozen: "@frozen"
        case .trainable: "@trainable"
        case .group(let name): "@group:\(name)"
        case .op(let name): "op:\(Self.quotedIfNeeded(name))"
        case .from(let name): "from:\(Self.quotedIfNeeded(name))"
        case .through(let name): "through:\(Self.quotedIfNeeded(name))"
        case .not(let inner): "!\(inner.grouped)"
        case .all(let factors): factors.map(\.grouped).joined(separator: " & ")
        case .list(let items): items.map(\.listed).joined(separator: ",")
        }
    }

    private var grouped: String {
        switch self {
        case .all, .list: "(\(description))"
        default: description
        }
    }

    private var listed: String {
        if case .list = self { "(\(description))" } else { description }
    }

    private static func quotedIfNeeded(_ name: String) -> String {
        name.contains { ",&()!".contains($0) || $0.isWhitespace } || name.hasPrefix("@") || name.hasPrefix("-")
            ? "\"\(name)\"" : name
    }
}

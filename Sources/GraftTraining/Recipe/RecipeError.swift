import GraftCore

/// Where in a recipe something stands: the path of the key, and the line where it came from a file.
public struct RecipePlace: Sendable, Equatable, CustomStringConvertible {
    /// The file, or empty for a recipe made in memory.
    public var source: String
    /// The keys from the top, such as `stages[1].rate`; empty for the whole recipe.
    public var path: String
    /// The line, counted from 1.
    public var line: Int?

    /// A place in a recipe.
    public init(_ path: String, source: String = "", line: Int? = nil) {
        self.path = path
        self.source = source
        self.line = line
    }

    /// What is wrong, where, and what to do.
    public var description: String {
        let file = source.isEmpty ? "recipe" : source
        let place = line.map { "\(file):\($0)" } ?? file
        return path.isEmpty ? place : "\(place): \(path)"
    }
}

/// What can be wrong with a recipe.
public enum RecipeError: GraftError, Equatable {
    /// The text is no YAML.
    case syntax(RecipePlace, reason: String)
    /// A key that recipes do not have.
    case unknownKey(RecipePlace, key: String, known: [String])
    /// A key stands twice.
    case repeatedKey(RecipePlace, key: String)
    /// A value of another type than the key takes.
    case wrongType(RecipePlace, expected: String, found: String)
    /// A value outside the allowed range.
    case outOfRange(RecipePlace, value: String, allowed: String)
    /// A name that nothing has.
    case unknownName(RecipePlace, name: String, known: [String])
    /// A key that must be there is not.
    case missing(RecipePlace, key: String)
    /// Two settings that contradict each other, or a setting that makes no sense here.
    case contradiction(RecipePlace, reason: String)
    /// A recipe that is neither a known name nor a file.
    case noSuchRecipe(name: String, known: [String])
    /// The recipe does not fit the model.
    case doesNotFit(RecipePlace, reason: String)

    /// The exit status of a command that this ends.
    public var exitStatus: ExitStatus {
        if case .noSuchRecipe = self { .missingInput } else { .badInput }
    }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .syntax(let place, let reason): "\(place): not valid YAML: \(reason)"
        case .unknownKey(let place, let key, let known):
            "\(place): there is no key \"\(key)\" here.\(Suggestion.sentence(key, in: known)) "
                + "The keys are \(known.joined(separator: ", "))"
        case .repeatedKey(let place, let key): "\(place): the key \"\(key)\" stands twice; keep one"
        case .wrongType(let place, let expected, let found): "\(place): expected \(expected), found \(found)"
        case .outOfRange(let place, let value, let allowed): "\(place): \(value) is out of range; allowed is \(allowed)"
        case .unknownName(let place, let name, let known):
            "\(place): there is no \"\(name)\".\(Suggestion.sentence(name, in: known)) "
                + "There is \(known.joined(separator: ", "))"
        case .missing(let place, let key): "\(place): the key \"\(key)\" is missing"
        case .contradiction(let place, let reason): "\(place): \(reason)"
        case .noSuchRecipe(let name, let known):
            "\(name): neither a recipe file nor a recipe's name.\(Suggestion.sentence(name, in: known)) "
                + "The names are \(known.joined(separator: ", "))"
        case .doesNotFit(let place, let reason): "\(place): \(reason)"
        }
    }
}

import GraftCore

/// A name for parts of a model: a pattern, a property, a range, or a combination of these.
///
/// Patterns are matched against the paths of layers and groups, the names of nodes, and the names of parameters; a layer
/// or group stands for everything in it. `*` runs over any characters, `.` and `/` stand for each other.
///
/// | Written | Meaning |
/// | --- | --- |
/// | `layer4.*`, `conv1`, `*.bias` | what has such a name |
/// | `*` | everything |
/// | `@head` | the classifier with what comes after it |
/// | `@backbone` | everything but `@head` |
/// | `@last:3`, `@first:2` | that many blocks from the end or the beginning; the head is no block and is not counted |
/// | `@block:conv_13` | blocks by name |
/// | `@norm` | normalizations |
/// | `@bias` | biases of layers and shifts of normalizations |
/// | `@weight` | kernels, matrices and embeddings |
/// | `@frozen`, `@trainable` | parameters by what the file says |
/// | `@group:NAME` | parameters by learning-rate group |
/// | `op:Conv` | nodes by operator |
/// | `from:x`, `through:y` | `x` and what depends on it; `y` and what it depends on |
/// | `"a,b"` | a name with characters that mean something here |
///
/// Combined, from the tightest: `!a` is everything but `a`; `a & b` is what both select; in a list `a, b, !c` each item
/// adds, and one that is a plain `!c` takes away from what stands before it (from everything where it is first);
/// parentheses group. `a - b`, with spaces around the dash, is `a & !b`.
public indirect enum Selector: Sendable, Equatable {
    /// What has a name that fits a pattern.
    case name(String)
    /// The classifier with what comes after it.
    case head
    /// Everything but the classifier.
    case backbone
    /// The last blocks before the head.
    case last(Int)
    /// The first blocks.
    case first(Int)
    /// Blocks by name.
    case block(String)
    /// Normalizations.
    case norm
    /// Biases and shifts.
    case bias
    /// Kernels, matrices and embeddings.
    case weight
    /// Parameters that the file says are frozen.
    case frozen
    /// Parameters that the file does not say are frozen.
    case trainable
    /// Parameters of a learning-rate group.
    case group(String)
    /// Nodes by operator.
    case op(String)
    /// A place and everything that depends on it.
    case from(String)
    /// A place and everything that it depends on.
    case through(String)
    /// Everything but what is selected.
    case not(Selector)
    /// What all select.
    case all([Selector])
    /// A list whose items add, or take away where they are ``not(_:)``.
    case list([Selector])
}

/// Why a selector cannot be used.
public enum SelectorError: GraftError, Equatable {
    /// The text does not follow the grammar.
    case syntax(text: String, position: Int, reason: String)
    /// Nothing in the model fits a part of the selector.
    case noMatch(part: String, reason: String, suggestion: String)
    /// The parts match, but together they select nothing.
    case empty(text: String)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus {
        switch self {
        case .syntax: .usage
        case .noMatch, .empty: .badInput
        }
    }
    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .syntax(let text, let position, let reason):
            "the selector \"\(text)\" is not understood at character \(position + 1): \(reason)"
        case .noMatch(let part, let reason, let suggestion):
            "the selector \"\(part)\" matches nothing: \(reason).\(suggestion)"
        case .empty(let text): "the selector \"\(text)\" selects nothing: its parts leave nothing over"
        }
    }
}

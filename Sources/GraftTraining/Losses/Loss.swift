/// What training minimises: its name and settings, and how it becomes part of the graph.
///
/// A loss is added by a file with a type and a line in ``Losses``.
public protocol Loss: Sendable {
    /// The name in recipes.
    static var name: String { get }
    /// What it is, in a few words.
    static var remark: String { get }
    /// The settings.
    static var options: [NamedOption] { get }
}

/// All losses.
public enum Losses {
    /// The losses; a new file of one adds its line here.
    public static let all: [any Loss.Type] = [CrossEntropy.self]

    /// The loss of that name.
    public static func named(_ name: String) -> (any Loss.Type)? { all.first { $0.name == name } }
}

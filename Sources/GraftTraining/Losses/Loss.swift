import GraftIR

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
    /// Appends the loss to a model's graph.
    ///
    /// - Parameters:
    ///   - scores: the outputs before any softmax, of shape [N, classes] or [N, classes, ...].
    ///   - labels: the class of each sample or position, int64.
    ///   - weights: how much each class counts, of shape [classes]; nil for all the same.
    /// - Returns: the mean loss, a scalar.
    static func build(
        in model: inout Model, scores: ValueID, labels: ValueID, weights: ValueID?, _ values: [String: Double]
    ) -> ValueID
}

/// All losses.
public enum Losses {
    /// The losses; a new file of one adds its line here.
    public static let all: [any Loss.Type] = [CrossEntropy.self]

    /// The loss of that name.
    public static func named(_ name: String) -> (any Loss.Type)? { all.first { $0.name == name } }
}

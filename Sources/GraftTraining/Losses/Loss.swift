import GraftCore
import GraftData
import GraftIR

/// What training minimises: its name and settings, and how it becomes part of the graph.
///
/// A loss is added by a file with a type and a line in ``Losses``.
package protocol Loss: Sendable {
    /// The name in recipes.
    static var name: String { get }
    /// What it is, in a few words.
    static var remark: String { get }
    /// The settings.
    static var options: [NamedOption] { get }
    /// What the data may say about a sample for this loss to learn by.
    static var targetKinds: Set<TargetKind> { get }
    /// Appends the loss to a model's graph.
    ///
    /// - Parameters:
    ///   - scores: the outputs before any softmax, of shape [N, classes] or [N, classes, ...].
    ///   - labels: what the data says: the class of each sample or position, int64; or 0 and 1 for each class, float.
    ///   - weights: how much each class counts, of shape [classes]; nil for all the same.
    /// - Returns: the mean loss, a scalar.
    static func build(
        in model: inout Model, scores: Scores, labels: ValueID, weights: ValueID?, _ values: [String: Double]
    ) throws -> ValueID
}

extension TargetKind {
    /// The type of the numbers that say it.
    var elementType: ElementType { self == .labels ? .float32 : .int64 }
}

/// All losses.
package enum Losses {
    /// The losses; a new file of one adds its line here.
    package static let all: [any Loss.Type] = [CrossEntropy.self, BinaryCrossEntropy.self]

    /// The loss that targets of a kind are learned by where nothing else is said.
    package static func standard(for kind: TargetKind) -> String {
        all.first { $0.targetKinds.contains(kind) }?.name ?? CrossEntropy.name
    }

    /// The loss of that name.
    package static func named(_ name: String) -> (any Loss.Type)? { all.first { $0.name == name } }
}

import GraftIR

/// An update rule: what it is called, what can be set, and which tensors it keeps for every parameter.
///
/// The arithmetic is an operator of the domain `ai.graft` that the runtime runs in place; the rule says how to call it.
/// A rule is added by a file with a type, a line in ``Optimizers``, and its kernel.
public protocol Optimizer: Sendable {
    /// The name in recipes.
    static var name: String { get }
    /// What it does, in a few words.
    static var remark: String { get }
    /// The settings.
    static var options: [NamedOption] { get }
    /// The operator that takes one step for one parameter: it reads the parameter, its gradient, the slots, the rate,
    /// the weight decay and the parameter's own step counted from 1, and makes the parameter and the slots anew.
    static var operatorName: String { get }
    /// The names of the tensors, of the parameter's shape, that are kept from step to step and start at zero.
    static var slots: [String] { get }
    /// The learning rate of a stage that names none.
    static var defaultRate: Double { get }
    /// The operator's attributes.
    static func attributes(_ values: [String: Double]) -> Attributes
}

/// All update rules.
public enum Optimizers {
    /// The rules; a new file of one adds its line here.
    public static let all: [any Optimizer.Type] = [SGD.self, AdamW.self]

    /// The rule of that name.
    public static func named(_ name: String) -> (any Optimizer.Type)? { all.first { $0.name == name } }
}

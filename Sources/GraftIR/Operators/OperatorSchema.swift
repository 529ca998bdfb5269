import GraftCore

/// Everything that the IR knows about one operator: its arity, how the types of its outputs follow from its inputs,
/// and how gradients flow back through it.
///
/// One value covers all versions of the operator; rules ask the context for the opset where versions differ.
public struct OperatorSchema: Sendable {
    /// The operator.
    public let name: OperatorName
    /// The opset versions in which the operator's definition changed, oldest first.
    public let versions: [Int]
    /// How many inputs it takes.
    public let inputs: ClosedRange<Int>
    /// How many outputs it makes.
    public let outputs: ClosedRange<Int>
    /// How the types of the outputs follow.
    public let inference: InferenceRule
    /// How gradients flow back.
    public let gradient: GradientRule
    /// Whether the same inputs always give the same outputs; not so for operators that draw random numbers.
    public let isDeterministic: Bool
    /// About how many multiply-adds one run takes, from the shapes of inputs and outputs; nil where not counted.
    public let cost: CostRule?

    /// Sets ``InferenceContext/setType(_:of:)`` for each output as far as it can be known.
    public typealias InferenceRule = @Sendable (inout InferenceContext) throws -> Void
    /// Counts multiply-adds from the shapes of inputs and outputs, nil for a shape that is not known.
    public typealias CostRule = @Sendable (_ node: Node, _ inputs: [[Int]?], _ outputs: [[Int]?]) -> Int?

    /// What is known about one operator.
    public init(
        _ name: OperatorName, versions: [Int] = [1], inputs: ClosedRange<Int>, outputs: ClosedRange<Int> = 1...1,
        isDeterministic: Bool = true, gradient: GradientRule, cost: CostRule? = nil,
        inference: @escaping InferenceRule
    ) {
        self.name = name
        self.versions = versions
        self.inputs = inputs
        self.outputs = outputs
        self.isDeterministic = isDeterministic
        self.gradient = gradient
        self.cost = cost
        self.inference = inference
    }

    /// Checks how many inputs and outputs a node has.
    ///
    /// - Parameter label: how messages call the node.
    /// - Throws: ``InferenceError`` where the operator takes or makes another number.
    public func checkArity(of node: Node, label: String) throws(InferenceError) {
        let count = (node.inputs.lastIndex { $0 != nil } ?? -1) + 1
        if count > inputs.upperBound || node.inputs.count < inputs.lowerBound {
            let bound = inputs.upperBound == Self.many ? "more" : String(inputs.upperBound)
            throw InferenceError(
                node: label, op: node.op, reason: "takes \(inputs.lowerBound) to \(bound) inputs, not \(count)")
        }
        if node.outputs.count > outputs.upperBound {
            throw InferenceError(
                node: label, op: node.op,
                reason: "makes at most \(outputs.upperBound) outputs, not \(node.outputs.count)")
        }
    }

    /// No bound on the number of inputs or outputs.
    public static let many = Int.max

    /// The definition in force at an opset: the latest version not after it; nil before the first.
    public func version(at opset: Int) -> Int? { versions.last { $0 <= opset } }
}

/// How gradients flow back through an operator.
public enum GradientRule: Sendable {
    /// Nothing flows back: the outputs do not depend smoothly on the inputs (shapes, indices, comparisons).
    case none
    /// Gradients cannot be had; training through it is refused, with the reason.
    case unsupported(reason: String)
    /// Emits nodes that compute the gradients of the inputs that need them.
    case rule(@Sendable (inout GradientContext) throws -> Void)
}

/// A family of operators: one file of schemas.
public protocol OperatorFamily {
    /// The operators of the family.
    static var schemas: [OperatorSchema] { get }
}

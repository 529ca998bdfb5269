import GraftIR

/// One node of a plan before its kernel is made: operator, settings, and the slots that it reads and writes.
package struct PlanNode {
    /// The node's name, or for an unnamed one the operator and its first output.
    package var name: String
    /// The operator.
    package var op: OperatorName
    /// The version of the operator's domain.
    package var opset: Int
    /// The settings.
    package var attributes: Attributes
    /// The slots that it reads; nil for an input that is left out.
    ///
    /// Values that bodies capture follow the node's own inputs.
    package var inputs: [Int?]
    /// The slots that it writes.
    package var outputs: [Int?]
    /// Where the node comes from, for a node that has bodies.
    var scope: PlanScope?
    /// What the kernel applies to its first output.
    package var postOperations: [PostOperation] = []
    /// Whether the result shall lie in blocks of channels.
    package var prefersBlocks = false
    /// Whether a result in blocks may be rounded to bfloat16: nobody reads it who needs more.
    package var roundsBlocks = false

    package init(
        name: String, op: OperatorName, opset: Int, attributes: Attributes = Attributes(), inputs: [Int?],
        outputs: [Int?]
    ) {
        self.name = name
        self.op = op
        self.opset = opset
        self.attributes = attributes
        self.inputs = inputs
        self.outputs = outputs
    }
}

import GraftCore
import GraftIR

/// Types and sizes that follow from the inputs of a plan, worked out node by node with the operators' own rules.
///
/// Only what a run checks is relied on: the declared types of inputs, and constants. What a file says about the values
/// in between is not.
struct PlanInference {
    /// The type of each slot, as far as it follows.
    private(set) var types: [ValueType?]
    /// What is known of the elements of each slot.
    private(set) var contents: [KnownContent?]

    init(_ graph: PlanGraph, inputs: [Plan.Port]) {
        types = Array(repeating: nil, count: graph.names.count)
        contents = types.map { _ in nil }
        for slot in graph.constants.indices {
            guard let constant = graph.constants[slot] else { continue }
            types[slot] = constant.valueType
            if case .tensor(let tensor) = constant, tensor.layout == .rowMajor, tensor.count <= KnownContent.countLimit,
                let copy = try? Tensor(copying: tensor)
            {
                contents[slot] = .tensor(copy)
            }
        }
        for port in inputs where graph.constants[port.slot] == nil {
            types[port.slot] = Self.named(port.type, slot: port.slot, isInput: true)
        }
        for node in graph.nodes { if let node { follow(node) } }
    }

    /// A type with names of their own for extents, so that what keeps an extent is seen to.
    ///
    /// - Parameter isInput: whether names that are there give way too: that two extents of one name are equal is nothing
    ///   that a run checks.
    private static func named(_ type: ValueType?, slot: Int, isInput: Bool = false) -> ValueType? {
        guard var type, var shape = type.shape else { return type }
        for axis in 0..<shape.rank where isInput ? shape[axis].count == nil : !shape[axis].extent.isKnown {
            shape[axis].extent = .symbol("_slot\(slot)_\(axis)")
        }
        type.shape = shape
        return type
    }

    private mutating func follow(_ node: PlanNode) {
        guard let schema = OperatorRegistry.schema(for: node.op), !PlanNode.hasBodies(node.attributes),
            schema.inputs.contains(node.inputs.count), node.outputs.count <= schema.outputs.upperBound
        else { return }
        var context = InferenceContext(
            name: node.name, op: node.op, attributes: node.attributes, given: node.inputs.map { $0 != nil },
            wanted: node.outputs.map { $0 != nil }, opset: node.opset,
            inputTypes: node.inputs.map { $0.flatMap { types[$0] } },
            inputContents: node.inputs.map { $0.flatMap { contents[$0] } })
        // Operands that do not fit are found when the node runs, if it ever does.
        guard (try? schema.inference(&context)) != nil else { return }
        for (position, slot) in node.outputs.enumerated() {
            guard let slot else { continue }
            types[slot] = Self.named(context.outputTypes[position], slot: slot)
            contents[slot] = context.outputContents[position]
        }
    }
}

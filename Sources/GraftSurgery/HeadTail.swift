import GraftCore
import GraftIR

/// Lets what comes after a classifier follow its number of classes and its activation.
struct HeadTail {
    var model: Model
    let head: HeadCandidate
    let classCount: Int
    /// The value that holds the scores; another than before where the activation came or went.
    private(set) var logits: ValueID

    init(model: Model, head: HeadCandidate, classCount: Int) {
        self.model = model
        self.head = head
        self.classCount = classCount
        logits = head.logits
    }

    // MARK: Number of classes

    /// Corrects class counts that shapes and sizes spell out, and the declared types of the values on the way.
    mutating func follow() throws {
        retype(head.logits, axis: startAxis)
        if head.biasNode != nil, let product = model.graph[head.node].outputs[0] { retype(product, axis: startAxis) }
        for (node, axis) in zip(head.tail, head.tailAxes) {
            let outputs = model.graph[node].outputs.compactMap { $0 }
            unquantize(node)
            if model.graph.contains(node) { try correct(node, axis: axis) }
            if axis != Int.max { for output in outputs { retype(output, axis: axis) } }
        }
    }

    private var startAxis: Int { if case .matMul = head.form { -1 } else { 1 } }

    /// Quantizers after the old scores were fitted to them; they go.
    private mutating func unquantize(_ node: NodeID) {
        switch model.graph[node].op.type {
        case "QuantizeLinear", "DequantizeLinear": bypass(node)
        default: break
        }
    }

    private mutating func bypass(_ node: NodeID) {
        model.graph.bypass(node)
        if !model.graph.contains(logits) { logits = head.output }
    }

    private mutating func correct(_ node: NodeID, axis: Int) throws {
        switch model.graph[node].op.type {
        case "Reshape": try replace(in: node, attribute: "shape", input: 1, axis: axis)
        case "Resize": try replace(in: node, attribute: "", input: 3, axis: axis)
        case "Expand": try replace(in: node, attribute: "", input: 1, axis: axis)
        case "TopK":
            if let wanted = model.graph.integers("k", orInput: 1, of: node)?.first, wanted > classCount {
                throw HeadSwapError.tail(
                    node: model.graph[node].label(in: model.graph),
                    reason: "it takes the best \(wanted) of \(classCount) classes")
            }
        default: break
        }
    }

    /// Replaces the old number of classes in a stored list of extents.
    private mutating func replace(in node: NodeID, attribute: String, input index: Int, axis: Int) throws {
        guard var extents = model.graph.integers(attribute, orInput: index, of: node) else { return }
        let position = axis < 0 ? extents.count + axis : axis
        guard extents.indices.contains(position), extents[position] == head.classCount else { return }
        extents[position] = classCount
        if model.graph[node].attributes.ints(attribute) != nil {
            model.graph.setAttribute(attribute, of: node, to: .ints(extents))
            return
        }
        guard let old = model.graph[node].inputs[index] else { return }
        let name = model.graph[old].name
        let is64 = model.graph.constantTensor(of: old)?.elementType != .int32
        let tensor = is64 ? Tensor(extents.map { Int64($0) }) : Tensor(extents.map { Int32(truncatingIfNeeded: $0) })
        model.graph.setInput(index, of: node, to: nil)
        model.graph.removeUnused([old])
        let fresh = model.graph.addInitializer(model.graph.uniqueValueName(name), tensor)
        model.graph.setInput(index, of: node, to: fresh)
    }

    private mutating func retype(_ value: ValueID, axis: Int) {
        guard model.graph.contains(value), var shape = model.graph[value].type?.shape else { return }
        let position = axis < 0 ? shape.rank + axis : axis
        guard shape.dimensions.indices.contains(position) else { return }
        if case .fixed = shape[position].extent { shape[position].extent = .fixed(classCount) }
        model.graph[value].type?.shape = shape
    }

    // MARK: Activation

    /// Gives the scores another activation.
    mutating func setActivation(_ wanted: HeadActivation) throws {
        guard wanted != .same else { return }
        if let present = head.activation {
            let type = model.graph[present].op.type
            switch wanted {
            case .none: bypass(present)
            case .softmax where type != "Softmax": replaceActivation(present, with: "Softmax")
            case .sigmoid where type != "Sigmoid": replaceActivation(present, with: "Sigmoid")
            default: break
            }
            return
        }
        if let odd = head.tail.first(where: { LayerShape.mixes(model.graph[$0].op) }) {
            throw HeadSwapError.tail(
                node: model.graph[odd].label(in: model.graph),
                reason: "the activation is written out in arithmetic; only --activation same is possible")
        }
        guard wanted != .none else { return }
        appendActivation(wanted == .softmax ? "Softmax" : "Sigmoid")
    }

    private mutating func replaceActivation(_ node: NodeID, with op: OperatorName) {
        model.graph[node].op = op
        model.graph.setAttributes(of: node, to: attributes(op))
    }

    private func attributes(_ op: OperatorName) -> Attributes {
        op.type == "Softmax" ? ["axis": .int(lastAxis)] : [:]
    }

    private var lastAxis: Int {
        let axis = head.tailAxes.last ?? startAxis
        // Before opset 13 softmax flattens what follows its axis; the last axis means the same in both.
        return axis == Int.max || head.kind == .sample && axis == -1 ? 1 : axis
    }

    /// The activation makes the output, under its name; what made it before makes a value of its own.
    private mutating func appendActivation(_ op: OperatorName) {
        let output = head.output
        guard case .node(let producer, let index) = model.graph[output].origin else { return }
        let name = model.graph[output].name
        let scores = model.graph.addValue(
            model.graph.uniqueValueName("\(name)_scores"), type: model.graph[output].type)
        model.graph.setOutput(index, of: producer, to: scores)
        if logits == output { logits = scores }
        for use in model.graph[output].uses {
            if case .node(let node, let input) = use { model.graph.setInput(input, of: node, to: scores) }
        }
        let position = (model.graph.position(of: producer) ?? model.graph.nodeCount - 1) + 1
        model.graph.addNode(
            op, name: model.graph.uniqueNodeName("\(name)_\(op.type.lowercased())"), inputs: [scores],
            outputs: [output],
            attributes: attributes(op), at: position)
    }
}

/// What operators do to the arrangement of their input.
enum LayerShape {
    /// Whether an operator computes with elements instead of arranging or pooling them.
    static func mixes(_ op: OperatorName) -> Bool {
        ["Exp", "Div", "Sub", "ReduceSum", "ReduceMax", "Log", "Mul"].contains(op.type)
    }
}

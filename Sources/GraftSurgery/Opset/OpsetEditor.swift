import GraftCore
import GraftIR

/// One node under conversion, in its graph.
struct OpsetEditor {
    /// The graph.
    var graph: Graph
    /// What was inferred of the graph's values before the conversion.
    let known: InferredTypes
    /// Whether tensors must be `Constant` nodes because the graph belongs to a function.
    let isFunction: Bool
    /// The names of all values of the model.
    var names: Set<String>
    /// The node; an edit may replace it.
    var id: NodeID

    var node: Node { graph[id] }
    var reader: AttributeReader { AttributeReader(graph[id]) }
    private var label: String {
        node.name.isEmpty ? node.outputs.compactMap { $0 }.first.map { graph[$0].name } ?? node.op.type : node.name
    }

    func refusal(_ reason: String) -> OpsetRefusal { OpsetRefusal(reason: reason) }

    // MARK: Looking

    /// The value at an input; nil where it is left out.
    func input(_ index: Int) -> ValueID? { node.inputs.indices.contains(index) ? node.inputs[index] : nil }
    /// The value at an output; nil where it is left out.
    func output(_ index: Int) -> ValueID? { node.outputs.indices.contains(index) ? node.outputs[index] : nil }
    func requiredInput(_ index: Int) throws -> ValueID {
        guard let value = input(index) else { throw refusal("input \(index) is missing") }
        return value
    }
    func requiredOutput(_ index: Int = 0) throws -> ValueID {
        guard let value = output(index) else { throw refusal("output \(index) is missing") }
        return value
    }
    /// Whether anyone reads an output.
    func isUsed(output index: Int) -> Bool { output(index).map { !graph[$0].uses.isEmpty } ?? false }

    func elementType(_ value: ValueID?) -> ElementType? {
        value.flatMap { known.elementType(of: $0) ?? graph[$0].elementType }
    }
    func shape(_ value: ValueID?) -> SymbolicShape? { value.flatMap { known.shape(of: $0) ?? graph[$0].shape } }
    func rank(_ value: ValueID?) -> Int? { shape(value)?.rank }
    func requiredElementType(_ value: ValueID?) throws -> ElementType {
        guard let type = elementType(value) else { throw refusal("the element type of its input is not known") }
        return type
    }
    func requiredRank(_ value: ValueID?) throws -> Int {
        guard let rank = rank(value) else { throw refusal("the rank of its input is not known") }
        return rank
    }

    /// The tensor that a value always holds.
    func constant(_ value: ValueID?) -> Tensor? {
        guard let value else { return nil }
        if case .tensor(let tensor)? = known.content(of: value) { return tensor }
        return graph.constantTensor(of: value)
    }
    /// The whole numbers that a value always holds.
    func integers(_ value: ValueID?) -> [Int]? {
        guard let value else { return nil }
        if let integers = known.content(of: value)?.integers { return integers }
        return graph.constantTensor(of: value)?.smallIntegers()
    }
    /// The whole numbers at an input that must be constant to become an attribute.
    func constantIntegers(_ index: Int, _ what: String) throws -> [Int] {
        guard let values = integers(input(index)) else {
            throw refusal("\(what) are computed while the model runs, and older versions want them as an attribute")
        }
        return values
    }

    // MARK: Editing

    private func position() -> Int { graph.position(of: id) ?? graph.nodeCount }

    /// A name for a new value that nothing in the model has.
    mutating func freshName(_ suffix: String) -> String {
        let base = "\(label)_\(suffix)"
        var name = base
        var number = 1
        while names.contains(name) {
            name = "\(base)_\(number)"
            number += 1
        }
        names.insert(name)
        return name
    }

    /// A value that always holds a tensor.
    mutating func stored(_ tensor: Tensor, _ suffix: String) -> ValueID {
        let name = freshName(suffix)
        if isFunction {
            return graph.add("Constant", [], attributes: ["value": .tensor(tensor)], output: name, at: position())
        }
        return graph.addInitializer(name, tensor)
    }
    mutating func stored(_ integers: [Int], _ suffix: String) -> ValueID {
        stored(Tensor(integers.map { Int64($0) }), suffix)
    }
    /// A scalar of the element type of a value.
    mutating func scalar(_ number: Double, like value: ValueID?, _ suffix: String = "constant") throws -> ValueID {
        let type = try requiredElementType(value)
        guard let tensor = Tensor.filled(number, type, shape: []) else {
            throw refusal("there is no constant of type \(type.name)")
        }
        return stored(tensor, suffix)
    }

    /// Adds a node before the edited one.
    mutating func emit(
        _ op: OperatorName, _ inputs: [ValueID?], _ attributes: Attributes = [:], type: ValueType? = nil
    ) -> ValueID {
        graph.add(
            op, inputs, attributes: attributes, name: graph.uniqueNodeName("\(label)_\(op.type)"),
            output: freshName(op.type), type: type, at: position())
    }

    /// Lets other nodes make an output of the edited one from what it makes now.
    ///
    /// - Parameter edit: gets what the node makes, and gives the operator, inputs and attributes of the node that makes
    ///   the old output.
    mutating func follow(
        output index: Int = 0,
        _ edit: (inout OpsetEditor, ValueID) throws -> (op: OperatorName, inputs: [ValueID?], attributes: Attributes)
    ) throws {
        let old = try requiredOutput(index)
        let fresh = graph.addValue(freshName("inner"))
        graph.setOutput(index, of: id, to: fresh)
        let node = id
        let last = try edit(&self, fresh)
        // What the edit adds reads the node's output, so it has to stand behind the node.
        let name = graph.uniqueNodeName("\(label)_\(last.op.type)")
        let made = graph.addNode(
            last.op, name: name, inputs: last.inputs, outputs: [old], attributes: last.attributes,
            at: (graph.position(of: node) ?? 0) + 1)
        moveBehind(made: made, node: node)
    }

    /// Puts nodes that read the edited node's output, and were added before it, behind it.
    private mutating func moveBehind(made: NodeID, node: NodeID) {
        var order = graph.order
        guard let place = order.firstIndex(of: node) else { return }
        var moved: [NodeID] = []
        var late = Set(graph[node].outputs.compactMap { $0 })
        for other in order[..<place] where graph[other].inputs.contains(where: { $0.map(late.contains) ?? false }) {
            moved.append(other)
            late.formUnion(graph[other].outputs.compactMap { $0 })
        }
        guard !moved.isEmpty, let target = order.firstIndex(of: made) else { return }
        order.insert(contentsOf: moved, at: target)
        let kept = Set(moved)
        var seen = Set<NodeID>()
        // Of each moved node only the later of its two entries stays.
        order = order.reversed().filter { !kept.contains($0) || seen.insert($0).inserted }.reversed()
        graph.setOrder(order)
    }

    /// Replaces the edited node by another that makes the same value.
    mutating func replace(_ op: OperatorName, _ inputs: [ValueID?], _ attributes: Attributes = [:]) throws {
        let output = try requiredOutput()
        try rebuild(op, inputs, [output], attributes)
    }

    /// Replaces the edited node by one with these edges, with the same name and remarks.
    mutating func rebuild(
        _ op: OperatorName, _ inputs: [ValueID?], _ outputs: [ValueID?], _ attributes: Attributes
    ) throws {
        let old = node
        let place = position()
        let before = graph.operands(of: id) + old.outputs.compactMap { $0 }
        graph.removeNode(id)
        id = graph.addNode(op, name: old.name, inputs: inputs, outputs: outputs, attributes: attributes, at: place)
        graph[id].docString = old.docString
        graph[id].metadata = old.metadata
        clean(before)
    }

    /// Replaces the inputs, and removes what nobody reads any more.
    mutating func setInputs(_ values: [ValueID?]) {
        var values = values
        while let last = values.last, last == nil { values.removeLast() }
        let old = node.inputs.compactMap { $0 }
        graph.setInputs(of: id, to: values)
        clean(old)
    }
    /// Replaces one input and adds those before it where they are missing.
    mutating func setInput(_ index: Int, to value: ValueID?) {
        var inputs = node.inputs
        while inputs.count <= index { inputs.append(nil) }
        inputs[index] = value
        setInputs(inputs)
    }
    /// Takes an output away that nobody reads.
    mutating func dropUnusedOutput(_ index: Int) throws {
        guard let value = output(index), graph[value].uses.isEmpty else { return }
        graph.setOutput(index, of: id, to: nil)
        var outputs = node.outputs
        while let last = outputs.last, last == nil { outputs.removeLast() }
        try rebuild(node.op, node.inputs, outputs, node.attributes)
        graph.removeUnused([value])
    }
    mutating func set(_ attribute: String, to value: AttributeValue?) {
        graph.setAttribute(attribute, of: id, to: value)
    }

    /// Removes constants and captures that nobody reads, and outputs that were given up.
    private mutating func clean(_ values: [ValueID]) {
        for value in values
        where graph.contains(value) && graph[value].uses.isEmpty && graph[value].producer != id {
            if case .capture = graph[value].origin {
                graph.removeValue(value)
            } else {
                graph.removeUnused([value])
            }
        }
    }

    /// Turns an attribute with integers into an input.
    ///
    /// In a function's body the attribute may refer to one of the function's own.
    mutating func moveToInput(_ attribute: String, _ index: Int, isScalar: Bool = false) throws {
        guard let value = node.attributes[attribute] else { return }
        let made: ValueID
        switch value {
        case .ints(let integers): made = stored(Tensor(integers), attribute)
        case .int(let integer): made = stored(isScalar ? Tensor(scalar: integer) : Tensor([integer]), attribute)
        case .empty: made = stored([], attribute)
        case .reference(let name, let kind):
            let constant = isScalar ? "value_int" : "value_ints"
            if kind == 2 && !isScalar { throw refusal("\(attribute) refers to an attribute of the function") }
            made = emit("Constant", [], [constant: .reference(name, kind: kind)])
        default: throw refusal("\(attribute) is no integer")
        }
        set(attribute, to: nil)
        setInput(index, to: made)
    }

    /// Turns a constant input with integers into an attribute.
    mutating func moveToAttribute(_ attribute: String, _ index: Int, isScalar: Bool = false) throws {
        guard input(index) != nil else { return }
        let values = try constantIntegers(index, attribute)
        if isScalar, values.count != 1 { throw refusal("\(attribute) is not one number") }
        setInput(index, to: nil)
        set(attribute, to: isScalar ? .int(values[0]) : .ints(values))
    }

    /// The axes counted from the front.
    func normalized(_ axes: [Int], rank: Int) throws -> [Int] {
        try axes.map { axis in
            let front = axis < 0 ? axis + rank : axis
            guard front >= 0, front < rank else { throw refusal("the axis \(axis) is outside rank \(rank)") }
            return front
        }
    }
}

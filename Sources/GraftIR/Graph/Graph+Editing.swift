import GraftCore

extension Graph {
    /// Adds a value that nothing makes yet.
    ///
    /// - Precondition: no value has the name. An empty name is replaced by a free one.
    @discardableResult
    public mutating func addValue(_ name: String, type: ValueType? = nil) -> ValueID {
        let name = name.isEmpty ? uniqueValueName("value") : name
        precondition(valueByName[name] == nil, "the graph has a value named \(name)")
        let id = ValueID(valueSlots.count)
        valueSlots.append(
            Value(
                name: name, type: type, origin: .none, initializer: nil, sparseInitializer: nil, uses: [],
                docString: "", metadata: Metadata(), carried: .nothing))
        valueByName[name] = id
        return id
    }

    /// Adds a value that the caller gives.
    @discardableResult
    public mutating func addInput(_ name: String, type: ValueType?) -> ValueID {
        let id = addValue(name, type: type)
        makeInput(id)
        return id
    }

    /// Makes a value that nothing makes, or an initializer, an input.
    public mutating func makeInput(_ id: ValueID) {
        precondition(self[id].producer == nil, "\(self[id].name) is made by a node")
        self[id].origin = .input
        inputs.append(id)
    }

    /// Takes a value off the inputs; it stays as an initializer where it has a tensor.
    public mutating func removeInput(_ id: ValueID) {
        inputs.removeAll { $0 == id }
        self[id].origin = self[id].isInitializer ? .initializer : .none
    }

    /// Adds a stored tensor under a name.
    @discardableResult
    public mutating func addInitializer(_ name: String, _ tensor: Tensor) -> ValueID {
        let id = addValue(name, type: nil)
        setInitializer(id, StoredTensor(tensor))
        return id
    }

    /// Gives a value a stored tensor, or replaces it.
    ///
    /// - Precondition: no node makes the value.
    public mutating func setInitializer(_ id: ValueID, _ stored: StoredTensor) {
        precondition(self[id].producer == nil, "\(self[id].name) is made by a node")
        if self[id].initializer == nil { initializers.append(id) }
        self[id].initializer = stored
        if self[id].origin == .none { self[id].origin = .initializer }
    }

    /// Gives a value a stored sparse tensor.
    public mutating func setSparseInitializer(_ id: ValueID, _ stored: StoredSparseTensor) {
        precondition(self[id].producer == nil, "\(self[id].name) is made by a node")
        if self[id].sparseInitializer == nil { sparseInitializers.append(id) }
        self[id].sparseInitializer = stored
        if self[id].origin == .none { self[id].origin = .initializer }
    }

    /// Replaces the data of a stored tensor and keeps everything said about it.
    ///
    /// - Precondition: the value has a stored tensor.
    public mutating func setTensor(_ id: ValueID, _ tensor: Tensor) {
        guard var stored = self[id].initializer else { preconditionFailure("\(self[id].name) is no initializer") }
        stored.tensor = tensor
        if case .external = stored.encoding { stored.encoding = .raw }
        self[id].initializer = stored
        if self[id].type != nil { self[id].type = ValueType(of: tensor) }
    }

    /// Notes that the file declares the value's type apart from inputs and outputs.
    public mutating func declare(_ id: ValueID) {
        if !declarations.contains(id) { declarations.append(id) }
    }

    /// Makes room for values and nodes that a reader is about to add.
    package mutating func reserve(values: Int, nodes: Int) {
        valueSlots.reserveCapacity(values)
        valueByName.reserveCapacity(values)
        nodeSlots.reserveCapacity(nodes)
        order.reserveCapacity(nodes)
    }

    /// Appends a declaration without looking for a duplicate; for readers, which have checked.
    package mutating func appendDeclaration(_ id: ValueID) { declarations.append(id) }

    /// Adds a node and connects it.
    ///
    /// - Parameters:
    ///   - position: where in the order; at the end where nil.
    ///   - outputs: values that nothing makes yet.
    /// - Returns: the node's handle.
    @discardableResult
    public mutating func addNode(
        _ op: OperatorName, name: String = "", inputs: [ValueID?], outputs: [ValueID?],
        attributes: Attributes = Attributes(), at position: Int? = nil
    ) -> NodeID {
        let id = NodeID(nodeSlots.count)
        nodeSlots.append(
            Node(
                name: name, op: op, inputs: inputs, outputs: outputs, attributes: attributes, docString: "",
                metadata: Metadata(), carried: .nothing))
        if let position { order.insert(id, at: position) } else { order.append(id) }
        for (index, output) in outputs.enumerated() {
            guard let output else { continue }
            precondition(self[output].origin == .none, "\(self[output].name) has an origin already")
            self[output].origin = .node(id, output: index)
        }
        for (index, input) in inputs.enumerated() {
            if let input { self[input].uses.append(.node(id, input: index)) }
        }
        addCaptureUses(of: id)
        return id
    }

    /// Adds a node that makes one value.
    ///
    /// - Returns: the value.
    @discardableResult
    public mutating func add(
        _ op: OperatorName, _ inputs: [ValueID?], attributes: Attributes = Attributes(), name: String = "",
        output: String = "", type: ValueType? = nil, at position: Int? = nil
    ) -> ValueID {
        let base = output.isEmpty ? (name.isEmpty ? "\(op.type)_output" : "\(name)_output") : output
        let value = addValue(uniqueValueName(base), type: type)
        addNode(op, name: name, inputs: inputs, outputs: [value], attributes: attributes, at: position)
        return value
    }

    /// Removes a node; its outputs stay without an origin and its inputs lose a use.
    public mutating func removeNode(_ id: NodeID) {
        let node = self[id]
        removeCaptureUses(of: id)
        for (index, input) in node.inputs.enumerated() {
            if let input { removeUse(.node(id, input: index), of: input) }
        }
        for output in node.outputs {
            if let output { self[output].origin = .none }
        }
        order.removeAll { $0 == id }
        nodeSlots[id.index] = nil
    }

    /// Removes a value that nothing makes and nobody reads, with its stored tensor.
    ///
    /// - Precondition: no node makes the value and nothing uses it.
    public mutating func removeValue(_ id: ValueID) {
        let value = self[id]
        precondition(value.uses.isEmpty && value.producer == nil, "\(value.name) is in use")
        inputs.removeAll { $0 == id }
        initializers.removeAll { $0 == id }
        sparseInitializers.removeAll { $0 == id }
        declarations.removeAll { $0 == id }
        valueByName[value.name] = nil
        valueSlots[id.index] = nil
    }

    /// Lets a node read another value as its input of that position; nil leaves the input out.
    public mutating func setInput(_ index: Int, of id: NodeID, to value: ValueID?) {
        if let old = self[id].inputs[index] { removeUse(.node(id, input: index), of: old) }
        self[id].inputs[index] = value
        if let value { self[value].uses.append(.node(id, input: index)) }
    }

    /// Replaces all inputs of a node.
    public mutating func setInputs(of id: NodeID, to values: [ValueID?]) {
        for (index, input) in self[id].inputs.enumerated() {
            if let input { removeUse(.node(id, input: index), of: input) }
        }
        self[id].inputs = values
        for (index, input) in values.enumerated() {
            if let input { self[input].uses.append(.node(id, input: index)) }
        }
    }

    /// Lets a node make another value as its output of that position.
    ///
    /// - Precondition: nothing makes the value yet.
    public mutating func setOutput(_ index: Int, of id: NodeID, to value: ValueID?) {
        if let old = self[id].outputs[index] { self[old].origin = .none }
        self[id].outputs[index] = value
        if let value {
            precondition(self[value].origin == .none, "\(self[value].name) has an origin already")
            self[value].origin = .node(id, output: index)
        }
    }

    /// Sets or removes an attribute; the captures of graphs in it are kept as edges.
    public mutating func setAttribute(_ name: String, of id: NodeID, to value: AttributeValue?) {
        removeCaptureUses(of: id)
        self[id].attributes[name] = value
        addCaptureUses(of: id)
    }

    /// Replaces all attributes of a node.
    public mutating func setAttributes(of id: NodeID, to attributes: Attributes) {
        removeCaptureUses(of: id)
        self[id].attributes = attributes
        addCaptureUses(of: id)
    }

    /// Lets everyone who reads `old` read `new`, also bodies that capture it and the graph's outputs.
    public mutating func replaceUses(of old: ValueID, with new: ValueID) {
        guard old != new else { return }
        for use in self[old].uses {
            switch use {
            case .node(let node, let index): setInput(index, of: node, to: new)
            case .output(let index):
                removeUse(use, of: old)
                outputs[index] = new
                self[new].uses.append(use)
            case .capture(let node, let attribute, let body, let inner):
                let newName = self[new].name
                removeCaptureUses(of: node)
                editBody(of: node, attribute: attribute, index: body) { graph in
                    graph[inner].origin = .capture(of: new)
                    graph.rename(inner, to: newName)
                }
                addCaptureUses(of: node)
            }
        }
    }

    /// Gives a value out of the graph, as the last output.
    public mutating func addOutput(_ id: ValueID) {
        self[id].uses.append(.output(outputs.count))
        outputs.append(id)
    }

    /// Replaces all outputs.
    public mutating func setOutputs(_ ids: [ValueID]) {
        for (index, old) in outputs.enumerated() { removeUse(.output(index), of: old) }
        outputs = []
        for id in ids { addOutput(id) }
    }

    /// Renames a value, also where bodies capture it.
    ///
    /// - Precondition: no other value has the name.
    public mutating func rename(_ id: ValueID, to name: String) {
        let old = self[id].name
        guard old != name else { return }
        precondition(valueByName[name] == nil, "the graph has a value named \(name)")
        valueByName[old] = nil
        valueByName[name] = id
        self[id].name = name
        for use in self[id].uses {
            guard case .capture(let node, let attribute, let body, let inner) = use else { continue }
            editBody(of: node, attribute: attribute, index: body) { graph in
                // A value of the body that has the name already makes room: the body's own names are free to change.
                if let other = graph.value(named: name), other != inner {
                    graph.rename(other, to: graph.uniqueValueName("\(name)_inner"))
                }
                graph.rename(inner, to: name)
            }
        }
    }

    /// Notes that a value of a body is a value of the graph around it.
    package mutating func makeCapture(_ id: ValueID, of outer: ValueID) { self[id].origin = .capture(of: outer) }

    /// Replaces the order of the nodes.
    ///
    /// - Precondition: a permutation of the present order.
    public mutating func setOrder(_ ids: [NodeID]) {
        precondition(ids.count == order.count && Set(ids) == Set(order), "not a permutation of the nodes")
        order = ids
    }

    /// Where a node stands in the order.
    public func position(of id: NodeID) -> Int? { order.firstIndex(of: id) }

    private mutating func removeUse(_ use: Use, of id: ValueID) {
        if let index = self[id].uses.firstIndex(of: use) { self[id].uses.remove(at: index) }
    }

    private mutating func addCaptureUses(of id: NodeID) {
        for body in bodies(of: id) {
            for inner in body.graph.values {
                guard case .capture(let outer) = body.graph[inner].origin else { continue }
                self[outer].uses.append(.capture(id, attribute: body.attribute, body: body.index, value: inner))
            }
        }
    }

    private mutating func removeCaptureUses(of id: NodeID) {
        for body in bodies(of: id) {
            for inner in body.graph.values {
                guard case .capture(let outer) = body.graph[inner].origin else { continue }
                removeUse(.capture(id, attribute: body.attribute, body: body.index, value: inner), of: outer)
            }
        }
    }

    private mutating func editBody(of id: NodeID, attribute: String, index: Int, _ edit: (inout Graph) -> Void) {
        switch self[id].attributes[attribute] {
        case .graph(var graph)?:
            edit(&graph)
            self[id].attributes[attribute] = .graph(graph)
        case .graphs(var graphs)? where graphs.indices.contains(index):
            edit(&graphs[index])
            self[id].attributes[attribute] = .graphs(graphs)
        default: break
        }
    }
}

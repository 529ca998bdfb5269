import GraftIR

extension Graph {
    /// Replaces a graph in a node's attribute.
    mutating func setBody(_ body: Graph, of id: NodeID, attribute: String, index: Int) {
        if case .graphs(var graphs)? = self[id].attributes[attribute], graphs.indices.contains(index) {
            graphs[index] = body
            setAttribute(attribute, of: id, to: .graphs(graphs))
        } else {
            setAttribute(attribute, of: id, to: .graph(body))
        }
    }

    /// Adds another graph whose names are free here.
    ///
    /// - Parameter mapping: values of the other graph that are values of this one already; the others are added to it.
    mutating func append(_ other: Graph, mapping: inout [ValueID: ValueID]) {
        for id in other.values where mapping[id] == nil {
            let value = other[id]
            let fresh = addValue(value.name)
            self[fresh].declaration = value.declaration
            self[fresh].variants = value.variants
            mapping[id] = fresh
        }
        for id in other.initializers {
            if let fresh = mapping[id], let stored = other[id].initializer { setInitializer(fresh, stored) }
        }
        for id in other.sparseInitializers {
            if let fresh = mapping[id], let stored = other[id].sparseInitializer { setSparseInitializer(fresh, stored) }
        }
        for id in other.inputs {
            if let fresh = mapping[id], self[fresh].name == other[id].name, self[fresh].producer == nil,
                !inputs.contains(fresh)
            {
                makeInput(fresh)
            }
        }
        for id in other.declarations {
            if let fresh = mapping[id], self[fresh].name == other[id].name { declare(fresh) }
        }
        for id in other.order {
            let node = other[id]
            var attributes = node.attributes
            for index in attributes.all.indices {
                switch attributes.all[index].value {
                case .graph(let body): attributes.all[index].value = .graph(recaptured(body, mapping))
                case .graphs(let bodies):
                    attributes.all[index].value = .graphs(bodies.map { recaptured($0, mapping) })
                default: break
                }
            }
            let made = addNode(
                node.op, name: node.name, inputs: node.inputs.map { $0.flatMap { mapping[$0] } },
                outputs: node.outputs.map { $0.flatMap { mapping[$0] } }, attributes: attributes)
            self[made].docString = node.docString
            self[made].metadata = node.metadata
            self[made].carried = node.carried
        }
    }

    /// A body whose captures are values of this graph.
    private func recaptured(_ body: Graph, _ mapping: [ValueID: ValueID]) -> Graph {
        var body = body
        for id in body.values {
            guard case .capture(let outer) = body[id].origin, let fresh = mapping[outer] else { continue }
            body.makeCapture(id, of: fresh)
            let name = self[fresh].name
            guard body[id].name != name else { continue }
            if let inner = body.value(named: name) { body.rename(inner, to: body.uniqueValueName("\(name)_inner")) }
            body.rename(id, to: name)
        }
        return body
    }
}

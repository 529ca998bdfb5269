import GraftCore
import GraftIR

extension Graph {
    /// Removes values that nothing reads any more, with the nodes that make nothing else, and so on backwards.
    ///
    /// Inputs stay, but for those that only named a stored tensor.
    mutating func removeUnused(_ values: [ValueID]) {
        var pending = values
        while let id = pending.popLast() {
            guard contains(id), self[id].uses.isEmpty else { continue }
            if let node = self[id].producer {
                let outputs = self[node].outputs.compactMap { $0 }
                guard outputs.allSatisfy({ self[$0].uses.isEmpty }) else { continue }
                pending.append(contentsOf: operands(of: node))
                removeNode(node)
                for output in outputs { removeValue(output) }
            } else if self[id].isInitializer || self[id].origin == .none {
                removeValue(id)
            }
        }
    }

    /// Takes a node with one data input and one output out of the way: who read its output reads its input.
    ///
    /// An output of the graph keeps its value and name: the node before makes it. The node's other inputs are removed
    /// where nothing else reads them.
    mutating func bypass(_ node: NodeID) {
        guard let input = self[node].inputs.first.flatMap({ $0 }), let output = self[node].outputs.first.flatMap({ $0 })
        else { return }
        let others = operands(of: node)
        if self[output].isOutput, case .node(let producer, let index) = self[input].origin, !self[input].isOutput {
            removeNode(node)
            setOutput(index, of: producer, to: output)
            replaceUses(of: input, with: output)
            removeUnused([input])
        } else {
            replaceUses(of: output, with: input)
            removeNode(node)
            removeUnused([output])
        }
        removeUnused(others)
    }

    /// Puts a node between a value and everyone who reads it.
    ///
    /// - Returns: the value that the node makes.
    @discardableResult
    mutating func insert(
        _ op: OperatorName, after value: ValueID, before consumer: NodeID, inputs: [ValueID?] = [],
        attributes: Attributes = [:], name: String
    ) -> ValueID {
        let position = position(of: consumer) ?? nodeCount
        let made = add(
            op, [value] + inputs, attributes: attributes, name: uniqueNodeName(name), type: self[value].type,
            at: position)
        for (index, input) in self[consumer].inputs.enumerated() where input == value {
            setInput(index, of: consumer, to: made)
        }
        return made
    }

    /// A name that no node has: the prefix itself, or the prefix with a number.
    func uniqueNodeName(_ prefix: String) -> String {
        let names = Set(order.map { self[$0].name })
        guard names.contains(prefix) else { return prefix }
        var number = 1
        while names.contains("\(prefix)_\(number)") { number += 1 }
        return "\(prefix)_\(number)"
    }
}

import GraftIR

extension PlanGraph {
    /// The node of ONNX's own domain and of one of the types that writes a slot.
    func maker(_ slot: Int?, _ types: String...) -> (index: Int, node: PlanNode)? {
        guard let slot, constants[slot] == nil, let index = writer[slot], let node = nodes[index],
            types.contains(where: { node.op.isONNX($0) })
        else { return nil }
        return (index, node)
    }

    /// Whether nothing else reads what some nodes make, but for the last of them.
    func isClosed(_ indices: Set<Int>, last: Int) -> Bool {
        indices.allSatisfy { index in
            index == last
                || (nodes[index]?.outputs ?? []).allSatisfy { slot in
                    guard let slot else { return true }
                    return !results.contains(slot) && readers[slot].allSatisfy { indices.contains($0) }
                }
        }
    }

    /// The two operands of a node, the second in both places for a commutative one.
    func operandPairs(_ node: PlanNode) -> [(first: Int, second: Int)] {
        guard node.inputs.count == 2, let a = node.inputs[0], let b = node.inputs[1] else { return [] }
        return node.op.isONNX("Add") || node.op.isONNX("Mul") ? [(a, b), (b, a)] : [(a, b)]
    }

    /// A single number that leaves the shape of what it is combined with as it is.
    func factor(_ slot: Int?, rank: Int) -> Float? {
        guard let shape = constantShape(slot), shape.count <= rank else { return nil }
        return scalar(slot)
    }

    /// The shape of a slot, where all of it is known.
    func shape(_ slot: Int) -> [Int]? { constantShape(slot) ?? types[slot]?.shape?.counts }

    /// The last extents of a slot, where they are known and not zero.
    func lastExtents(_ slot: Int, _ count: Int) -> [Int]? {
        guard let dimensions = types[slot]?.shape?.dimensions, dimensions.count >= count else { return nil }
        let extents = dimensions.suffix(count).compactMap(\.count)
        return extents.count == count && extents.allSatisfy { $0 > 0 } ? extents : nil
    }
}

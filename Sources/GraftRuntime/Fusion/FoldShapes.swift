import GraftCore
import GraftIR

/// Sizes that are known before the model runs become constants, and nodes that only copy go away.
///
/// Given: Shape, Gather, Concat, ... over values whose extents follow from the declared inputs. Result: a constant; for a
/// Reshape to a shape that is known but for the batch, a constant with 0 or -1 in the place of the batch. Identity and
/// a Cast to the type that its input has are left out, and a CastLike whose type is known is a Cast. What was found out
/// about types stays with the slots.
enum FoldShapes {
    /// - Parameter inputs: the inputs whose types a run checks.
    /// - Returns: whether there are new constants.
    static func apply(to graph: inout PlanGraph, inputs: [Plan.Port]) throws -> Bool {
        let known = PlanInference(graph, inputs: inputs)
        for slot in known.types.indices where graph.constants[slot] == nil && graph.writer[slot] != nil {
            if let type = known.types[slot], type.elementType != nil { graph.types[slot] = type }
        }
        var isChanged = false
        for index in graph.nodes.indices {
            guard let node = graph.nodes[index] else { continue }
            if try keepSizes(of: node, known, &graph) {
                graph.nodes[index] = nil
                isChanged = true
            } else if let shape = target(of: node, known, graph) {
                let slot = graph.addSlot(
                    "\(node.name)/shape", constant: try RuntimeValue(Tensor(shape.map(Int64.init))))
                graph.nodes[index]?.inputs[1] = slot
                graph.nodes[index]?.attributes["allowzero"] = nil
                isChanged = true
            }
        }
        isChanged = spellOutCasts(known, &graph) || isChanged
        leaveOutCopies(known, &graph)
        graph.refresh()
        return isChanged
    }

    /// Makes the outputs of a node constants, where all of them are whole numbers that are known.
    private static func keepSizes(of node: PlanNode, _ known: PlanInference, _ graph: inout PlanGraph) throws -> Bool {
        guard KernelRegistry.definition(node.op, opset: node.opset)?.isPure == true, !node.outputs.isEmpty else {
            return false
        }
        var found: [(slot: Int, value: Tensor)] = []
        for slot in node.outputs {
            guard let slot, known.types.indices.contains(slot), graph.constants[slot] == nil,
                let values = known.contents[slot]?.integers, let type = known.types[slot],
                let shape = type.shape?.counts, shape.count <= 1, shape.first ?? 1 == values.count
            else { return false }
            switch type.elementType {
            case .int64: found.append((slot, Tensor(values.map(Int64.init), shape: shape)))
            case .int32:
                let narrow = values.compactMap { Int32(exactly: $0) }
                guard narrow.count == values.count else { return false }
                found.append((slot, Tensor(narrow, shape: shape)))
            default: return false
            }
        }
        for (slot, value) in found { graph.constants[slot] = try RuntimeValue(value) }
        return true
    }

    /// The shape that a Reshape leads to, with 0 for an extent of the input that is copied and -1 for one that follows
    /// from the others; nil where that does not say the same.
    private static func target(of node: PlanNode, _ known: PlanInference, _ graph: PlanGraph) -> [Int]? {
        guard node.op.isONNX("Reshape"), node.opset >= 5, node.inputs.count == 2, let input = node.inputs[0],
            let wanted = node.inputs[1], graph.constants[wanted] == nil, known.types.indices.contains(input),
            known.types.indices.contains(wanted), let shape = known.types[input]?.shape,
            let extents = known.contents[wanted]?.extents
        else { return nil }
        var result: [Int] = []
        var others: [Extent] = []
        var free: Extent?
        var copies = false
        for (axis, extent) in extents.enumerated() {
            switch extent {
            case .fixed(let count) where count > 0 || count == -1:
                result.append(count)
                if count > 0 { others.append(extent) }
            case .symbol where axis < shape.rank && shape[axis].extent == extent:
                result.append(0)
                copies = true
            case .symbol where free == nil:
                result.append(-1)
                free = extent
            default: return nil
            }
        }
        if let free {
            // An empty batch leaves -1 without a meaning beside a 0; and -1 must come out as what was computed.
            guard !copies, result.count(where: { $0 == -1 }) == 1,
                Extent.product(shape.extents).dividedExactly(by: Extent.product(others)) == free
            else { return nil }
        }
        return result
    }

    /// Turns each CastLike whose type is known into a Cast, which may be a constant's, and which nobody waits for.
    private static func spellOutCasts(_ known: PlanInference, _ graph: inout PlanGraph) -> Bool {
        var isChanged = false
        for index in graph.nodes.indices {
            guard var node = graph.nodes[index], node.op.isONNX("CastLike"), node.inputs.count == 2,
                let other = node.inputs[1], known.types.indices.contains(other),
                let type = known.types[other]?.elementType
            else { continue }
            node.op = "Cast"
            node.attributes["to"] = .int(Int(type.rawValue))
            node.inputs.removeLast()
            graph.nodes[index] = node
            isChanged = true
        }
        return isChanged
    }

    /// Lets readers of a copy read its source.
    private static func leaveOutCopies(_ known: PlanInference, _ graph: inout PlanGraph) {
        var sources: [Int: Int] = [:]
        for index in graph.nodes.indices {
            guard var node = graph.nodes[index] else { continue }
            node.inputs = node.inputs.map { $0.map { sources[$0] ?? $0 } }
            graph.nodes[index] = node
            guard node.inputs.count == 1, let input = node.inputs[0], let output = node.outputs.first ?? nil,
                !graph.results.contains(output)
            else { continue }
            if node.op.isONNX("Identity") {
                sources[output] = input
            } else if node.op.isONNX("Cast"), known.types.indices.contains(input),
                let type = known.types[input]?.elementType, known.types[output]?.elementType == type
            {
                sources[output] = input
            }
        }
    }
}

import GraftCore
import GraftIR

/// Chains of convolutions work on blocks of channels where that saves more than reordering at the ends costs.
///
/// Values that convolutions, poolings, activations, sums and products pass on to each other form regions. A region flows
/// in blocks where it has more than two convolutions for each place at which a kernel that does not know blocks reads
/// or writes one of its values. Nodes are only marked; a kernel that finds no fast implementation falls back to channels
/// last by itself.
enum ChooseLayouts: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        var regions = Regions(count: graph.names.count)
        var aware: [Int: [Int]] = [:]
        for index in graph.nodes.indices {
            guard let node = graph.nodes[index], let slots = values(of: node, graph) else { continue }
            aware[index] = slots
            for slot in slots.dropFirst() { regions.unite(slots[0], slot) }
        }
        var convolutions = [Int](repeating: 0, count: graph.names.count)
        var crossings = [Int](repeating: 0, count: graph.names.count)
        var seen: Set<Int> = []
        for (index, slots) in aware {
            if graph.nodes[index]?.op.isONNX("Conv") == true { convolutions[regions.root(slots[0])] += 1 }
            // It knows nothing but blocks.
            if graph.nodes[index]?.op.type == "ExpandedDepthwise" { convolutions[regions.root(slots[0])] += 3 }
            for slot in slots where seen.insert(slot).inserted {
                let root = regions.root(slot)
                let foreignReaders = graph.readers[slot].count { !(aware[$0]?.contains(slot) ?? sinks($0, graph)) }
                let isForeign = graph.writer[slot].map { !(aware[$0]?.contains(slot) ?? false) } ?? true
                crossings[root] += foreignReaders + (isForeign ? 1 : 0) + (graph.results.contains(slot) ? 1 : 0)
            }
        }
        for (index, slots) in aware where graph.nodes[index]?.op.isONNX("Conv") == true {
            let root = regions.root(slots[0])
            graph.nodes[index]?.prefersBlocks = convolutions[root] > 2 * crossings[root]
        }
    }

    /// The values of a node that have one memory order, where its kernel knows blocks; the result comes first.
    private static func values(of node: PlanNode, _ graph: PlanGraph) -> [Int]? {
        guard node.op.canonicalDomain.isEmpty || node.op.domain == graftDomain, let output = node.outputs.first ?? nil,
            node.outputs.dropFirst().allSatisfy({ $0 == nil }), let input = node.inputs.first ?? nil
        else { return nil }
        switch node.op.type {
        case "Conv":
            guard let weights = node.inputs.count > 1 ? node.inputs[1] : nil,
                case .tensor(let tensor)? = graph.constants[weights], tensor.elementType == .float32, tensor.rank == 4
            else { return nil }
            let group = node.attributes.int("group") ?? 1
            // Groups that are neither whole blocks nor single channels have no fast kernel.
            let isDepthwise = tensor.shape[1] == 1 && tensor.shape[0] == group
            guard group == 1 || isDepthwise || tensor.shape[1] % Layout.block == 0 else { return nil }
            let operands = node.postOperations.compactMap { operation -> Int? in
                if case .add(let position) = operation { node.inputs[position] } else { nil }
            }
            // An image is read as it is.
            return [output] + (tensor.shape[1] * group <= 4 ? [] : [input]) + operands
        case "MaxPool", "AveragePool", "ExpandedDepthwise": return [output, input]
        case "Relu", "LeakyRelu", "HardSwish", "Swish", "Gelu", "Tanh", "Elu", "Mish", "Sigmoid":
            return [output, input]
        case "Add", "Mul":
            guard let other = node.inputs.count == 2 ? node.inputs[1] : nil, node.opset >= 7 || node.op.domain != ""
            else { return nil }
            if graph.constants[input] != nil || graph.constants[other] != nil { return nil }
            return [output, input, other]
        default: return nil
        }
    }

    /// Whether a node reads blocks and makes something without.
    private static func sinks(_ index: Int, _ graph: PlanGraph) -> Bool {
        graph.nodes[index]?.op.isONNX("GlobalAveragePool") == true || graph.nodes[index]?.op.isONNX("Conv") == true
    }
}

/// Sets of values, united step by step.
private struct Regions {
    private var parent: [Int]

    init(count: Int) { parent = Array(0..<count) }

    mutating func root(_ slot: Int) -> Int {
        var slot = slot
        while parent[slot] != slot {
            parent[slot] = parent[parent[slot]]
            slot = parent[slot]
        }
        return slot
    }

    mutating func unite(_ a: Int, _ b: Int) { parent[root(a)] = root(b) }
}

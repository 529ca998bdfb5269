import GraftCore
import GraftIR

/// What some nodes compute, as a text: operators, settings, edges and constants, without names and weights.
struct GraphSignature {
    /// An input of a node, counted from the first of the nodes.
    struct Slot: Hashable {
        let node: Int
        let input: Int
    }

    /// The text.
    private(set) var text = ""
    /// The values from outside that are not stored tensors, in order of first use.
    private(set) var inputs: [ValueID] = []

    /// Describes nodes in their order; of the stored tensors at `weights` only type and shape count.
    init(_ nodes: [NodeID], in graph: Graph, weights: Set<Slot>) {
        var made: [ValueID: String] = [:]
        var outside: [ValueID: Int] = [:]
        for (index, id) in nodes.enumerated() {
            let node = graph[id]
            text += "\(node.op)("
            for (position, input) in node.inputs.enumerated() {
                guard let input else {
                    text += "_,"
                    continue
                }
                if let name = made[input] {
                    text += "\(name),"
                } else if let tensor = graph[input].tensor, graph[input].origin == .initializer {
                    text += "\(tensor.elementType.name)\(tensor.shape)"
                    if !weights.contains(Slot(node: index, input: position)) { text += "=\(Self.digest(tensor))" }
                    text += ","
                } else {
                    if outside[input] == nil {
                        outside[input] = inputs.count
                        inputs.append(input)
                    }
                    text += "i\(outside[input]!),"
                }
            }
            text += ")"
            for attribute in node.attributes.all.sorted(by: { $0.name < $1.name }) {
                text += "\(attribute.name)=\(attribute.value);"
            }
            for (position, output) in node.outputs.enumerated() {
                if let output { made[output] = "n\(index).\(position)" }
            }
            text += "\n"
        }
    }

    /// The digest of a whole graph with its inputs and outputs.
    static func whole(_ graph: Graph, weights: Set<Slot>) -> String {
        let signature = GraphSignature(graph.order, in: graph, weights: weights)
        var text = signature.text
        for input in graph.inputs {
            let position = signature.inputs.firstIndex(of: input) ?? -1
            text += "input \(graph[input].name) i\(position) \(graph[input].shape?.description ?? "")\n"
        }
        for output in graph.outputs {
            let producer = graph[output].producer.flatMap { graph.position(of: $0) } ?? -1
            text += "output \(graph[output].name) n\(producer)\n"
        }
        return Array(text.utf8).withUnsafeBytes { ContentHash($0).description }
    }

    private static func digest(_ tensor: Tensor) -> String {
        let digest = try? tensor.withBytes { ContentHash($0).description }
        return digest ?? "unreadable"
    }
}

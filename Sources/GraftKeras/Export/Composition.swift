import GraftCore
import GraftIR
import OrderedCollections

/// Several nodes that together are one Keras layer.
struct Composition {
    /// All nodes; the last one makes the result.
    let nodes: [NodeID]
    /// What the layer reads.
    let input: ValueID
    let className: String
    let settings: OrderedDictionary<String, JSON>

    /// All compositions of a graph, by their last nodes.
    static func all(in raiser: LayerRaiser) -> [NodeID: Composition] {
        var result: [NodeID: Composition] = [:]
        for id in raiser.graph.order {
            let found: Composition? =
                switch raiser.graph[id].op {
                case let op where op.isONNX("Erf"): gelu(id, raiser)
                case let op where op.isONNX("Where"): rectifier(id, raiser)
                default: nil
                }
            guard let found, let last = found.nodes.last else { continue }
            result[last] = found
        }
        return result
    }

    /// `x / 2 * (1 + erf(x / sqrt(2)))`, with the half applied to x or to the product.
    private static func gelu(_ erf: NodeID, _ raiser: LayerRaiser) -> Composition? {
        let graph = raiser.graph
        guard let scaled = graph[erf].inputs[0], let scaling = graph[scaled].producer,
            let (x, factor) = operand(of: scaling, raiser),
            graph[scaling].op.isONNX("Div")
                ? abs(factor - 1.414_213_6) < 1e-4
                : graph[scaling].op.isONNX("Mul") && abs(factor - 0.707_106_8) < 1e-4,
            let add = onlyReader(of: erf, graph), graph[add].op.isONNX("Add"), operand(of: add, raiser)?.1 == 1,
            let product = onlyReader(of: add, graph), graph[product].op.isONNX("Mul"),
            let sum = graph[add].outputs[0],
            let other = graph[product].inputs.compactMap({ $0 }).first(where: { $0 != sum })
        else { return nil }
        var nodes = [scaling, erf, add, product]
        if other == x {
            guard let half = onlyReader(of: product, graph), graph[half].op.isONNX("Mul"),
                operand(of: half, raiser)?.1 == 0.5
            else { return nil }
            nodes.append(half)
        } else {
            guard let half = graph[other].producer, graph[half].op.isONNX("Mul"), graph[other].uses.count == 1,
                let (halved, factor) = operand(of: half, raiser), halved == x, factor == 0.5
            else { return nil }
            nodes.insert(half, at: 0)
        }
        return Composition(nodes: nodes, input: x, className: "Activation", settings: ["activation": "gelu"])
    }

    /// `x >= threshold ? min(x, maximum) : (x - threshold) * slope`.
    private static func rectifier(_ choice: NodeID, _ raiser: LayerRaiser) -> Composition? {
        let graph = raiser.graph
        let inputs = graph[choice].inputs
        guard inputs.count == 3, let condition = inputs[0].flatMap({ graph[$0].producer }),
            graph[condition].op.isONNX("GreaterOrEqual"), let (x, threshold) = operand(of: condition, raiser),
            let below = inputs[2].flatMap({ graph[$0].producer }), graph[below].op.isONNX("Mul"),
            let (difference, slope) = operand(of: below, raiser), let subtraction = graph[difference].producer,
            graph[subtraction].op.isONNX("Sub"), let (start, offset) = operand(of: subtraction, raiser), start == x,
            offset == threshold
        else { return nil }
        var nodes = [condition, subtraction, below]
        var maximum: Float?
        if inputs[1] != x {
            guard let minimum = inputs[1].flatMap({ graph[$0].producer }), graph[minimum].op.isONNX("Min"),
                let (bounded, bound) = operand(of: minimum, raiser), bounded == x
            else { return nil }
            maximum = bound
            nodes.append(minimum)
        }
        let settings: OrderedDictionary<String, JSON> = [
            "max_value": maximum.map { JSON($0) } ?? .null, "negative_slope": JSON(slope),
            "threshold": JSON(threshold),
        ]
        return Composition(nodes: nodes + [choice], input: x, className: "ReLU", settings: settings)
    }

    /// The computed input and the stored number of a node of two inputs.
    private static func operand(of id: NodeID, _ raiser: LayerRaiser) -> (ValueID, Float)? {
        let inputs = raiser.graph[id].inputs
        guard inputs.count == 2, let first = inputs[0], let second = inputs[1] else { return nil }
        let isCommutative = ["Add", "Mul", "Min", "Max"].contains(raiser.graph[id].op.type)
        if let numbers = raiser.floats(id, 1), numbers.count == 1 { return (first, numbers[0]) }
        if isCommutative, let numbers = raiser.floats(id, 0), numbers.count == 1 { return (second, numbers[0]) }
        return nil
    }

    private static func onlyReader(of id: NodeID, _ graph: Graph) -> NodeID? {
        guard let output = graph[id].outputs.first, let output, graph[output].uses.count == 1,
            case .node(let reader, _) = graph[output].uses[0]
        else { return nil }
        return reader
    }
}

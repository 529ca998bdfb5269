import GraftCore
import GraftIR

/// One run of the reverse pass over a graph.
struct ReversePass {
    /// The graph with the nodes that were added.
    private(set) var graph: Graph

    private let loss: ValueID
    private let wanted: [ValueID]
    private let opsets: [OpsetImport]
    private let functions: Set<OperatorName>
    private let flow: GradientFlow
    private let sumsElements: Bool
    private var types: InferredTypes
    private var constants: [GradientContext.ConstantKey: ValueID] = [:]
    /// What flows back to each value, one part for each place that reads it.
    private var parts: [ValueID: [ValueID]] = [:]
    private var obstacles: [DifferentiationError.Obstacle] = []

    /// - Parameter sumsElements: whether a loss of several elements stands for their sum.
    init(
        loss: ValueID, wanted: [ValueID], model: Model, types: InferredTypes, sumsElements: Bool = false
    ) throws {
        self.loss = loss
        self.sumsElements = sumsElements
        self.wanted = wanted
        graph = model.graph
        opsets = model.opsets
        functions = Set(model.functions.map(\.name.canonical))
        self.types = types
        flow = GradientFlow(from: loss, to: wanted, in: model.graph, types: types)
    }

    /// Adds all nodes.
    ///
    /// - Throws: ``DifferentiationError`` with everything that is in the way.
    mutating func run() throws {
        refuseWhatHasNoRule()
        seed()
        for id in flow.nodes.reversed() { step(back: id) }
        if !obstacles.isEmpty {
            let order = Dictionary(uniqueKeysWithValues: flow.nodes.enumerated().map { ($1, $0) })
            let places = Dictionary(
                obstacles.map { obstacle in
                    (
                        obstacle,
                        flow.nodes.first { graph[$0].label(in: graph) == obstacle.node }.flatMap { order[$0] } ?? 0
                    )
                }, uniquingKeysWith: min)
            throw DifferentiationError(
                obstacles: obstacles.sorted { (places[$0] ?? 0, $0.reason) < (places[$1] ?? 0, $1.reason) })
        }
    }

    /// The gradients of the wanted values.
    mutating func gradients() -> [ValueID: ValueID] {
        var result: [ValueID: ValueID] = [:]
        for value in wanted { result[value] = total(of: value) }
        return result
    }

    /// The derivative of the loss by itself.
    private mutating func seed() {
        if sumsElements {
            let ones = graph.addFilled(1, like: loss, types: types)
            types.set(types.type(of: loss), content: nil, of: ones)
            parts[loss] = [ones]
            return
        }
        let type = types.elementType(of: loss) ?? .float32
        let counts = types.shape(of: loss)?.counts ?? []
        guard let one = Tensor.filled(1, type, shape: counts) else { return }
        let id = graph.addInitializer(graph.uniqueValueName("grad/\(graph[loss].name)"), one)
        types.set(ValueType(of: one), content: .tensor(one), of: id)
        parts[loss] = [id]
    }

    /// Operators that cannot be differentiated whatever their attributes say; all of them, also those that the pass
    /// would not come to.
    private mutating func refuseWhatHasNoRule() {
        for id in flow.nodes {
            let op = graph[id].op
            if functions.contains(op.canonical) {
                refuse(id, "calls a function of the model; inline it first (the training form does)")
                continue
            }
            guard let schema = OperatorRegistry.schema(for: op) else {
                refuse(id, "is not known, and so is its gradient")
                continue
            }
            if case .unsupported(let reason) = schema.gradient { refuse(id, reason) }
        }
    }

    private mutating func refuse(_ id: NodeID, _ reason: String) {
        obstacles.append(
            DifferentiationError.Obstacle(
                node: graph[id].label(in: graph), op: graph[id].op, reason: reason,
                path: flow.path(through: id, from: Set(wanted), to: loss)))
    }

    /// The sum of what flows back to a value; nil where nothing does.
    private mutating func total(of value: ValueID) -> ValueID? {
        guard let present = parts[value], let first = present.first else { return nil }
        if present.count == 1 { return first }
        let sum = graph.addValue(graph.uniqueValueName("grad/\(graph[value].name)/sum"))
        let node = graph.addNode(present.count == 2 ? "Add" : "Sum", inputs: present, outputs: [sum])
        types.inferEmitted(node, in: graph, opset: opset(of: ""))
        parts[value] = [sum]
        return sum
    }

    private func opset(of domain: String) -> Int {
        let wanted = domain == "ai.onnx" ? "" : domain
        return opsets.first { ($0.domain == "ai.onnx" ? "" : $0.domain) == wanted }?.version ?? 1
    }

    private mutating func step(back id: NodeID) {
        var node = graph[id]
        guard !functions.contains(node.op.canonical), let schema = OperatorRegistry.schema(for: node.op),
            case .rule(let rule) = schema.gradient
        else {
            // Refused already; the ways behind it are followed no further.
            return
        }
        let gradients = node.outputs.map { $0.flatMap { total(of: $0) } }
        guard gradients.contains(where: { $0 != nil }) else { return }
        let needed = node.inputs.map { input in
            input.map { flow.dependent.contains($0) && flow.isDifferentiable($0) } ?? false
        }
        node.name = node.label(in: graph)
        // The graph moves into the context and back, so that it is never copied.
        var moved = Graph()
        var movedTypes = InferredTypes()
        var movedConstants: [GradientContext.ConstantKey: ValueID] = [:]
        swap(&moved, &graph)
        swap(&movedTypes, &types)
        swap(&movedConstants, &constants)
        var context = GradientContext(
            graph: consume moved, types: consume movedTypes, constants: consume movedConstants, node: node,
            opset: opset(of: node.op.domain), onnxOpset: opset(of: ""), outputGradients: gradients, needed: needed)
        var failure: String?
        do {
            try rule(&context)
        } catch let error as InferenceError {
            failure = error.reason
        } catch {
            failure = "\(error)"
        }
        let (inputGradients, shapes) = (context.inputGradients, context.shapeInputs)
        (graph, types, constants) = context.finish()
        if let failure {
            refuse(id, failure)
            return
        }
        var missing: [Int] = []
        for (index, input) in node.inputs.enumerated() {
            guard let input, needed[index] else { continue }
            if let gradient = inputGradients[index] {
                if types.type(of: gradient) == nil, let type = types.type(of: input) {
                    types.set(type, content: nil, of: gradient)
                }
                parts[input, default: []].append(gradient)
            } else if !shapes.contains(index) {
                missing.append(index)
            }
        }
        for index in missing {
            let name = node.inputs[index].map { graph[$0].name } ?? ""
            refuse(id, "has no gradient with respect to its input \(index), \"\(name)\"")
        }
        for capture in Set(GradientFlow.captures(of: id, in: graph)) where flow.dependent.contains(capture) {
            refuse(id, "a body captures \"\(graph[capture].name)\", which has no gradient through the node")
        }
    }
}

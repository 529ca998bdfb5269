import GraftCore
import GraftIR

/// Replaces the Gradient nodes of `ai.onnx.preview.training` by the nodes that compute what they stand for.
///
/// Such a node names values of the graph it lies in: independent ones, `xs` and `zs`, and `y`, which they determine. Its
/// outputs are the derivatives of `y` by each of `xs`, where `xs` and `zs` have the values that the node is given. A `y`
/// of several elements is summed first, as reverse passes usually do.
///
/// Where the node is given the named values themselves, the derivatives use what the forward pass computed. Otherwise the
/// part of the graph between them and `y` is copied.
public struct GradientExpansion {
    private static let op = OperatorName("Gradient", domain: "ai.onnx.preview.training")

    /// The most Gradient nodes of a graph; each costs a look at all of it.
    private static let nodeLimit = 1000

    private var model: Model
    /// The numbers of `xs` and of `xs` with `zs`, for each node.
    private var counts: [NodeID: (xs: Int, named: Int)] = [:]

    /// Whether a graph has Gradient nodes, those of bodies aside.
    public static func isNeeded(in graph: Graph) -> Bool { graph.order.contains { graph[$0].op.canonical == op } }

    /// Replaces the Gradient nodes of a model's graph; those in bodies and functions stay.
    ///
    /// Handles of values and of other nodes stay what they are.
    ///
    /// - Throws: ``DifferentiationError`` with every operator that has no right gradient; ``TrainingFormError`` where
    ///   functions cannot be inlined; what inference throws. The model is then as it was.
    public static func run(on model: inout Model) throws {
        guard isNeeded(in: model.graph) else { return }
        var expansion = GradientExpansion(model: model)
        try expansion.run()
        model = expansion.model
    }

    private init(model: Model) { self.model = model }

    private mutating func run() throws {
        model.importOpset(graftDomain, version: 1)
        for id in model.graph.order where model.graph[id].op.canonical == Self.op { try connect(id) }
        try sort()
        if callsBodies() {
            try Inlining.run(on: &model)
            try sort()
        }
        while let id = model.graph.order.first(where: { counts[$0] != nil }) {
            try expand(id)
            counts[id] = nil
            try sort()
            guard model.graph.nodeCount <= Inlining.nodeLimit else {
                throw TrainingFormError.tooLarge(nodes: Inlining.nodeLimit)
            }
        }
    }

    private func refusal(_ id: NodeID, _ reason: String) -> DifferentiationError {
        DifferentiationError(obstacles: [
            .init(node: model.graph[id].label(in: model.graph), op: Self.op, reason: reason, path: [])
        ])
    }

    /// Makes the values that a node names its inputs, behind those that it has: what happens to the graph, they follow.
    private mutating func connect(_ id: NodeID) throws {
        let node = model.graph[id]
        guard let xs = node.attributes.strings("xs"), !xs.isEmpty, let y = node.attributes.string("y") else {
            throw refusal(id, "the attribute \"xs\" or \"y\" is missing")
        }
        let names = xs + (node.attributes.strings("zs") ?? [])
        guard node.inputs.count == names.count, node.inputs.allSatisfy({ $0 != nil }) else {
            throw refusal(id, "it names \(names.count) values, but is given \(node.inputs.compactMap { $0 }.count)")
        }
        guard node.outputs.count <= xs.count else {
            throw refusal(id, "it has \(node.outputs.count) outputs for \(xs.count) values")
        }
        let named = try (names + [y]).map { name in
            guard let value = model.graph.value(named: name) else {
                throw refusal(id, "\"\(name)\" is no value of the graph that the node lies in")
            }
            return value
        }
        guard counts.count < Self.nodeLimit else {
            throw refusal(id, "the graph has more than \(Self.nodeLimit) such nodes")
        }
        counts[id] = (xs.count, names.count)
        model.graph.setInputs(of: id, to: node.inputs + named)
    }

    /// Puts every node behind those whose results it reads.
    private mutating func sort() throws {
        switch DependencyOrder.of(model.graph) {
        case .success(let order): model.graph.setOrder(order)
        case .failure(let circle):
            guard let id = circle.nodes.first(where: { counts[$0] != nil }) else {
                throw InferenceError(
                    node: "", op: "", reason: "the nodes of the graph depend on each other in a circle")
            }
            throw refusal(id, "what it differentiates depends on its own result")
        }
    }

    /// Whether there are functions or branches in what is differentiated.
    private func callsBodies() -> Bool {
        counts.keys.contains { id in
            guard let y = model.graph[id].inputs.last ?? nil else { return false }
            return ancestors(of: y, stoppingAt: []).contains { node in
                model.function(model.graph[node].op) != nil || model.graph[node].op.isONNX("If")
            }
        }
    }

    /// The nodes that a value follows from.
    private func ancestors(of value: ValueID, stoppingAt ends: Set<ValueID>) -> Set<NodeID> {
        var result: Set<NodeID> = []
        var pending = ends.contains(value) ? [] : [value]
        while let value = pending.popLast() {
            guard let producer = model.graph[value].producer, result.insert(producer).inserted else { continue }
            pending += GradientFlow.reads(of: producer, in: model.graph).filter { !ends.contains($0) }
        }
        return result
    }

    private mutating func expand(_ id: NodeID) throws {
        let node = model.graph[id]
        guard let (xs, count) = counts[id], node.inputs.count == 2 * count + 1, let y = node.inputs[2 * count] else {
            return
        }
        let given = node.inputs[..<count].compactMap { $0 }
        let named = node.inputs[count..<(2 * count)].compactMap { $0 }
        var (wanted, target) = (Array(named[..<xs]), y)
        if given != named || areDependent(named) {
            (wanted, target) = copy(of: y, named: named, given: given, xs: xs, label: node.label(in: model.graph))
        }
        model.graph.removeNode(id)
        let types = try Inference.inferTypes(of: model)
        for value in [target] + wanted {
            guard let type = types.elementType(of: value), !GradientFlow.isDifferentiable(type) else { continue }
            let op = model.graph[value].producer.map { model.graph[$0].op } ?? "Input"
            let reason = "its elements are of type \(type.name), which has no gradients"
            throw DifferentiationError(obstacles: [
                .init(node: model.graph[value].name, op: op, reason: reason, path: [])
            ])
        }
        var pass = try ReversePass(loss: target, wanted: wanted, model: model, types: types, sumsElements: true)
        try pass.run()
        let gradients = pass.gradients()
        model.graph = pass.graph
        for (output, x) in zip(node.outputs, wanted) {
            guard let output else { continue }
            let gradient = gradients[x] ?? model.graph.addFilled(0, like: x, types: types)
            model.graph.addNode("Identity", inputs: [gradient], outputs: [output])
        }
    }

    /// Whether one of the values follows from another.
    private func areDependent(_ values: [ValueID]) -> Bool {
        let all = Set(values)
        var reached = all
        for id in model.graph.order {
            guard GradientFlow.reads(of: id, in: model.graph).contains(where: { reached.contains($0) }) else {
                continue
            }
            for case let output? in model.graph[id].outputs {
                if all.contains(output) { return true }
                reached.insert(output)
            }
        }
        return false
    }

    /// Copies the nodes between the named values and `y`, for other values in the place of the named ones.
    private mutating func copy(
        of y: ValueID, named: [ValueID], given: [ValueID], xs: Int, label: String
    ) -> (wanted: [ValueID], y: ValueID) {
        let nodes = ancestors(of: y, stoppingAt: Set(named))
        var map: [ValueID: ValueID] = [:]
        // Independent values are values of their own, even where the same one is given twice.
        let wanted = given[..<xs].map { value in
            model.graph.add("Identity", [value], output: "\(label)/\(model.graph[value].name)")
        }
        for (value, replacement) in zip(named, wanted + given[xs...]) { map[value] = replacement }
        for id in model.graph.order where nodes.contains(id) {
            let node = model.graph[id]
            for case let output? in node.outputs {
                let value = model.graph[output]
                map[output] = model.graph.addValue(
                    model.graph.uniqueValueName("\(label)/\(value.name)"), type: value.type)
            }
            model.graph.addNode(
                node.op, name: "\(label)/\(node.label(in: model.graph))",
                inputs: node.inputs.map { $0.map { map[$0] ?? $0 } },
                outputs: node.outputs.map { $0.flatMap { map[$0] } },
                attributes: Inlining.retargeted(node.attributes, map, names: model.graph))
        }
        return (wanted, map[y] ?? y)
    }
}

extension Graph {
    /// Adds a value of the type and shape of another, all of whose elements are a number.
    mutating func addFilled(_ number: Double, like value: ValueID, types: InferredTypes) -> ValueID {
        let type = types.elementType(of: value) ?? self[value].elementType ?? .float32
        let one = Tensor.filled(number, type, shape: [1])
        let shape = add("Shape", [value], output: "\(self[value].name)/shape")
        return add(
            "ConstantOfShape", [shape], attributes: one.map { ["value": .tensor(StoredTensor($0))] } ?? Attributes(),
            output: "\(self[value].name)/filled")
    }
}

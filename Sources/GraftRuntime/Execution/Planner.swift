import GraftCore
import GraftIR

/// Turns a graph into the nodes of a plan: what is needed, in order, with functions called in place, constants folded
/// and nodes fused.
struct Planner {
    private var source: Graph
    private var scope: PlanScope
    let options: PlanOptions
    /// What is known of the values that the graph captures from the one around it.
    private let captured: [ValueID: PlanCapture]
    /// Whether the graph is a body, whose inputs are not checked against their declared types.
    private let isBody: Bool
    var graph = PlanGraph()
    private(set) var inputs: [Plan.Port] = []
    private(set) var outputs: [Plan.Port] = []
    private(set) var persistent: [(name: String, slot: Int, update: Int?)] = []
    private(set) var initialValues: [Tensor] = []
    let arena = Arena()
    private var slots: [ValueID: Int] = [:]

    /// The passes that see quantised constants as bytes, before they become numbers.
    static var passesOnBytes: [any PlanPass.Type] { [RecognizeQuantized.self] }

    /// The passes, in order; a new file in `Fusion/` adds its line here.
    static var passes: [any PlanPass.Type] {
        [
            FoldPadding.self, FoldChannelScale.self, RecognizeActivations.self, RecognizeTanhGelu.self,
            RecognizeMomentNormalization.self, RecognizeNormalizations.self, RecognizeAttention.self,
            FuseEpilogues.self, FuseExpansions.self, ChooseLayouts.self, RoundBlocks.self,
        ]
    }

    init(_ graph: Graph, scope: PlanScope, options: PlanOptions, captured: [ValueID: PlanCapture]? = nil) {
        source = graph
        self.scope = scope
        self.options = options
        self.captured = captured ?? [:]
        isBody = captured != nil
    }

    mutating func build() throws {
        (source, scope) = try scope.differentiated(source)
        let givenIDs = options.inputs ?? source.inputs.filter { !source[$0].isInitializer }
        let resultIDs = options.outputs ?? source.outputs
        let given = Set(givenIDs)
        for id in givenIDs { inputs.append(Plan.Port(name: source[id].name, type: source[id].type, slot: slot(id))) }

        try addNodes(needed: resultIDs + options.updates.values, given: given)
        for id in resultIDs {
            try requireOrigin(id, given: given)
            outputs.append(Plan.Port(name: source[id].name, type: source[id].type, slot: slot(id)))
        }
        for id in options.persistent.sorted() {
            guard let tensor = source[id].tensor else {
                throw RuntimeError.invalidGraph("the persistent value \(source[id].name) has no tensor to start with")
            }
            let update = options.updates[id].map { slot($0) }
            persistent.append((source[id].name, slot(id), update))
            initialValues.append(tensor)
        }
        graph.results = Set(outputs.map(\.slot)).union(persistent.compactMap(\.update))
        graph.refresh()
        if options.optimizes {
            try foldConstants(dequantizes: false)
            repeat {
                if try FoldShapes.apply(to: &graph, inputs: isBody ? [] : inputs) {
                    try foldConstants(dequantizes: false)
                }
                guard try inlineKnownBranches() else { break }
                try foldConstants(dequantizes: false)
            } while true
            for pass in Self.passesOnBytes { try pass.apply(to: &graph, options: options) }
            try foldConstants(dequantizes: true)
            for pass in Self.passes {
                try pass.apply(to: &graph, options: options)
                graph.refresh()
            }
        }
    }

    private mutating func addNodes(needed: [ValueID], given: Set<ValueID>) throws {
        var wanted: Set<NodeID> = []
        var pending = needed
        while let id = pending.popLast() {
            guard source.contains(id) else { throw RuntimeError.invalidGraph("a value was removed") }
            if given.contains(id) { continue }
            guard let producer = source[id].producer, wanted.insert(producer).inserted else { continue }
            pending += source[producer].inputs.compactMap { $0 }
            for body in source.bodies(of: producer) { pending += Self.captures(of: body.graph).map(\.outer) }
        }
        for id in source.order where wanted.contains(id) {
            let node = source[id]
            var inputs = node.inputs.map { $0.map { slot($0) } }
            for body in source.bodies(of: id) {
                for capture in Self.captures(of: body.graph) { inputs.append(slot(capture.outer)) }
            }
            let outputs = node.outputs.map { value -> Int? in
                guard let value, !given.contains(value) else { return nil }
                return slot(value)
            }
            for value in node.inputs { if let value { try requireOrigin(value, given: given) } }
            try add(node, label: node.label(in: source), scope: scope, inputs: inputs, outputs: outputs)
        }
    }

    /// The values of a body that stand for values of the graph around it, in order of creation.
    static func captures(of body: Graph) -> [(inner: ValueID, outer: ValueID)] {
        body.values.compactMap { id in
            if case .capture(let outer) = body[id].origin { (id, outer) } else { nil }
        }
    }

    private func requireOrigin(_ id: ValueID, given: Set<ValueID>) throws {
        let value = source[id]
        if given.contains(id) || value.isInitializer || value.producer != nil || captured[id] != nil { return }
        throw RuntimeError.invalidGraph("nothing gives the value \"\(value.name)\"")
    }

    private mutating func slot(_ id: ValueID) -> Int {
        if let slot = slots[id] { return slot }
        let value = source[id]
        let isGiven = options.inputs?.contains(id) ?? false
        var constant: RuntimeValue?
        if !options.persistent.contains(id), !isGiven, let tensor = try? value.storedTensor() {
            constant = try? RuntimeValue(tensor)
        }
        constant = constant ?? captured[id]?.constant
        let slot = graph.addSlot(value.name, type: captured[id]?.type ?? value.type, constant: constant)
        if let tensor = value.tensor { graph.types[slot] = ValueType(of: tensor) }
        slots[id] = slot
        return slot
    }

    /// Makes the kernel of a node.
    ///
    /// - Throws: ``KernelFailure`` where none runs it.
    func makeKernel(_ node: PlanNode) throws -> (any Kernel, taken: Set<Int>) {
        guard let definition = KernelRegistry.definition(node.op, opset: node.opset) else {
            throw KernelFailure(KernelRegistry.reason(node.op, opset: node.opset))
        }
        let description = KernelNode(
            node, constants: node.inputs.map { $0.flatMap { graph.constants[$0] } },
            types: node.inputs.map { $0.flatMap { graph.types[$0] } }, options: options)
        return (try Self.make(definition, description), description.claims.taken)
    }

    /// The kernel of a definition, with what the executor puts around it.
    private static func make(_ definition: KernelDefinition, _ node: KernelNode) throws -> any Kernel {
        if let kernel = TextCast.kernel(for: node) { return kernel }
        let kernel = try definition.make(node)
        return try CarryingKernel.wrap(
            TextCast.wrap(TextMovement.wrap(definition.adapted(kernel, node), node), node), node)
    }

    /// Runs every node whose inputs are all constants, and keeps what it makes.
    ///
    /// - Parameter dequantizes: whether quantised constants become numbers.
    private mutating func foldConstants(dequantizes: Bool) throws {
        let context = KernelContext(arena: arena)
        for index in graph.nodes.indices {
            guard let node = graph.nodes[index],
                dequantizes || node.op.type != "DequantizeLinear",
                let definition = KernelRegistry.definition(node.op, opset: node.opset), definition.isPure,
                node.attributes.all.allSatisfy({ if case .graph = $0.value { false } else { true } }),
                node.inputs.allSatisfy({ $0 == nil || graph.constants[$0!] != nil })
            else { continue }
            // A node that cannot be folded is left to fail when it runs, if it ever does.
            let description = KernelNode(
                node, constants: node.inputs.map { _ in nil },
                types: node.inputs.map { $0.flatMap { graph.types[$0] } }, options: options)
            guard let kernel = try? Self.make(definition, description) else { continue }
            context.begin(outputs: node.outputs.count)
            defer { context.end() }
            var inputBytes = 0
            for input in node.inputs {
                var value = input.flatMap { graph.constants[$0] }
                if case .tensor(let tensor)? = value {
                    inputBytes += tensor.byteCount
                    if !tensor.isAligned {
                        let buffer = try arena.allocate(tensor.byteCount)
                        buffer.pointer.copyMemory(from: tensor.pointer, byteCount: tensor.byteCount)
                        value = .tensor(RuntimeTensor(tensor.elementType, tensor.shape, buffer: buffer))
                    }
                }
                context.append(value, version: 0)
            }
            guard (try? kernel.run(context)) != nil else { continue }
            var results: [(Int, RuntimeValue)] = []
            var outputBytes = 0
            for (position, slot) in node.outputs.enumerated() {
                guard let slot, let value = context.takeOutput(position) else { continue }
                if case .tensor(let tensor) = value {
                    outputBytes += tensor.byteCount
                    results.append((slot, .tensor(try context.reordered(tensor, .rowMajor))))
                } else {
                    results.append((slot, value))
                }
            }
            // What a few numbers expand to is cheaper to make again than to keep.
            let isQuantized = node.op.type == "DequantizeLinear"
            guard outputBytes <= max(1 << 20, (isQuantized ? 16 : 2) * inputBytes) else { continue }
            for (slot, value) in results { graph.constants[slot] = value }
            graph.nodes[index] = nil
        }
        graph.refresh()
    }
}

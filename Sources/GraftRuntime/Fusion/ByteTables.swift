import GraftCore
import GraftIR

/// Functions of single elements between DequantizeLinear and QuantizeLinear become tables of 256 bytes.
///
/// The nodes themselves compute the table, so that the results are the same to the last bit.
enum ByteTables {
    private static let functions: Set<String> = [
        "Abs", "Add", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
        "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Pow", "Reciprocal", "Relu", "Round",
        "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Swish", "Tanh", "ThresholdedRelu",
    ]

    /// Puts a table in the place of a quantiser whose input is a function of single bytes.
    static func fuse(_ index: Int, _ graph: inout PlanGraph, _ options: PlanOptions) throws {
        guard let end = graph.quantizer(index), let old = graph.nodes[index] else { return }
        var chain = [end.node]
        var slot = old.inputs[0]
        while chain.count < 8 {
            guard let value = slot, graph.constants[value] == nil, let writer = graph.writer[value],
                let node = graph.nodes[writer]
            else { return }
            chain.append(writer)
            if node.op.type == "DequantizeLinear" { break }
            guard node.op.canonicalDomain.isEmpty, functions.contains(node.op.type), node.outputs.count == 1 else {
                return
            }
            let variable = node.inputs.filter { $0 != nil && !isScalar($0, graph) }
            guard variable.count == 1, node.inputs.allSatisfy({ keepsShape($0, variable[0], graph) }) else { return }
            slot = variable[0]
        }
        guard let first = chain.last, let source = graph.nodes[first]?.outputs.first ?? nil,
            let x = graph.bytes(source), x.isPerTensor, graph.constants[x.slot] == nil,
            let table = try table(x.type, chain.reversed(), graph, options)
        else { return }
        graph.nodes[index] = try node(old, source: x.slot, table, &graph)
        graph.refresh()
    }

    /// Whether a slot is one number, or will be once constants are dequantised.
    private static func isScalar(_ slot: Int?, _ graph: PlanGraph) -> Bool {
        if let shape = graph.constantShape(slot) { return shape.reduce(1, *) == 1 }
        guard let bytes = graph.bytes(slot) else { return false }
        return graph.constantShape(bytes.slot)?.reduce(1, *) == 1
    }

    /// Whether a single number has no more axes than what it is combined with.
    private static func keepsShape(_ slot: Int?, _ variable: Int?, _ graph: PlanGraph) -> Bool {
        guard let slot, let variable, slot != variable else { return true }
        let rank = (graph.constantShape(slot) ?? graph.bytes(slot).flatMap { graph.constantShape($0.slot) })?.count ?? 0
        return rank == 0 || rank <= graph.types[variable]?.shape?.rank ?? 0
    }

    /// What nodes in a row make of each of the 256 bytes; nil where one of them cannot be run now.
    ///
    /// - Parameter chain: the dequantiser, functions, and the quantiser.
    static func table(
        _ type: ElementType, _ chain: [Int], _ graph: PlanGraph, _ options: PlanOptions
    ) throws -> RuntimeTensor? {
        let arena = Arena()
        let codes = RuntimeTensor(type, [256], buffer: try arena.allocate(256))
        for index in 0..<256 { codes.typed(UInt8.self)[index] = UInt8(index) }
        var value = codes
        var last: Int?
        for index in chain {
            guard let node = graph.nodes[index] else { return nil }
            var inputs: [RuntimeTensor?] = []
            // Between the ends, elements may only have moved.
            let isEnd = index == chain.first || index == chain.last
            for (place, slot) in node.inputs.enumerated() {
                if isEnd ? place == 0 : slot == last {
                    inputs.append(value)
                } else if let slot {
                    guard let constant = try constant(slot, graph, options, arena) else { return nil }
                    inputs.append(constant)
                } else {
                    inputs.append(nil)
                }
            }
            guard let made = try run(node, inputs, options, arena) else { return nil }
            value = made
            last = node.outputs.first ?? nil
        }
        return value.shape == [256] && (value.elementType == .uint8 || value.elementType == .int8) ? value : nil
    }

    private static func constant(
        _ slot: Int, _ graph: PlanGraph, _ options: PlanOptions, _ arena: Arena
    ) throws -> RuntimeTensor? {
        if case .tensor(let tensor)? = graph.constants[slot] {
            guard tensor.count == 1 else { return nil }
            let copy = RuntimeTensor(tensor.elementType, [], buffer: try arena.allocate(tensor.byteCount))
            copy.pointer.copyMemory(from: tensor.pointer, byteCount: tensor.byteCount)
            return copy
        }
        guard graph.bytes(slot) != nil, let writer = graph.writer[slot], let node = graph.nodes[writer] else {
            return nil
        }
        var inputs: [RuntimeTensor?] = []
        for input in node.inputs {
            inputs.append(try input.flatMap { try constant($0, graph, options, arena) })
        }
        return try run(node, inputs, options, arena)
    }

    /// Runs one node; nil where it has no kernel or fails.
    private static func run(
        _ node: PlanNode, _ inputs: [RuntimeTensor?], _ options: PlanOptions, _ arena: Arena
    ) throws -> RuntimeTensor? {
        guard let definition = KernelRegistry.definition(node.op, opset: node.opset), definition.isPure else {
            return nil
        }
        let description = KernelNode(
            node, constants: node.inputs.map { _ in nil },
            types: inputs.map { $0.map { ValueType.tensor($0.elementType, SymbolicShape($0.shape)) } },
            options: options)
        guard let made = try? definition.make(description) else { return nil }
        let context = KernelContext(arena: arena)
        context.begin(outputs: 1)
        defer { context.end() }
        for input in inputs { context.append(input.map { .tensor($0) }, version: 0) }
        guard (try? definition.adapted(made, description).run(context)) != nil,
            case .tensor(let result)? = context.takeOutput(0)
        else { return nil }
        return result
    }

    /// The node that looks bytes up, in the place of a quantiser.
    static func node(
        _ old: PlanNode, source: Int, _ table: RuntimeTensor, _ graph: inout PlanGraph
    ) throws -> PlanNode {
        let slot = graph.addSlot("\(old.name)/table", constant: .tensor(table))
        return PlanNode(
            name: old.name, op: OperatorName("ByteTable", domain: graftDomain), opset: 1, inputs: [source, slot],
            outputs: old.outputs)
    }
}

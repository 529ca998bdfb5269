import GraftCore

/// The settings of a Scan, whatever its version.
public struct ScanAttributes: Sendable {
    /// How many inputs are scanned; the others are state.
    public let scanInputs: Int
    /// The axis of each scanned input; 0 where nil.
    public let inputAxes: [Int]?
    /// The axis of each scanned output; 0 where nil.
    public let outputAxes: [Int]?
    /// For each scanned input 1 where it is read backwards.
    public let inputDirections: [Int]?
    /// For each scanned output 1 where it is written backwards.
    public let outputDirections: [Int]?
    /// Whether the first axis of everything is a batch, and the first input its sequence lengths (version 8).
    public let isBatched: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        isBatched = opset < 9
        scanInputs = try reader.requiredInt("num_scan_inputs")
        inputAxes = try reader.ints("scan_input_axes")
        outputAxes = try reader.ints("scan_output_axes")
        inputDirections = try reader.ints(opset < 9 ? "directions" : "scan_input_directions")
        outputDirections = try reader.ints("scan_output_directions")
        let given = node.inputs.count - (isBatched ? 1 : 0)
        if scanInputs < 1 || scanInputs > given {
            throw reader.failure("num_scan_inputs", "is \(scanInputs), but the node has \(given) inputs")
        }
    }
}

/// Operators that run bodies.
enum ControlFlow: OperatorFamily {
    private static let versions = [13, 16, 19, 21, 23, 24, 25]

    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "If", versions: [1, 11] + versions, inputs: 1...1, outputs: 1...OperatorSchema.many,
            gradient: .unsupported(reason: "a branch that is chosen while running has no gradient rule"),
            inference: inferIf),
        OperatorSchema(
            "Loop", versions: [1, 11] + versions, inputs: 2...OperatorSchema.many, outputs: 1...OperatorSchema.many,
            gradient: .unsupported(reason: "loops have no gradient rule"), inference: inferLoop),
        OperatorSchema(
            "Scan", versions: [8, 9, 11, 16, 19, 21, 23, 24, 25], inputs: 1...OperatorSchema.many,
            outputs: 1...OperatorSchema.many, gradient: .unsupported(reason: "scans have no gradient rule"),
            inference: inferScan),
    ]

    /// What two shapes have in common: extents that differ are unknown, and so is the shape where ranks differ.
    static func common(_ a: SymbolicShape?, _ b: SymbolicShape?) -> SymbolicShape? {
        guard let a, let b, a.rank == b.rank else { return nil }
        return SymbolicShape(extents: zip(a.extents, b.extents).map { $0 == $1 ? $0 : .unknown })
    }

    /// What two types have in common.
    static func common(_ a: ValueType?, _ b: ValueType?) -> ValueType? {
        guard let a, let b else { return nil }
        switch (a.kind, b.kind) {
        case (.tensor(let x, let s), .tensor(let y, let t)):
            return .tensor(x == y ? x : x == nil || y == nil ? x ?? y : nil, common(s, t))
        case (.sequence(let x), .sequence(let y)): return ValueType(.sequence(common(x, y)))
        case (.optional(let x), .optional(let y)): return ValueType(.optional(common(x, y)))
        case (.optional(let x), _): return ValueType(.optional(common(x, b)))
        case (_, .optional(let y)): return ValueType(.optional(common(a, y)))
        default: return a == b ? a : nil
        }
    }

    private static func inferIf(_ context: inout InferenceContext) throws {
        let (thenBody, thenTypes) = try context.infer(body: "then_branch", given: [])
        let (elseBody, elseTypes) = try context.infer(body: "else_branch", given: [])
        for output in 0..<context.node.outputs.count {
            guard thenBody.outputs.indices.contains(output), elseBody.outputs.indices.contains(output) else {
                throw context.failure(
                    "has \(context.node.outputs.count) outputs, but its branches give \(thenBody.outputs.count) and "
                        + "\(elseBody.outputs.count)")
            }
            let first = thenBody.outputs[output]
            let second = elseBody.outputs[output]
            switch context.integers(0)?.first {
            case 0?:
                context.setType(elseTypes.type(of: second), of: output)
                context.setContent(elseTypes.content(of: second), of: output)
            case _?:
                context.setType(thenTypes.type(of: first), of: output)
                context.setContent(thenTypes.content(of: first), of: output)
            case nil:
                context.setType(common(thenTypes.type(of: first), elseTypes.type(of: second)), of: output)
            }
        }
    }

    /// Values that a loop carries may change their shape from round to round: only what stays is kept.
    private static func inferLoop(_ context: inout InferenceContext) throws {
        let carried = max(context.node.inputs.count - 2, 0)
        let graph = try context.reader.graph("body")
        guard graph.outputs.count >= carried + 1, graph.inputs.count >= carried + 2 else {
            throw context.failure(
                "carries \(carried) values, but its body has \(graph.inputs.count) inputs and \(graph.outputs.count) outputs"
            )
        }
        var state = (0..<carried).map { context.type($0 + 2) }
        var types = InferredTypes()
        for _ in 0..<4 {
            types = try context.infer(body: "body", given: [.tensor(.int64, []), .tensor(.bool, [])] + state).types
            let next = (0..<carried).map { index in
                common(state[index], types.type(of: graph.outputs[index + 1]))
            }
            if next == state { break }
            state = next
        }
        for index in 0..<carried { context.setType(state[index], of: index) }
        // Scanned outputs gain an axis of as many entries as there are rounds.
        let rounds = Extent.unknown
        for index in carried..<max(carried, context.node.outputs.count) {
            guard graph.outputs.indices.contains(index + 1) else { continue }
            let type = types.type(of: graph.outputs[index + 1])
            context.setTensor(
                type?.elementType, type?.shape.map { SymbolicShape(extents: [rounds] + $0.extents) }, of: index)
        }
    }

    private static func inferScan(_ context: inout InferenceContext) throws {
        let attributes = try ScanAttributes(context.node, opset: context.opset)
        let graph = try context.reader.graph("body")
        let offset = attributes.isBatched ? 1 : 0
        let batch: [Extent] =
            attributes.isBatched ? [context.shape(1).flatMap { $0.dimensions.first?.extent } ?? .unknown] : []
        let states = context.node.inputs.count - offset - attributes.scanInputs
        guard graph.outputs.count >= states else {
            throw context.failure("carries \(states) values, but its body has \(graph.outputs.count) outputs")
        }
        var given: [ValueType?] = []
        for index in 0..<states {
            let type = context.type(index + offset)
            given.append(
                attributes.isBatched
                    ? .tensor(
                        type?.elementType, type?.shape.map { SymbolicShape(extents: Array($0.extents.dropFirst())) })
                    : type)
        }
        var steps = Extent.unknown
        for index in 0..<attributes.scanInputs {
            let input = index + states + offset
            guard let type = context.type(input), var extents = type.shape?.extents else {
                given.append(context.elementType(input).map { .tensor($0) })
                continue
            }
            if attributes.isBatched, !extents.isEmpty { extents.removeFirst() }
            guard !extents.isEmpty else { throw context.failure("input \(input) is a scalar and cannot be scanned") }
            let listed = attributes.inputAxes.flatMap { index < $0.count ? $0[index] : nil } ?? 0
            let axis = try context.normalized(axis: listed, rank: extents.count)
            steps = try context.unify(steps, extents.remove(at: axis), "the scanned inputs have different lengths")
            given.append(.tensor(type.elementType, SymbolicShape(extents: extents)))
        }
        let types = try context.infer(body: "body", given: given).types
        for index in 0..<context.node.outputs.count {
            guard graph.outputs.indices.contains(index) else { continue }
            let type = types.type(of: graph.outputs[index])
            if index < states {
                let stable = common(given[index], type)
                context.setTensor(
                    stable?.elementType ?? type?.elementType,
                    stable?.shape.map { SymbolicShape(extents: batch + $0.extents) }, of: index)
                continue
            }
            let shape = try type?.shape.map { shape in
                var extents = shape.extents
                let listed = attributes.outputAxes.flatMap { index - states < $0.count ? $0[index - states] : nil } ?? 0
                extents.insert(steps, at: try context.normalized(axis: listed, rank: extents.count + 1))
                return SymbolicShape(extents: batch + extents)
            }
            context.setTensor(type?.elementType, shape, of: index)
        }
    }
}

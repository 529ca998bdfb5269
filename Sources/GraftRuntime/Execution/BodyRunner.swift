import GraftCore
import GraftIR

/// A body of a node, made ready to run: planned once, run as often as wanted, in the memory of the run around it.
///
/// A captured value that is a constant is a constant of the body too, so that weights are packed once however often
/// the body runs. A loop calls ``begin(_:)`` once and ``run(_:_:)`` for each round.
package final class BodyRunner {
    /// The number of the body's own inputs.
    let inputCount: Int
    /// The number of the body's outputs.
    var outputCount: Int { plan.outputs.count }
    private let plan: Plan
    private let body: Graph
    private let scope: PlanScope
    /// The node's inputs that the body captures and that are no constants.
    private let captures: [Int]
    private let captureTypes: [ValueID: ValueType]
    private var session: Session?
    private var arena: Arena?
    private var section: ProfileSection?
    private var captured: [RuntimeValue?] = []
    private var given: [RuntimeValue?]

    init(_ body: Graph, captures positions: Range<Int>, of node: KernelNode) throws {
        guard let scope = node.scope else { throw KernelFailure("its body has no operator versions") }
        try scope.grow(by: 32)
        var known: [ValueID: PlanCapture] = [:]
        var dynamic: [(value: ValueID, input: Int)] = []
        for (position, (inner, _)) in zip(positions, Planner.captures(of: body)) {
            let constant = node.constants[position]
            known[inner] = PlanCapture(constant: constant, type: node.inputTypes[position] ?? body[inner].type)
            if constant != nil {
                node.claims.taken.insert(position)
            } else if node.has(position) {
                dynamic.append((inner, position))
            } else if !body[inner].uses.isEmpty {
                throw KernelFailure("its body captures \"\(body[inner].name)\", which nothing gives")
            }
        }
        var options = node.options
        options.persistent = []
        options.updates = [:]
        options.inputs = body.inputs + dynamic.map(\.value)
        options.outputs = nil
        plan = try Plan(Planner(body, scope: scope, options: options, captured: known))
        self.body = body
        self.scope = scope
        inputCount = body.inputs.count
        captures = dynamic.map(\.input)
        captureTypes = known.compactMapValues(\.type)
        given = Array(repeating: nil, count: body.inputs.count + dynamic.count)
    }

    /// Takes up the captured values of a run of the node.
    func begin(_ context: KernelContext) throws {
        if session == nil || arena !== context.arena {
            session = try Session(plan, store: ParameterStore(), arena: context.arena)
            arena = context.arena
        }
        session?.section = section(of: context)
        captured.removeAll(keepingCapacity: true)
        for input in captures { captured.append(try context.value(input)) }
    }

    /// Where the nodes of the body are counted, beneath the node that runs.
    private func section(of context: KernelContext) -> ProfileSection? {
        guard let (profile, entry) = context.profiled else { return nil }
        if let section, section.profile === profile { return section }
        let added = ProfileSection(profile: profile, first: profile.add(plan, parent: entry))
        section = added
        return added
    }

    /// Lets go of the captured values.
    func end() { captured.removeAll(keepingCapacity: true) }

    /// Runs the body once.
    ///
    /// - Parameters:
    ///   - inputs: values for the body's own inputs, which are moved into the run.
    ///   - results: the body's outputs, which are set.
    /// - Throws: what a node of the body throws, ``RuntimeError/cancelled``.
    func run(_ inputs: inout [RuntimeValue?], _ results: inout [RuntimeValue?]) throws {
        if Task.isCancelled { throw RuntimeError.cancelled }
        guard let session, inputs.count == inputCount, results.count == plan.outputs.count else {
            throw KernelFailure("its body takes \(inputCount) values and gives \(plan.outputs.count)")
        }
        for index in inputs.indices { given[index] = inputs[index].take() }
        for index in captured.indices { given[inputCount + index] = captured[index] }
        try session.runBody(&given, &results)
        for index in results.indices where results[index] == nil {
            throw KernelFailure("nothing in its body computes \"\(plan.outputs[index].name)\"")
        }
    }

    /// Whether two of the body's values are one: an output that is an input handed on, or a constant.
    func isFixed(output: Int, input: Int) -> Bool {
        plan.outputs[output].slot == plan.inputs[input].slot || plan.constants[plan.outputs[output].slot] != nil
    }

    /// The type of an output of the body where it never runs: as declared, completed by what follows from its inputs.
    func outputType(_ output: Int, given: [ValueType?]) -> ValueType? {
        let declared = plan.outputs[output].type
        if declared?.elementType != nil, declared?.shape?.counts != nil { return declared }
        var graph = body
        for (value, type) in zip(graph.inputs, given) { graph[value].type = type ?? graph[value].type }
        for (inner, _) in Planner.captures(of: body) {
            graph.makeInput(inner)
            graph[inner].type = captureTypes[inner]
        }
        var model = Model(graph: graph)
        model.opsets = scope.imports
        model.functions = Array(scope.functions.values)
        return (try? Inference.inferTypes(of: model))?.type(of: body.outputs[output]) ?? declared
    }
}

extension KernelNode {
    /// A body of the node, ready to run.
    ///
    /// - Throws: ``KernelFailure`` where there is none of that name, ``RuntimeError/unsupported(_:)`` with the nodes of
    ///   the body that no kernel runs.
    package func body(_ attribute: String) throws -> BodyRunner {
        guard let (graph, captures) = PlanNode.body(attribute, attributes, inputCount: inputCount) else {
            throw KernelFailure("the attribute \"\(attribute)\" is missing or no graph")
        }
        return try BodyRunner(graph, captures: captures, of: self)
    }

    /// The number of the node's own inputs, those that bodies capture not counted.
    package var ownInputCount: Int {
        attributes.all.reduce(inputCount) { count, attribute in
            switch attribute.value {
            case .graph(let graph): count - Planner.captures(of: graph).count
            case .graphs(let graphs): graphs.reduce(count) { $0 - Planner.captures(of: $1).count }
            default: count
            }
        }
    }
}

extension RuntimeValue {
    /// The type of a tensor, shape included.
    var valueType: ValueType? {
        guard let elementType, let shape else { return nil }
        return .tensor(elementType, SymbolicShape(shape))
    }
}

extension KernelContext {
    /// The truth value of a tensor with one element.
    func truth(_ value: RuntimeValue?, _ name: String) throws -> Bool {
        guard case .tensor(let tensor)? = value, tensor.elementType == .bool, tensor.count == 1 else {
            throw KernelFailure("\(name) must be one truth value")
        }
        return tensor.typed(UInt8.self).pointee != 0
    }
}

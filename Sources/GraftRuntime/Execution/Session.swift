import GraftCore
import GraftIR

/// Runs a plan: the executor's only loop.
///
/// Each step takes its inputs from slots, calls its kernel, and puts the outputs into slots; a value is released at its
/// last read, and its memory is used again by later steps and runs. Used by one thread at a time.
public final class Session {
    /// What is run.
    public let plan: Plan
    /// The values that outlive runs.
    public let store: ParameterStore
    /// Where times are collected; nil for none.
    public var profile: Profile? {
        get { section?.profile }
        set { section = newValue.map { ProfileSection(profile: $0, first: 0) } }
    }
    /// Where times are collected, for a session that is the body of a node too.
    var section: ProfileSection? { didSet { if section == nil { context.profiled = nil } } }
    private let arena: Arena
    private var ownsArena = false
    private let context: KernelContext
    private var values: [RuntimeValue?]

    /// A session of a plan.
    ///
    /// - Parameter store: persistent values that are there already stay as they are; the others are added with the
    ///   graph's tensors.
    /// - Throws: what reading a weight throws.
    public convenience init(_ plan: Plan, store: ParameterStore = ParameterStore()) throws {
        try self.init(plan, store: store, arena: Arena())
        ownsArena = true
    }

    // Results that outlive the session keep their own blocks only.
    deinit { if ownsArena { arena.close() } }

    package init(_ plan: Plan, store: ParameterStore, arena: Arena) throws {
        self.plan = plan
        self.store = store
        self.arena = arena
        context = KernelContext(arena: arena)
        values = plan.constants
        for (entry, tensor) in zip(plan.persistent, plan.initialValues) where !store.contains(entry.name) {
            try store.set(entry.name, tensor)
        }
    }

    /// The most bytes that runs had reserved at once, weights not counted.
    public var peakBytes: Int { arena.peakBytes }

    /// Runs the plan.
    ///
    /// - Parameter inputs: a tensor for each of the plan's inputs; they are not copied.
    /// - Returns: the plan's outputs by name.
    /// - Throws: ``RuntimeError``.
    public func run(_ inputs: [String: Tensor]) throws -> [String: Tensor] {
        var outputs: [String: Tensor] = [:]
        for (name, value) in try run(inputs.mapValues { .tensor($0) }) {
            guard let tensor = value.tensor else { throw RuntimeError.notATensor(output: name, found: value.kind) }
            outputs[name] = tensor
        }
        return outputs
    }

    /// Runs the plan on values of any kind.
    ///
    /// - Parameter inputs: a value for each of the plan's inputs; tensors are not copied.
    /// - Returns: the plan's outputs by name.
    /// - Throws: ``RuntimeError``.
    public func run(_ inputs: [String: ModelValue]) throws -> [String: ModelValue] {
        for name in inputs.keys where !plan.inputs.contains(where: { $0.name == name }) {
            throw RuntimeError.unknownInput(name: name, known: plan.inputs.map(\.name))
        }
        let given = try plan.inputs.map { port -> RuntimeValue in
            guard let value = inputs[port.name] else { throw RuntimeError.missingInput(port.name) }
            if case .tensor(let tensor) = value { try check(tensor, port) }
            return try RuntimeValue(value)
        }
        defer { context.end() }
        var outputs: [String: ModelValue] = [:]
        for (port, value) in zip(plan.outputs, try run(values: given)) {
            outputs[port.name] = try value.modelValue(context)
        }
        return outputs
    }

    /// Runs the plan on values in the order of its inputs, and returns those of its outputs.
    package func run(values given: [RuntimeValue]) throws -> [RuntimeValue] {
        for (port, value) in zip(plan.inputs, given) { values[port.slot] = value }
        defer {
            for port in plan.inputs { values[port.slot] = nil }
            releaseIntermediates()
        }
        try borrowPersistentValues()
        defer { returnPersistentValues() }
        let version = store.version + 1
        for index in plan.steps.indices { try run(step: index, persistentVersion: version) }

        let results = try plan.outputs.map { port -> RuntimeValue in
            guard let value = values[port.slot] else {
                throw RuntimeError.invalidGraph("nothing computed the output \"\(port.name)\"")
            }
            return value
        }
        var isChanged = false
        for entry in plan.persistent {
            guard let update = entry.update, let value = values[update] else { continue }
            values[entry.slot] = value
            isChanged = true
        }
        if isChanged { store.changed() }
        return results
    }

    /// Runs the plan as the body of a node.
    ///
    /// - Parameters:
    ///   - given: values in the order of the plan's inputs; they are moved into the run, so that a value that nobody
    ///     else holds may be overwritten.
    ///   - results: what the run computed, in the order of the plan's outputs.
    func runBody(_ given: inout [RuntimeValue?], _ results: inout [RuntimeValue?]) throws {
        for index in plan.inputs.indices { values[plan.inputs[index].slot] = given[index].take() }
        defer {
            for index in plan.inputs.indices { values[plan.inputs[index].slot] = nil }
            releaseIntermediates()
        }
        for index in plan.steps.indices { try run(step: index, persistentVersion: 0) }
        for index in plan.outputs.indices { results[index] = values[plan.outputs[index].slot] }
    }

    private func run(step index: Int, persistentVersion: Int) throws {
        // The arrays of the step are read in place: no copy, no allocation.
        var running: Profile.Running?
        if let section {
            running = section.profile.begin(section.first + index)
            context.profiled = (section.profile, section.first + index)
        }
        let inputs = plan.steps[index].inputs
        let dies = plan.steps[index].dies
        let outputs = plan.steps[index].outputs
        context.begin(outputs: outputs.count)
        defer { context.end() }
        for position in inputs.indices {
            let slot = inputs[position]
            if slot < 0 {
                context.append(nil, version: -1)
            } else if dies[position] {
                let value = values[slot].take()
                context.append(value, version: -1)
            } else {
                let version = plan.constants[slot] != nil ? 0 : isPersistent[slot] ? persistentVersion : -1
                context.append(values[slot], version: version)
            }
        }
        do {
            try plan.steps[index].kernel.run(context)
        } catch let failure as KernelFailure {
            throw RuntimeError.failed(
                node: plan.steps[index].name, op: plan.steps[index].op, reason: failure.description)
        }
        for position in outputs.indices where outputs[position] >= 0 {
            guard let value = context.takeOutput(position) else {
                throw RuntimeError.failed(
                    node: plan.steps[index].name, op: plan.steps[index].op,
                    reason: "the kernel makes no output \(position)")
            }
            values[outputs[position]] = value
        }
        if let running { section?.profile.end(running) }
    }

    private lazy var isPersistent: [Bool] = {
        var result = [Bool](repeating: false, count: values.count)
        for entry in plan.persistent { result[entry.slot] = true }
        return result
    }()

    // Persistent values move into the slots for the length of a run, so that the node that updates one is its only
    // holder and may write in place.
    private func borrowPersistentValues() throws {
        for entry in plan.persistent {
            guard store.contains(entry.name) else { throw RuntimeError.unknownPersistentValue(entry.name) }
        }
        for entry in plan.persistent { values[entry.slot] = store.take(entry.name).map { .tensor($0) } }
    }

    private func returnPersistentValues() {
        for entry in plan.persistent {
            if case .tensor(let tensor)? = values[entry.slot].take() {
                let plain = (try? context.reordered(tensor, .rowMajor)) ?? tensor
                store.put(entry.name, plain)
            }
        }
        context.end()
    }

    private func releaseIntermediates() {
        for index in plan.steps.indices {
            for slot in plan.steps[index].outputs where slot >= 0 { values[slot] = nil }
        }
    }

    private func check(_ tensor: Tensor, _ port: Plan.Port) throws {
        if let expected = port.type?.elementType, expected != tensor.elementType {
            throw RuntimeError.inputMismatch(
                name: port.name, expected: "of type \(expected.name)", found: tensor.elementType.name)
        }
        guard let shape = port.type?.shape else { return }
        let fits =
            shape.rank == tensor.shape.count
            && zip(shape.dimensions, tensor.shape).allSatisfy { $0.count == nil || $0.count == $1 }
        guard fits else {
            throw RuntimeError.inputMismatch(
                name: port.name, expected: "of shape \(shape)", found: "\(tensor.shape)")
        }
    }
}

import GraftCore
import GraftIR

/// A graph made ready to run: kernels chosen, constants folded, nodes fused, the life of every value known.
///
/// Shapes are not part of a plan: it runs on every input that fits the model. The kernels keep packed weights and
/// primitives, so one session runs a plan at a time.
public final class Plan {
    /// One kernel and the slots that it works on.
    struct Step {
        let name: String
        let op: OperatorName
        let kernel: any Kernel
        /// The slots that it reads; -1 for an input that is left out.
        let inputs: [Int]
        /// Whether this is the last read of each input.
        let dies: [Bool]
        /// The slots that it writes; -1 for an output that nobody reads.
        let outputs: [Int]
    }

    /// A value that the caller gives or gets.
    public struct Port: Sendable {
        /// The value's name.
        public let name: String
        /// What the graph says about its type.
        public let type: ValueType?
        let slot: Int
    }

    let steps: [Step]
    let constants: [RuntimeValue?]
    /// The slot of each persistent value, and the slot whose value replaces it after a run.
    let persistent: [(name: String, slot: Int, update: Int?)]
    /// The tensors that persistent values start with.
    let initialValues: [Tensor]
    /// What a run needs.
    public let inputs: [Port]
    /// What a run returns.
    public let outputs: [Port]
    /// The memory of folded constants.
    private let arena: Arena

    /// The names of the persistent values.
    public var persistentNames: [String] { persistent.map(\.name) }
    /// The number of kernels that a run calls.
    public var stepCount: Int { steps.count }

    /// Plans a model's graph.
    ///
    /// - Throws: ``RuntimeError/unsupported(_:)`` with every node that no kernel runs.
    public convenience init(_ model: Model, options: PlanOptions = PlanOptions()) throws {
        try self.init(
            Planner(
                model.graph, scope: PlanScope(opsets: model.opsets, functions: model.functions), options: options))
    }

    /// Plans a graph.
    ///
    /// - Throws: ``RuntimeError/unsupported(_:)`` with every node that no kernel runs.
    public convenience init(_ graph: Graph, opsets: [OpsetImport], options: PlanOptions = PlanOptions()) throws {
        try self.init(Planner(graph, scope: PlanScope(opsets: opsets, functions: []), options: options))
    }

    init(_ planner: consuming Planner) throws {
        var planner = planner
        try planner.build()
        let graph = planner.graph
        arena = planner.arena

        var unsupported: [UnsupportedNode] = []
        var kernels: [(index: Int, kernel: any Kernel, taken: Set<Int>)] = []
        for index in graph.nodes.indices {
            guard let node = graph.nodes[index] else { continue }
            do {
                let (kernel, taken) = try planner.makeKernel(node)
                kernels.append((index, kernel, taken))
            } catch let failure as KernelFailure {
                unsupported.append(
                    UnsupportedNode(node: node.name, op: node.op, reason: failure.description))
            } catch RuntimeError.unsupported(let inner) {
                unsupported += inner
            }
        }
        if !unsupported.isEmpty { throw RuntimeError.unsupported(unsupported) }

        graph.keepWide(kernels.map { ($0.index, $0.kernel) })

        // A constant stays only where some kernel reads it as it is; those that kernels take may stay unaligned.
        var needed = graph.results
        for (index, _, taken) in kernels {
            for (position, slot) in (graph.nodes[index]?.inputs ?? []).enumerated() {
                if let slot, !taken.contains(position) { needed.insert(slot) }
            }
        }
        var constants = graph.constants
        for slot in constants.indices where constants[slot] != nil {
            if !needed.contains(slot) {
                constants[slot] = nil
            } else if case .tensor(let tensor)? = constants[slot], !tensor.isAligned {
                constants[slot] = .tensor(try Self.aligned(tensor, planner.arena))
            }
        }
        self.constants = constants

        var lastRead = [Int](repeating: -1, count: graph.names.count)
        for (order, entry) in kernels.enumerated() {
            for slot in graph.nodes[entry.index]?.inputs ?? [] { if let slot { lastRead[slot] = order } }
        }
        let updated = Set(planner.persistent.compactMap { $0.update == nil ? nil : $0.slot })
        let kept = graph.results.union(planner.persistent.map(\.slot).filter { !updated.contains($0) })
        steps = kernels.enumerated().compactMap { order, entry in
            guard let node = graph.nodes[entry.index] else { return nil }
            var seen: Set<Int> = []
            var dies = [Bool](repeating: false, count: node.inputs.count)
            for position in node.inputs.indices.reversed() {
                guard let slot = node.inputs[position], seen.insert(slot).inserted else { continue }
                dies[position] = lastRead[slot] == order && constants[slot] == nil && !kept.contains(slot)
            }
            let inputs = node.inputs.enumerated().map { position, slot in
                guard let slot, !(entry.taken.contains(position) && constants[slot] == nil) else { return -1 }
                return slot
            }
            let outputs = node.outputs.map { slot -> Int in
                guard let slot, lastRead[slot] >= 0 || graph.results.contains(slot) else { return -1 }
                return slot
            }
            return Step(
                name: node.name, op: node.op, kernel: entry.kernel, inputs: inputs, dies: dies, outputs: outputs)
        }
        inputs = planner.inputs
        outputs = planner.outputs
        persistent = planner.persistent
        initialValues = planner.initialValues
    }

    private static func aligned(_ tensor: RuntimeTensor, _ arena: Arena) throws -> RuntimeTensor {
        let buffer = try arena.allocate(tensor.byteCount)
        buffer.pointer.copyMemory(from: tensor.pointer, byteCount: tensor.byteCount)
        return RuntimeTensor(tensor.elementType, tensor.shape, buffer: buffer)
    }
}

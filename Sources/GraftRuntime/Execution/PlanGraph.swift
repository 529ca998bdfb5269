import GraftCore
import GraftIR

/// The nodes of a plan while they are optimised: slots instead of values, constants beside them.
package struct PlanGraph {
    /// The nodes in order; nil where one was removed.
    package var nodes: [PlanNode?] = []
    /// The constant of each slot.
    package var constants: [RuntimeValue?] = []
    /// The name of each slot's value.
    package var names: [String] = []
    /// What is known about the type of each slot's value.
    package var types: [ValueType?] = []
    /// The slots that must be kept: results and updates.
    package var results: Set<Int> = []
    /// The nodes that read each slot, in order.
    package private(set) var readers: [[Int]] = []
    /// The node that writes each slot.
    package private(set) var writer: [Int?] = []

    /// Adds a slot.
    package mutating func addSlot(_ name: String, type: ValueType? = nil, constant: RuntimeValue? = nil) -> Int {
        names.append(name)
        types.append(type)
        constants.append(constant)
        readers.append([])
        writer.append(nil)
        return names.count - 1
    }

    /// Adds a slot that holds numbers which a pass computed.
    package mutating func addConstant(_ name: String, _ values: [Float], shape: [Int]) throws -> Int {
        addSlot(name, constant: try RuntimeValue(Tensor(values, shape: shape)))
    }

    /// Finds readers and writers again after nodes were changed, and drops nodes whose outputs nobody reads.
    package mutating func refresh() {
        var wanted = results
        for index in nodes.indices.reversed() {
            guard let node = nodes[index] else { continue }
            guard node.outputs.contains(where: { $0.map { wanted.contains($0) } ?? false }) else {
                nodes[index] = nil
                continue
            }
            for input in node.inputs { if let input { wanted.insert(input) } }
        }
        for slot in readers.indices {
            readers[slot].removeAll()
            writer[slot] = nil
        }
        for index in nodes.indices {
            guard let node = nodes[index] else { continue }
            for slot in Set(node.inputs.compactMap { $0 }) { readers[slot].append(index) }
            for slot in node.outputs { if let slot { writer[slot] = index } }
        }
    }

    /// The numbers of a slot that is a constant of 32-bit floating-point numbers.
    package func floats(_ slot: Int?) -> [Float]? {
        guard let slot, case .tensor(let tensor)? = constants[slot], tensor.elementType == .float32 else { return nil }
        let raw = UnsafeRawPointer(tensor.pointer)
        return (0..<tensor.count).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
    }

    /// The number that a slot's constant holds, where it is a single number.
    package func scalar(_ slot: Int?) -> Float? {
        guard let slot, let shape = constants[slot]?.shape, shape.reduce(1, *) == 1 else { return nil }
        return floats(slot)?.first
    }

    /// The shape of a slot's constant.
    package func constantShape(_ slot: Int?) -> [Int]? { slot.flatMap { constants[$0]?.shape } }

    /// The only reader of a slot that is no result, with the position at which it reads.
    package func onlyReader(of slot: Int) -> (node: Int, input: Int)? {
        guard !results.contains(slot), readers[slot].count == 1, let node = nodes[readers[slot][0]] else { return nil }
        let positions = node.inputs.indices.filter { node.inputs[$0] == slot }
        guard positions.count == 1 else { return nil }
        return (readers[slot][0], positions[0])
    }

    /// The node of ONNX's own domain and of the given type that writes a slot which only one node reads.
    package func soleWriter(_ slot: Int?, _ type: String) -> Int? {
        guard let slot, onlyReader(of: slot) != nil, let index = writer[slot], nodes[index]?.op.isONNX(type) == true
        else { return nil }
        return index
    }
}

/// An optimisation of a plan: one file each in `Fusion/`.
package protocol PlanPass {
    /// Changes the graph without changing what it computes, but for rounding.
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws
}

import GraftCore
import GraftIR

/// RNN, GRU and LSTM.
enum RecurrentKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("RNN", widens: true) { try RecurrentKernel($0, .simple) },
            KernelDefinition("GRU", widens: true) { try RecurrentKernel($0, .gru) },
            KernelDefinition("LSTM", widens: true) { try RecurrentKernel($0, .lstm) },
        ]
    }

    enum Cell: Sendable {
        case simple, gru, lstm

        var gates: Int { self == .simple ? 1 : self == .gru ? 3 : 4 }
        var activations: [String] {
            switch self {
            case .simple: ["Tanh"]
            case .gru: ["Sigmoid", "Tanh"]
            case .lstm: ["Sigmoid", "Tanh", "Tanh"]
            }
        }
    }
}

/// A recurrent layer: the inputs of all steps are multiplied with their weights at once, then steps follow each other.
final class RecurrentKernel: Kernel {
    typealias Cell = RecurrentKernels.Cell
    let cell: Cell
    let isBatchFirst: Bool
    let clip: Float
    let couplesForget: Bool
    let isLinearBeforeReset: Bool
    private let directions: Int
    private let startsReversed: Bool
    private let activations: [GateActivation]
    private let hiddenSize: Int?
    private let projections = [GateProduct(), GateProduct()]
    private let recurrences = [GateProduct(), GateProduct()]
    private let resetRecurrences = [GateProduct(), GateProduct()]

    init(_ node: KernelNode, _ cell: Cell) throws {
        self.cell = cell
        let direction = node.attributes.string("direction") ?? "forward"
        guard ["forward", "reverse", "bidirectional"].contains(direction) else {
            throw KernelFailure("the direction \"\(direction)\" is not known")
        }
        directions = direction == "bidirectional" ? 2 : 1
        startsReversed = direction == "reverse"
        isBatchFirst = node.attributes.int("layout") ?? 0 != 0
        clip = node.attributes.float("clip").flatMap { $0 > 0 ? $0 : nil } ?? .infinity
        couplesForget = node.attributes.int("input_forget") ?? 0 != 0
        isLinearBeforeReset = node.attributes.int("linear_before_reset") ?? 0 != 0
        hiddenSize = node.attributes.int("hidden_size")
        activations = try GateActivation.list(node, defaults: cell.activations, directions: directions)
    }

    func run(_ context: KernelContext) throws {
        switch try context.input(0).elementType {
        case .float32: try run(Float.self, .float32, context)
        case .float64: try run(Double.self, .float64, context)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private func run<T: RealNumber>(_ type: T.Type, _ elementType: ElementType, _ context: KernelContext) throws {
        let (x, w, r) = (
            try context.plain(0, elementType), try context.plain(1, elementType), try context.plain(2, elementType)
        )
        guard x.rank == 3, w.rank == 3, r.rank == 3, w.shape[0] == directions, r.shape[0] == directions,
            w.shape[2] == x.shape[2]
        else { throw KernelFailure("X, W and R of shapes \(x.shape), \(w.shape) and \(r.shape)") }
        let (length, batch) = isBatchFirst ? (x.shape[1], x.shape[0]) : (x.shape[0], x.shape[1])
        let hidden = r.shape[2]
        guard let gateCount = Checked.product([cell.gates, hidden]), w.shape[1] == gateCount, r.shape[1] == gateCount,
            hiddenSize ?? hidden == hidden
        else { throw KernelFailure("W and R of shapes \(w.shape) and \(r.shape) for \(hiddenSize ?? hidden) units") }
        func optional(_ index: Int, _ shape: [Int], _ name: String) throws -> RuntimeTensor? {
            guard context.has(index) else { return nil }
            let tensor = try context.plain(index, elementType)
            guard tensor.shape == shape else {
                throw KernelFailure("\(name) of shape \(tensor.shape) where \(shape) is needed")
            }
            return tensor
        }
        let bias = try optional(3, [directions, 2 * cell.gates * hidden], "B")
        let stateShape = isBatchFirst ? [batch, directions, hidden] : [directions, batch, hidden]
        let firstState = try optional(5, stateShape, "initial_h")
        let firstCell = cell == .lstm ? try optional(6, stateShape, "initial_c") : nil
        let peepholes = cell == .lstm ? try optional(7, [directions, 3 * hidden], "P") : nil
        let lengths = try sequenceLengths(context, batch: batch, length: length)

        let y = try context.output(
            0, elementType,
            isBatchFirst ? [batch, length, directions, hidden] : [length, directions, batch, hidden])
        let lastState = try context.output(1, elementType, stateShape)
        let lastCell = cell == .lstm ? try context.output(2, elementType, stateShape) : nil
        guard batch > 0, hidden > 0 else { return }
        if lengths.contains(where: { $0 < length }) {
            y.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: y.byteCount)
        }
        for direction in 0..<directions {
            let count = cell.gates * hidden
            let input = w.part(startingAt: direction * count * w.shape[2], [count, w.shape[2]])
            let recurrent = r.part(startingAt: direction * count * hidden, [count, hidden])
            let b = bias.map { UnsafePointer($0.typed(T.self) + direction * 2 * count) }
            // The inputs of all steps at once.
            let gates = try context.temporary(elementType, [length * batch, count])
            if w.shape[2] > 0, length > 0 {
                try projections[direction].prepare(
                    input, version: context.version(1), rows: length * batch, as: type, context)(
                        x.typed(T.self), gates.typed(T.self))
            } else {
                gates.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: gates.byteCount)
            }
            let functions = activations[direction * cell.activations.count..<(direction + 1) * cell.activations.count]
            var layer = RecurrentLayer<T>(
                kernel: self, length: length, batch: batch, hidden: hidden, direction: direction,
                directions: directions, isReversed: startsReversed || direction == 1, lengths: lengths,
                functions: Array(functions), gates: gates.typed(T.self), output: y.typed(T.self))
            layer.peepholes = peepholes.map { UnsafePointer($0.typed(T.self) + direction * 3 * hidden) }
            layer.addBias(b)
            let state = try context.temporary(elementType, [batch, hidden])
            let memory = try context.temporary(elementType, [batch, hidden])
            layer.load(firstState, into: state.typed(T.self))
            layer.load(firstCell, into: memory.typed(T.self))
            try run(&layer, recurrent, state, memory, elementType, context)
            layer.store(state.typed(T.self), into: lastState)
            if let lastCell { layer.store(memory.typed(T.self), into: lastCell) }
        }
    }

    private func sequenceLengths(_ context: KernelContext, batch: Int, length: Int) throws -> [Int] {
        guard context.has(4) else { return Array(repeating: length, count: batch) }
        let lengths = try context.integers(4)
        guard lengths.count == batch, lengths.allSatisfy({ $0 >= 0 && $0 <= length }) else {
            throw KernelFailure("sequence_lens \(lengths.prefix(8)) for \(batch) sequences of \(length) steps")
        }
        return lengths
    }

    /// The steps of one direction.
    private func run<T: RealNumber>(
        _ layer: inout RecurrentLayer<T>, _ recurrent: RuntimeTensor, _ state: RuntimeTensor, _ memory: RuntimeTensor,
        _ elementType: ElementType, _ context: KernelContext
    ) throws {
        let (batch, hidden, direction) = (layer.batch, layer.hidden, layer.direction)
        let (h, c) = (state.typed(T.self), memory.typed(T.self))
        let sums = try context.temporary(elementType, [batch, cell.gates * hidden]).typed(T.self)
        let version = context.version(2)
        // A GRU that resets before the product needs the reset gate first.
        let isSplit = cell == .gru && !isLinearBeforeReset
        let first = isSplit ? recurrent.part(startingAt: 0, [2 * hidden, hidden]) : recurrent
        let multiply = try recurrences[direction].prepare(first, version: version, rows: batch, as: T.self, context)
        guard isSplit else {
            for step in 0..<layer.length {
                try multiply(h, sums)
                switch cell {
                case .simple: layer.stepSimple(step, h, sums)
                case .gru: layer.stepLinearReset(step, h, sums)
                case .lstm: layer.stepLSTM(step, h, c, sums)
                }
            }
            return
        }
        let last = recurrent.part(startingAt: 2 * hidden * hidden, [hidden, hidden])
        let multiplyReset = try resetRecurrences[direction].prepare(
            last, version: version, rows: batch, as: T.self, context)
        let reset = try context.temporary(elementType, [batch, hidden]).typed(T.self)
        let candidate = try context.temporary(elementType, [batch, hidden]).typed(T.self)
        for step in 0..<layer.length {
            try multiply(h, sums)
            layer.resetState(step, h, sums, into: reset)
            try multiplyReset(reset, candidate)
            layer.stepReset(step, h, sums, candidate)
        }
    }
}

import GraftCore

/// One direction of a recurrent layer: where its numbers lie, and what one step does with them.
///
/// `gates` holds the products of the inputs, `sums` those of the state, both with the gates one after the other.
struct RecurrentLayer<T: RealNumber> {
    let length: Int
    let batch: Int
    let hidden: Int
    let direction: Int
    let directions: Int
    let isReversed: Bool
    let lengths: [Int]
    let functions: [GateActivation]
    private let count: Int
    private let clip: T
    private let isBatchFirst: Bool
    private let couplesForget: Bool
    private let isLinearBeforeReset: Bool
    private let cell: RecurrentKernels.Cell
    private let gates: UnsafeMutablePointer<T>
    private let output: UnsafeMutablePointer<T>
    var peepholes: UnsafePointer<T>?
    private var resetBias: UnsafePointer<T>?

    init(
        kernel: RecurrentKernel, length: Int, batch: Int, hidden: Int, direction: Int, directions: Int,
        isReversed: Bool, lengths: [Int], functions: [GateActivation], gates: UnsafeMutablePointer<T>,
        output: UnsafeMutablePointer<T>
    ) {
        self.gates = gates
        self.output = output
        self.length = length
        self.batch = batch
        self.hidden = hidden
        self.direction = direction
        self.directions = directions
        self.isReversed = isReversed
        self.lengths = lengths
        self.functions = functions
        cell = kernel.cell
        count = kernel.cell.gates * hidden
        clip = T(kernel.clip)
        isBatchFirst = kernel.isBatchFirst
        couplesForget = kernel.couplesForget
        isLinearBeforeReset = kernel.isLinearBeforeReset
    }

    // MARK: Memory

    /// Adds both biases to the products of the inputs; the last of a GRU that is multiplied first stays apart.
    mutating func addBias(_ bias: UnsafePointer<T>?) {
        guard let bias else { return }
        let isApart = cell == .gru && isLinearBeforeReset
        resetBias = isApart ? bias + count + 2 * hidden : nil
        let (count, hidden) = (count, hidden)
        let gates = gates
        Parallel.forEachRange(length * batch, grain: max(1, 16384 / count)) { range in
            for row in range {
                let to = gates + row * count
                for index in 0..<count {
                    to[index] += isApart && index >= 2 * hidden ? bias[index] : bias[index] + bias[count + index]
                }
            }
        }
    }

    private func stateOffset(_ sample: Int) -> Int {
        (isBatchFirst ? sample * directions + direction : direction * batch + sample) * hidden
    }

    /// Takes a first state, or zeros.
    func load(_ tensor: RuntimeTensor?, into target: UnsafeMutablePointer<T>) {
        for sample in 0..<batch {
            let to = target + sample * hidden
            if let tensor {
                to.update(from: tensor.typed(T.self) + stateOffset(sample), count: hidden)
            } else {
                to.update(repeating: 0, count: hidden)
            }
        }
    }

    /// Gives out a last state.
    func store(_ state: UnsafePointer<T>, into tensor: RuntimeTensor) {
        for sample in 0..<batch {
            (tensor.typed(T.self) + stateOffset(sample)).update(from: state + sample * hidden, count: hidden)
        }
    }

    /// Calls `body` for the samples that have a step of that number: the sample, its gates, and where its output goes.
    @inline(__always)
    private func forEachSample(
        _ step: Int, _ body: (Int, UnsafePointer<T>, UnsafeMutablePointer<T>) -> Void
    ) {
        let (gates, output) = (gates, output)
        Parallel.forEachRange(batch, grain: max(1, 2048 / hidden)) { range in
            for sample in range where step < lengths[sample] {
                let time = isReversed ? lengths[sample] - 1 - step : step
                let row = isBatchFirst ? sample * length + time : time * batch + sample
                let place =
                    isBatchFirst ? row * directions + direction : (time * directions + direction) * batch + sample
                body(sample, gates + row * count, output + place * hidden)
            }
        }
    }

    @inline(__always) private func clipped(_ x: T) -> T { min(max(x, -clip), clip) }

    // MARK: Steps

    func stepSimple(_ step: Int, _ h: UnsafeMutablePointer<T>, _ sums: UnsafePointer<T>) {
        let f = functions[0]
        forEachSample(step) { sample, gates, out in
            let (state, sums) = (h + sample * hidden, sums + sample * count)
            for unit in 0..<hidden {
                let value = f(clipped(gates[unit] + sums[unit]))
                state[unit] = value
                out[unit] = value
            }
        }
    }

    func stepLSTM(
        _ step: Int, _ h: UnsafeMutablePointer<T>, _ c: UnsafeMutablePointer<T>, _ sums: UnsafePointer<T>
    ) {
        let (f, g, outer) = (functions[0], functions[1], functions[2])
        let size = hidden
        forEachSample(step) { sample, gates, out in
            let (state, memory, sums) = (h + sample * size, c + sample * size, sums + sample * count)
            for unit in 0..<size {
                var i = gates[unit] + sums[unit]
                var o = gates[size + unit] + sums[size + unit]
                var forget = gates[2 * size + unit] + sums[2 * size + unit]
                let fresh = g(clipped(gates[3 * size + unit] + sums[3 * size + unit]))
                let old = memory[unit]
                if let peepholes {
                    i += peepholes[unit] * old
                    forget += peepholes[2 * size + unit] * old
                }
                i = f(clipped(i))
                forget = couplesForget ? 1 - i : f(clipped(forget))
                let next = forget * old + i * fresh
                if let peepholes { o += peepholes[size + unit] * next }
                o = f(clipped(o))
                memory[unit] = next
                let value = o * outer(next)
                state[unit] = value
                out[unit] = value
            }
        }
    }

    /// A GRU that multiplies the state with its weight before the reset gate.
    func stepLinearReset(_ step: Int, _ h: UnsafeMutablePointer<T>, _ sums: UnsafePointer<T>) {
        let (f, g) = (functions[0], functions[1])
        let size = hidden
        forEachSample(step) { sample, gates, out in
            let (state, sums) = (h + sample * size, sums + sample * count)
            for unit in 0..<size {
                let z = f(clipped(gates[unit] + sums[unit]))
                let reset = f(clipped(gates[size + unit] + sums[size + unit]))
                let product = sums[2 * size + unit] + (resetBias?[unit] ?? 0)
                let fresh = g(clipped(gates[2 * size + unit] + reset * product))
                let value = (1 - z) * fresh + z * state[unit]
                state[unit] = value
                out[unit] = value
            }
        }
    }

    /// The state after the reset gate, for a GRU that multiplies afterwards; `sums` has two gates a row.
    func resetState(
        _ step: Int, _ h: UnsafePointer<T>, _ sums: UnsafePointer<T>, into reset: UnsafeMutablePointer<T>
    ) {
        let f = functions[0]
        let size = hidden
        // Samples that have ended still take part in the product.
        reset.update(repeating: 0, count: batch * size)
        forEachSample(step) { sample, gates, _ in
            let (state, sums, to) = (h + sample * size, sums + sample * 2 * size, reset + sample * size)
            for unit in 0..<size { to[unit] = state[unit] * f(clipped(gates[size + unit] + sums[size + unit])) }
        }
    }

    func stepReset(
        _ step: Int, _ h: UnsafeMutablePointer<T>, _ sums: UnsafePointer<T>, _ candidate: UnsafePointer<T>
    ) {
        let (f, g) = (functions[0], functions[1])
        let size = hidden
        forEachSample(step) { sample, gates, out in
            let (state, sums) = (h + sample * size, sums + sample * 2 * size)
            let product = candidate + sample * size
            for unit in 0..<size {
                let z = f(clipped(gates[unit] + sums[unit]))
                let fresh = g(clipped(gates[2 * size + unit] + product[unit]))
                let value = (1 - z) * fresh + z * state[unit]
                state[unit] = value
                out[unit] = value
            }
        }
    }
}

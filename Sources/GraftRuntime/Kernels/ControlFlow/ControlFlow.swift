import GraftCore
import GraftIR

/// If, Loop, Scan and SequenceMap: operators that run bodies.
enum ControlFlowKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("If", isPure: false) { try IfKernel($0) },
            KernelDefinition("Loop", isPure: false) { try LoopKernel($0) },
            KernelDefinition("Scan", opsets: 8...8, isPure: false) { try ScanKernel($0, isBatched: true) },
            KernelDefinition("Scan", opsets: 9...KernelRegistry.newestOpset, isPure: false) {
                try ScanKernel($0, isBatched: false)
            },
            KernelDefinition("SequenceMap", isPure: false) { try SequenceMapKernel($0) },
        ]
    }
}

/// Runs one of two bodies.
final class IfKernel: Kernel {
    private let (thenBody, elseBody): (BodyRunner, BodyRunner)
    private let outputCount: Int
    private var inputs: [RuntimeValue?] = []
    private var results: [RuntimeValue?] = []

    init(_ node: KernelNode) throws {
        thenBody = try node.body("then_branch")
        elseBody = try node.body("else_branch")
        outputCount = node.outputCount
        for body in [thenBody, elseBody] where body.inputCount != 0 || body.outputCount < outputCount {
            throw KernelFailure("a branch takes \(body.inputCount) inputs and gives \(body.outputCount) outputs")
        }
    }

    func run(_ context: KernelContext) throws {
        let body = try context.truth(context.value(0), "the condition") ? thenBody : elseBody
        try body.begin(context)
        defer { body.end() }
        results.removeAll(keepingCapacity: true)
        for _ in 0..<body.outputCount { results.append(nil) }
        try body.run(&inputs, &results)
        for index in 0..<outputCount { if let value = results[index].take() { context.set(index, value) } }
    }
}

/// Runs a body until a condition is false or a number of rounds is reached.
final class LoopKernel: Kernel {
    private let body: BodyRunner
    private let carried: Int
    private let scanned: Int
    private let hasFixedCondition: Bool

    init(_ node: KernelNode) throws {
        body = try node.body("body")
        carried = node.ownInputCount - 2
        guard carried >= 0, body.inputCount == carried + 2, body.outputCount >= carried + 1,
            node.outputCount <= body.outputCount - 1
        else {
            throw KernelFailure(
                "it carries \(max(0, carried)) values and makes \(node.outputCount), but its body takes "
                    + "\(body.inputCount) and gives \(body.outputCount)")
        }
        scanned = body.outputCount - 1 - carried
        hasFixedCondition = body.isFixed(output: 0, input: 1)
    }

    func run(_ context: KernelContext) throws {
        let rounds = try context.has(0) ? tripCount(context) : nil
        var goes = try context.has(1) ? context.truth(context.value(1), "the condition") : true
        var inputs: [RuntimeValue?] = [nil, nil]
        for index in 0..<carried { inputs.append(try context.take(index + 2)) }
        var results = [RuntimeValue?](repeating: nil, count: body.outputCount)
        var scans = (0..<scanned).map { _ in ScanAccumulator(context.arena) }
        try body.begin(context)
        defer { body.end() }
        if scanned > 0, rounds == 0 || !goes {
            let types = [.tensor(.int64, []), .tensor(.bool, [])] + inputs.dropFirst(2).map { $0?.valueType }
            for index in scans.indices {
                try scans[index].expect(body.outputType(index + 1 + carried, given: types))
            }
        }

        var round = 0
        while goes, rounds.map({ round < $0 }) ?? true {
            inputs[0] = .tensor(try context.arena.scalar(Int64(round)))
            inputs[1] = .tensor(try context.arena.scalar(true))
            try body.run(&inputs, &results)
            goes = try context.truth(results[0].take(), "the condition of the body")
            for index in 0..<carried { inputs[index + 2] = results[index + 1].take() }
            for index in 0..<scanned {
                guard let value = results[index + 1 + carried].take() else { continue }
                // A condition that cannot change leaves no doubt about what the result will take.
                let expected = hasFixedCondition && goes ? rounds : nil
                try scans[index].append(value, of: expected ?? rounds.map { min($0, 64) } ?? 8)
            }
            round += 1
        }
        for index in 0..<carried {
            if let value = inputs[index + 2].take() { context.set(index, value) }
        }
        for index in 0..<scanned { context.set(index + carried, try scans[index].result()) }
    }

    private func tripCount(_ context: KernelContext) throws -> Int {
        guard let count = try context.integers(0).first, try context.input(0).count == 1 else {
            throw KernelFailure("the number of rounds must be one integer")
        }
        return max(0, count)
    }
}

/// Runs a body for every element of sequences.
final class SequenceMapKernel: Kernel {
    private let body: BodyRunner
    private let outputCount: Int

    init(_ node: KernelNode) throws {
        body = try node.body("body")
        outputCount = node.outputCount
        guard node.ownInputCount == body.inputCount, outputCount <= body.outputCount, body.inputCount >= 1 else {
            throw KernelFailure(
                "it has \(node.ownInputCount) inputs and \(outputCount) outputs, but its body takes "
                    + "\(body.inputCount) and gives \(body.outputCount)")
        }
    }

    func run(_ context: KernelContext) throws {
        guard case .sequence(let first) = try context.value(0) else {
            throw KernelFailure("the first input is no sequence")
        }
        let given = try (0..<body.inputCount).map { try context.value($0) }
        for (index, value) in given.enumerated() {
            if case .sequence(let elements) = value, elements.count != first.count {
                throw KernelFailure("input \(index) has \(elements.count) elements, the first \(first.count)")
            }
        }
        var outputs = [[RuntimeValue]](repeating: [], count: outputCount)
        var inputs = [RuntimeValue?](repeating: nil, count: body.inputCount)
        var results = [RuntimeValue?](repeating: nil, count: body.outputCount)
        try body.begin(context)
        defer { body.end() }
        for position in first.indices {
            for (index, value) in given.enumerated() {
                if case .sequence(let elements) = value {
                    inputs[index] = elements[position]
                } else {
                    inputs[index] = value
                }
            }
            try body.run(&inputs, &results)
            for index in 0..<outputCount { if let value = results[index].take() { outputs[index].append(value) } }
        }
        for index in 0..<outputCount { context.set(index, .sequence(outputs[index])) }
    }
}

extension Arena {
    /// A tensor of its own with one number and no axes.
    func scalar<T: TensorElement>(_ value: T) throws -> RuntimeTensor {
        let tensor = RuntimeTensor(T.elementType, [], buffer: try allocate(MemoryLayout<T>.size))
        tensor.typed(T.self).pointee = value
        return tensor
    }
}

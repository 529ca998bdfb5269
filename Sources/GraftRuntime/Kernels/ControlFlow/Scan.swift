import GraftCore
import GraftIR

/// Runs a body for every position along an axis of its inputs.
final class ScanKernel: Kernel {
    private let body: BodyRunner
    private let isBatched: Bool
    private let (states, scans, outputs): (Int, Int, Int)
    private let (inputAxes, outputAxes): ([Int], [Int])
    private let (readsBackwards, writesBackwards): ([Bool], [Bool])

    init(_ node: KernelNode, isBatched: Bool) throws {
        self.isBatched = isBatched
        body = try node.body("body")
        guard let scans = node.attributes.int("num_scan_inputs"), scans >= 1 else {
            throw KernelFailure("the attribute \"num_scan_inputs\" is missing or not positive")
        }
        self.scans = scans
        states = node.ownInputCount - (isBatched ? 1 : 0) - scans
        outputs = body.outputCount - states
        guard states >= 0, outputs >= 0, body.inputCount == states + scans, node.outputCount <= body.outputCount else {
            throw KernelFailure(
                "it has \(node.ownInputCount) inputs, \(scans) of them scanned, and \(node.outputCount) outputs, but its "
                    + "body takes \(body.inputCount) and gives \(body.outputCount)")
        }
        func settings(_ name: String, _ count: Int) throws -> [Int] {
            let given = node.attributes.ints(name) ?? []
            guard given.isEmpty || given.count == count else {
                throw KernelFailure("the attribute \"\(name)\" must have \(count) numbers")
            }
            return given.isEmpty ? Array(repeating: 0, count: count) : given
        }
        inputAxes = try settings("scan_input_axes", scans)
        outputAxes = try settings("scan_output_axes", outputs)
        readsBackwards = try settings(isBatched ? "directions" : "scan_input_directions", scans).map { $0 != 0 }
        writesBackwards = try settings("scan_output_directions", outputs).map { $0 != 0 }
    }

    func run(_ context: KernelContext) throws {
        try body.begin(context)
        defer { body.end() }
        if isBatched { return try runBatch(context) }
        var state: [RuntimeValue?] = []
        for index in 0..<states { state.append(try context.take(index)) }
        let rows = try (0..<scans).map {
            try ScanRows(context.value($0 + states), axis: inputAxes[$0], context)
        }
        let results = try scan(&state, rows, rounds: ScanRows.commonLength(rows), context)
        for (index, value) in (state + results).enumerated() { if let value { context.set(index, value) } }
    }

    // Every entry of the batch runs on its own; entries shorter than the others are filled up with zeros.
    private func runBatch(_ context: KernelContext) throws {
        let values = try (0..<states + scans).map { try context.value($0 + 1) }
        let batch = try ScanRows.commonLength(values.map { try ScanRows($0, axis: 0, context) })
        let lengths = context.has(0) ? try context.integers(0) : nil
        guard lengths == nil || lengths?.count == batch else {
            throw KernelFailure("sequence_lens needs \(batch) numbers")
        }
        var joined = (0..<body.outputCount).map { _ in ScanAccumulator(context.arena) }
        guard batch > 0 else { throw KernelFailure("the batch is empty") }
        for entry in 0..<batch {
            let parts = try values.map { try ScanRows($0, axis: 0, context).row(entry) }
            var state: [RuntimeValue?] = parts.prefix(states).map { $0 }
            let rows = try parts.dropFirst(states).map { try ScanRows($0, axis: 0, context) }
            let longest = try ScanRows.commonLength(rows)
            let length = lengths?[entry] ?? longest
            guard (0...longest).contains(length) else { throw KernelFailure("a sequence of length \(length)") }
            let results = try scan(&state, rows, rounds: length, context)
            for (index, value) in state.enumerated() { if let value { try joined[index].append(value, of: batch) } }
            for (index, value) in results.enumerated() {
                if let value { try joined[states + index].append(Self.padded(value, to: longest, context), of: batch) }
            }
        }
        for index in joined.indices { context.set(index, try joined[index].result()) }
    }

    private func scan(
        _ state: inout [RuntimeValue?], _ rows: [ScanRows], rounds: Int, _ context: KernelContext
    ) throws -> [RuntimeValue?] {
        var gathered = (0..<outputs).map { _ in ScanAccumulator(context.arena) }
        if rounds == 0 {
            let types = state.map { $0?.valueType } + rows.map(\.rowType)
            for index in gathered.indices { try gathered[index].expect(body.outputType(states + index, given: types)) }
        }
        var inputs = state + rows.map { _ in nil }
        var results = [RuntimeValue?](repeating: nil, count: body.outputCount)
        for round in 0..<rounds {
            for (index, row) in rows.enumerated() {
                inputs[states + index] = try row.row(readsBackwards[index] ? rounds - 1 - round : round)
            }
            // The state is held by the inputs alone, so that the body may write over it.
            state.removeAll(keepingCapacity: true)
            try body.run(&inputs, &results)
            for index in 0..<states { inputs[index] = results[index].take() }
            for index in 0..<outputs {
                if let value = results[states + index].take() { try gathered[index].append(value, of: rounds) }
            }
        }
        state = Array(inputs.prefix(states))
        return try gathered.enumerated().map { index, scanned in
            try ScanRows.placed(
                scanned.result(), axis: outputAxes[index], isReversed: writesBackwards[index], context)
        }
    }

    private static func padded(_ value: RuntimeValue, to length: Int, _ context: KernelContext) throws -> RuntimeValue {
        guard case .tensor(let tensor) = value, let first = tensor.shape.first, first < length else { return value }
        let result = try context.temporary(tensor.elementType, [length] + tensor.shape.dropFirst())
        result.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: result.byteCount)
        result.pointer.copyMemory(from: tensor.pointer, byteCount: tensor.byteCount)
        return .tensor(result)
    }
}

/// A value taken apart along an axis.
struct ScanRows {
    private let value: RuntimeValue
    private let rowShape: [Int]
    private let rowCount: Int
    let length: Int

    init(_ value: RuntimeValue, axis: Int, _ context: KernelContext) throws {
        guard let shape = value.shape, !shape.isEmpty, let type = value.elementType,
            type == .string || type.byteWidth > 0
        else { throw KernelFailure("a value that is scanned must be a tensor with an axis to scan") }
        let axis = try normalizedAxis(axis, rank: shape.count)
        length = shape[axis]
        rowShape = Array(shape[..<axis] + shape[(axis + 1)...])
        guard let count = Checked.product(rowShape) else { throw KernelFailure("a tensor of shape \(shape)") }
        rowCount = count
        self.value = try Self.moved(value, [axis] + shape.indices.filter { $0 != axis }, context)
    }

    /// The type of a row.
    var rowType: ValueType? { value.elementType.map { .tensor($0, SymbolicShape(rowShape)) } }

    func row(_ index: Int) throws -> RuntimeValue {
        let count = rowCount
        switch value {
        case .tensor(let tensor): return .tensor(tensor.part(startingAt: index * count, rowShape))
        case .strings(let strings):
            return .strings(
                StringTensor(
                    shape: rowShape, elements: Array(strings.elements[(index * count)..<((index + 1) * count)])))
        default: throw KernelFailure("not a tensor")
        }
    }

    /// The length that all have.
    static func commonLength(_ rows: [ScanRows]) throws -> Int {
        let length = rows.first?.length ?? 0
        guard rows.allSatisfy({ $0.length == length }) else {
            throw KernelFailure("the lengths \(rows.map(\.length)) along the scanned axes differ")
        }
        return length
    }

    /// Rows joined along the first axis, in their place and order.
    static func placed(
        _ value: RuntimeValue, axis: Int, isReversed: Bool, _ context: KernelContext
    ) throws -> RuntimeValue {
        guard let shape = value.shape, axis != 0 || isReversed else { return value }
        let axis = try normalizedAxis(axis, rank: shape.count)
        var order = Array(1..<shape.count)
        order.insert(0, at: axis)
        return try moved(value, order, isReversed: isReversed, context)
    }

    /// The value with its axes in another order, and its first axis perhaps backwards.
    private static func moved(
        _ value: RuntimeValue, _ order: [Int], isReversed: Bool = false, _ context: KernelContext
    ) throws -> RuntimeValue {
        let isSame = order == Array(order.indices) && !isReversed
        switch value {
        case .tensor(let tensor):
            if isSame { return .tensor(try context.reordered(tensor, .rowMajor)) }
            let result = try context.temporary(tensor.elementType, order.map { tensor.shape[$0] })
            try copyStrided(
                width: tensor.elementType.byteWidth, shape: result.shape, from: tensor.pointer,
                view(tensor.shape, tensor.strides, order, isReversed), to: result.pointer,
                StridedView(strides: result.strides))
            return .tensor(result)
        case .strings(let strings):
            if isSame { return value }
            let shape = order.map { strings.shape[$0] }
            let from = view(strings.shape, RuntimeTensor.strides(strings.shape, .rowMajor), order, isReversed)
            let elements = strings.elements.indices.map { position -> [UInt8] in
                var (rest, offset) = (position, from.offset)
                for axis in shape.indices.reversed() {
                    offset += rest % shape[axis] * from.strides[axis]
                    rest /= shape[axis]
                }
                return strings.elements[offset]
            }
            return .strings(StringTensor(shape: shape, elements: elements))
        default: throw KernelFailure("not a tensor")
        }
    }

    private static func view(_ shape: [Int], _ strides: [Int], _ order: [Int], _ isReversed: Bool) -> StridedView {
        var view = StridedView(strides: order.map { strides[$0] })
        if isReversed, let axis = order.firstIndex(of: 0), shape[0] > 0 {
            view.offset = (shape[0] - 1) * strides[0]
            view.strides[axis] = -strides[0]
        }
        return view
    }
}

import GraftCore
import GraftIR

/// What is done to nodes that spell the batch size out.
extension BatchWalk {
    /// Repairs a node whose inputs are known, where it has to be.
    mutating func repair(_ id: NodeID) throws {
        let op = graph[id].op
        guard op.canonicalDomain.isEmpty, graph[id].inputs.contains(where: { batchAxis($0) != nil }) else { return }
        switch op.type {
        case "Reshape": try repairReshape(id)
        case "Concat": try repairConcat(id)
        case "Resize": try repairSizes(id)
        case "Squeeze": try checkSqueeze(id)
        case "LSTM", "GRU", "RNN": try repairStates(id)
        case "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Where", "PRelu", "And", "Or", "Equal",
            "Greater", "Less":
            try repairBroadcast(id)
        case "MatMul": try repairBroadcast(id, keepingLast: 2)
        default: break
        }
    }

    // MARK: Reshape

    /// Extents of the target that are the old size become the rest of the elements.
    ///
    /// The elements before the batch axis are as many on both sides, which finds the axis of the result.
    private mutating func repairReshape(_ id: NodeID) throws {
        guard let input = graph[id].inputs[0], let axis = batchAxis(input), graph[id].inputs.count > 1,
            let target = graph[id].inputs[1], let output = graph[id].outputs[0],
            let from = types.shape(of: input), let old = original.shape(of: output)?.extents
        else { return }
        let extents = types.content(of: target)?.extents
        // A target that follows the input already needs nothing.
        if let extents, extents.contains(where: isBatched) { return }
        guard let given = extents?.compactMap({ extent -> Int? in if case .fixed(let n) = extent { n } else { nil } }),
            given.count == old.count
        else { return }
        let before = from.extents[..<axis].map { extent -> Int? in if case .fixed(let n) = extent { n } else { nil } }
        guard !before.contains(nil), let lead = Checked.product(before.compactMap { $0 }) else {
            throw refusal(id, "the extents before its batch axis are not known")
        }
        var product = 1
        var place: Int?
        for (index, extent) in old.enumerated() {
            guard case .fixed(let count) = extent else { break }
            if product == lead, count % size == 0, count > 0 {
                place = index
                break
            }
            product *= count
        }
        guard let place else { throw refusal(id, "its target \(given) mixes the batch with other axes") }
        let copiesZero = try !AttributeReader(graph[id]).flag("allowzero")
        if given[place] == -1 || given[place] == 0 && copiesZero && place == axis { return }
        var fresh = given
        if copiesZero, place == axis, from[axis].extent == .symbol(symbol), old[place] == .fixed(size) {
            fresh[place] = 0
        } else {
            let counts = old.map { extent -> Int? in if case .fixed(let count) = extent { count } else { nil } }
            guard !counts.contains(nil) else {
                throw refusal(id, "its target \(given) leaves more than the batch size open")
            }
            fresh = counts.compactMap { $0 }
            fresh[place] = -1
        }
        let name = "\(graph[target].name)_\(symbol)"
        setInput(1, of: id, to: stored(Tensor(fresh.map { Int64($0) }), name: name))
    }

    // MARK: Values of a fixed batch beside batched ones

    /// A value that has one row for all samples, repeated for each.
    private mutating func expanded(
        _ value: ValueID, axis: Int, like batched: ValueID, at source: Int, before id: NodeID
    ) throws -> ValueID {
        guard let shape = types.shape(of: value)?.counts, shape.indices.contains(axis), shape[axis] == size else {
            throw refusal(id, "the shape of \"\(graph[value].name)\" does not fit the batch")
        }
        var row = value
        if size != 1 {
            guard let tensor = constant(value), let single = try tensor.singleRow(axis: axis) else {
                throw refusal(id, "\"\(graph[value].name)\" has other rows for each of its \(size) samples")
            }
            row = stored(single, name: "\(graph[value].name)_row")
        }
        let base = "\(graph[value].name)_\(symbol)"
        let extents = try emit("Shape", [batched], before: id, name: "\(base)_shape")
        let index = stored(Tensor([Int64(source)]), name: "\(base)_axis")
        let count = try emit("Gather", [extents, index], ["axis": .int(0)], before: id, name: "\(base)_count")
        var parts: [ValueID] = []
        if axis > 0 { parts.append(stored(Tensor(shape[..<axis].map { Int64($0) }), name: "\(base)_before")) }
        parts.append(count)
        if axis + 1 < shape.count {
            parts.append(stored(Tensor(shape[(axis + 1)...].map { Int64($0) }), name: "\(base)_after"))
        }
        var target = parts[0]
        if parts.count > 1 {
            target = try emit("Concat", parts, ["axis": .int(0)], before: id, name: "\(base)_target")
        }
        return try emit("Expand", [row, target], before: id, name: base)
    }

    private mutating func repairConcat(_ id: NodeID) throws {
        let inputs = graph[id].inputs.compactMap { $0 }
        guard let batched = inputs.first(where: { batchAxis($0) != nil }), let axis = batchAxis(batched),
            let rank = types.shape(of: batched)?.rank
        else { return }
        let given = try AttributeReader(graph[id]).requiredInt("axis")
        if (given < 0 ? given + rank : given) == axis { return }
        for (index, input) in graph[id].inputs.enumerated() {
            guard let input, batchAxis(input) == nil, let extent = types.shape(of: input)?.extents[safe: axis],
                extent == .fixed(size)
            else { continue }
            setInput(index, of: id, to: try expanded(input, axis: axis, like: batched, at: axis, before: id))
        }
    }

    /// Initial states of recurrent layers have the batch as their second axis, or as their first with layout 1.
    private mutating func repairStates(_ id: NodeID) throws {
        guard let x = graph[id].inputs[0], let source = batchAxis(x) else { return }
        let axis = try AttributeReader(graph[id]).int("layout", default: 0) == 1 ? 0 : 1
        for index in [4, 5, 6] where graph[id].inputs.indices.contains(index) {
            guard let state = graph[id].inputs[index], batchAxis(state) == nil else { continue }
            let place = index == 4 ? 0 : axis
            setInput(index, of: id, to: try expanded(state, axis: place, like: x, at: source, before: id))
        }
    }

    /// A stored tensor with the same row for every sample broadcasts with one row.
    private mutating func repairBroadcast(_ id: NodeID, keepingLast kept: Int = 0) throws {
        guard size != 1, let batched = graph[id].inputs.compactMap({ $0 }).first(where: { batchAxis($0) != nil }),
            let axis = batchAxis(batched), let rank = types.shape(of: batched)?.rank
        else { return }
        for (index, input) in graph[id].inputs.enumerated() {
            guard let input, batchAxis(input) == nil, let shape = types.shape(of: input) else { continue }
            let place = axis - rank + shape.rank
            guard place >= 0, place < shape.rank - kept, shape[place].extent == .fixed(size) else { continue }
            guard let tensor = constant(input), let row = try tensor.singleRow(axis: place) else {
                throw refusal(id, "\"\(graph[input].name)\" has other rows for each of its \(size) samples")
            }
            setInput(index, of: id, to: stored(row, name: "\(graph[input].name)_row"))
        }
    }

    // MARK: Others

    /// Sizes spell out the batch; factors do not.
    private mutating func repairSizes(_ id: NodeID) throws {
        guard let x = graph[id].inputs[0], let axis = batchAxis(x), graph[id].inputs.indices.contains(3),
            let sizes = graph[id].inputs[3], let given = types.content(of: sizes)?.integers, given.count > axis,
            try AttributeReader(graph[id]).ints("axes") == nil
        else { return }
        let base = "\(graph[sizes].name)_\(symbol)"
        let extents = try emit("Shape", [x], before: id, name: "\(base)_shape")
        let index = stored(Tensor([Int64(axis)]), name: "\(base)_axis")
        var parts = [try emit("Gather", [extents, index], ["axis": .int(0)], before: id, name: "\(base)_count")]
        if axis > 0 { parts.insert(stored(Tensor(given[..<axis].map { Int64($0) }), name: "\(base)_before"), at: 0) }
        if axis + 1 < given.count {
            parts.append(stored(Tensor(given[(axis + 1)...].map { Int64($0) }), name: "\(base)_after"))
        }
        let fresh = try emit("Concat", parts, ["axis": .int(0)], before: id, name: base)
        setInput(3, of: id, to: fresh)
    }

    private func checkSqueeze(_ id: NodeID) throws {
        guard let x = graph[id].inputs[0], let axis = batchAxis(x), let rank = types.shape(of: x)?.rank else { return }
        let axes =
            graph[id].attributes.ints("axes")
            ?? (graph[id].inputs.count > 1 ? graph[id].inputs[1] : nil).flatMap { types.content(of: $0)?.integers }
        guard let axes else {
            if size == 1 { throw refusal(id, "it removes every axis of extent 1, the batch too") }
            return
        }
        if axes.contains(where: { ($0 < 0 ? $0 + rank : $0) == axis }) {
            throw refusal(id, "it removes the batch axis")
        }
    }
}

extension Collection {
    fileprivate subscript(safe index: Index) -> Element? { indices.contains(index) ? self[index] : nil }
}

extension Tensor {
    /// The tensor with one entry along an axis, where all entries along it are the same; otherwise nil.
    fileprivate func singleRow(axis: Int) throws -> Tensor? {
        guard elementType.bitWidth >= 8, elementType != .string, shape.indices.contains(axis), shape[axis] > 0,
            let rows = Checked.product(shape[..<axis]), let after = Checked.product(shape[(axis + 1)...])
        else { return nil }
        let width = after * elementType.bitWidth / 8
        let count = shape[axis]
        var reduced = shape
        reduced[axis] = 1
        let bytes: [UInt8]? = try withBytes { bytes in
            var result: [UInt8] = []
            result.reserveCapacity(rows * width)
            for row in 0..<rows {
                let start = row * count * width
                let first = UnsafeRawBufferPointer(rebasing: bytes[start..<(start + width)])
                for entry in 1..<max(count, 1) {
                    let other = bytes[(start + entry * width)..<(start + (entry + 1) * width)]
                    guard first.elementsEqual(other) else { return nil }
                }
                result += first
            }
            return result
        }
        guard let bytes else { return nil }
        return try Tensor(
            elementType, shape: reduced, storage: .owned(bytes.withUnsafeBytes { ByteBuffer(copying: $0) }))
    }
}

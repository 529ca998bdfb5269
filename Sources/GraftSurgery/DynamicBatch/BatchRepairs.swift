import GraftCore
import GraftIR

/// What is done to nodes that spell the batch size out.
extension BatchWalk {
    /// Repairs a node whose inputs are known, where it has to be.
    mutating func repair(_ id: NodeID) throws {
        let op = graph[id].op
        guard op.canonicalDomain.isEmpty else { return }
        if op.type == "Expand" { return try repairExpand(id) }
        guard graph[id].inputs.contains(where: { batchAxis($0) != nil }) else { return }
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
        let next = from.rank > axis + 1 ? fixedCount(from[axis + 1].extent) : 1
        let isJoined = from[axis].extent != .symbol(symbol)
        let place = self.place(
            in: old, lead: lead, count: fixedCount(from[axis].extent), next: next, isJoined: isJoined)
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

    /// Which axis of a target takes the batch.
    ///
    /// - Parameters:
    ///   - old: the extents of the target with the old size.
    ///   - lead: the product of the extents before the batch axis of the input.
    ///   - count: the extent of that axis with the old size.
    ///   - next: the extent of the axis after it with the old size.
    ///   - isJoined: whether that axis is the batch and something else together.
    private func place(in old: [Extent], lead: Int, count: Int, next: Int, isJoined: Bool) -> Int? {
        var axes: [(index: Int, before: Int, count: Int)] = []
        var product = 1
        for (index, extent) in old.enumerated() {
            guard case .fixed(let extent) = extent, extent > 0 else { break }
            if extent % size == 0 { axes.append((index, product, extent)) }
            let (next, overflow) = product.multipliedReportingOverflow(by: extent)
            if overflow { break }
            product = next
        }
        let end = lead.multipliedReportingOverflow(by: count)
        guard !end.overflow else { return nil }
        let same = axes.first { $0.before == lead && $0.count == count }
        // The batch alone, split off what it was joined with.
        let split = axes.first { $0.count == size && $0.before >= lead && $0.before * size <= end.partialValue }
        let joinedBefore = axes.first { $0.before * $0.count == end.partialValue }
        let joinedAfter = axes.first { $0.before == lead }
        // Where what follows is split, its first part goes with the batch: channels become heads.
        let takesHeads = joinedAfter.map { axis in
            axis.count != count && next % (axis.count / size) == 0 && old.indices.contains(axis.index + 1)
                && old[axis.index + 1] == .fixed(next / (axis.count / size))
        }
        // With a size of 1 several are possible; an axis of 1 inside what was joined is the batch.
        let found =
            (isJoined ? split ?? same : same ?? split)
            ?? (takesHeads == true ? joinedAfter : joinedBefore ?? joinedAfter)
        return found?.index
    }

    /// What an extent was with the old size.
    private func fixedCount(_ extent: Extent) -> Int {
        if case .fixed(let count) = extent.substituting([symbol: .fixed(size)]) { count } else { -1 }
    }

    // MARK: Values of a fixed batch beside batched ones

    /// One of the rows that a value has for the samples.
    ///
    /// Rows of a stored tensor have to be the same. Those that are computed are taken to be the same; a run of the old
    /// size shows whether they are.
    private mutating func row(of value: ValueID, axis: Int, before id: NodeID) throws -> ValueID {
        if dependent.contains(value) {
            throw refusal(
                id, "\"\(graph[value].name)\" follows from the samples, but has \(size) rows for any number of them")
        }
        let isSingle = types.shape(of: value)?[axis].extent == .fixed(1)
        if isGiven(value), !isSingle || mayAddInputs { throw MissingBatch(input: value, axis: axis, at: id) }
        if isSingle { return value }
        if fromCaller.contains(value) {
            throw refusal(
                id,
                "\"\(graph[value].name)\" has \(size) rows and follows from an input whose first axis is not the batch")
        }
        let name = "\(graph[value].name)_row"
        if let tensor = constant(value) {
            guard let single = try tensor.singleRow(axis: axis) else {
                throw refusal(id, "\"\(graph[value].name)\" has other rows for each of its \(size) samples")
            }
            return stored(single, name: name)
        }
        guard opset >= 10 else {
            return try emit(
                "Slice", [value], ["starts": .ints([0]), "ends": .ints([1]), "axes": .ints([axis])], before: id,
                name: graph.uniqueValueName(name))
        }
        let bounds = [0, 1, axis].map { stored(Tensor([Int64($0)]), name: "\(name)_bound") }
        return try emit("Slice", [value] + bounds, before: id, name: graph.uniqueValueName(name))
    }

    /// A value that has one row for all samples, repeated for each.
    private mutating func expanded(
        _ value: ValueID, axis: Int, like batched: ValueID, at source: Int, before id: NodeID
    ) throws -> ValueID {
        guard let shape = types.shape(of: value)?.counts, shape.indices.contains(axis),
            let extent = types.shape(of: batched)?[source].extent, shape[axis] == fixedCount(extent)
        else { throw refusal(id, "the shape of \"\(graph[value].name)\" does not fit the batch") }
        let row = try row(of: value, axis: axis, before: id)
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
                let other = types.shape(of: batched)?[axis].extent, extent == .fixed(fixedCount(other))
            else { continue }
            setInput(index, of: id, to: try expanded(input, axis: axis, like: batched, at: axis, before: id))
        }
    }

    /// Initial states of recurrent layers have the batch as their second axis, or as their first with layout 1.
    private mutating func repairStates(_ id: NodeID) throws {
        guard let x = graph[id].inputs[0], let source = batchAxis(x) else { return }
        let axis = try AttributeReader(graph[id]).int("layout", default: 0) == 1 ? 0 : 1
        for index in [4, 5, 6] where graph[id].inputs.indices.contains(index) {
            guard let state = graph[id].inputs[index] else { continue }
            let place = index == 4 ? 0 : axis
            if let found = batchAxis(state) {
                // Of several inputs with a first extent of 1 not every first axis is the batch.
                if found != place, isGiven(state) { throw MissingBatch(input: state, axis: place, at: id) }
                continue
            }
            setInput(index, of: id, to: try expanded(state, axis: place, like: x, at: source, before: id))
        }
    }

    /// A value with the same row for every sample broadcasts with one row.
    private mutating func repairBroadcast(_ id: NodeID, keepingLast kept: Int = 0) throws {
        guard let batched = graph[id].inputs.compactMap({ $0 }).first(where: { batchAxis($0) != nil }),
            let axis = batchAxis(batched), let rank = types.shape(of: batched)?.rank
        else { return }
        for (index, input) in graph[id].inputs.enumerated() {
            guard let input, batchAxis(input) == nil, let shape = types.shape(of: input) else { continue }
            let place = axis - rank + shape.rank
            guard place >= 0, place < shape.rank - kept, let extent = types.shape(of: batched)?[axis].extent,
                shape[place].extent == .fixed(fixedCount(extent)), fixedCount(extent) != 1
            else { continue }
            setInput(index, of: id, to: try row(of: input, axis: place, before: id))
        }
    }

    // MARK: Others

    /// A target of 1 keeps the batch of what is expanded; a target that follows the batch repeats one row.
    private mutating func repairExpand(_ id: NodeID) throws {
        guard graph[id].inputs.count > 1, let x = graph[id].inputs[0], let target = graph[id].inputs[1],
            let shape = types.shape(of: x), let content = types.content(of: target)
        else { return }
        if let extents = content.extents, let place = extents.firstIndex(where: isBatched) {
            let axis = place - extents.count + shape.rank
            guard axis >= 0, axis < shape.rank, let count = shape[axis].count, count > 1,
                count == fixedCount(extents[place])
            else { return }
            return setInput(0, of: id, to: try row(of: x, axis: axis, before: id))
        }
        guard let axis = batchAxis(x), var given = content.integers else { return }
        let place = axis - shape.rank + given.count
        guard given.indices.contains(place), given[place] != 1, given[place] == fixedCount(shape[axis].extent) else {
            return
        }
        given[place] = 1
        setInput(1, of: id, to: stored(Tensor(given.map { Int64($0) }), name: "\(graph[target].name)_\(symbol)"))
    }

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

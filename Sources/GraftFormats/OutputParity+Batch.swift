import GraftCore
import GraftIR
import GraftRuntime

extension OutputParity {
    /// Compares the rows of a batch of two with single runs; and where the source has a fixed batch of more than one,
    /// a run of that size with the source's.
    ///
    /// - Parameters:
    ///   - source: the model with a fixed batch size.
    ///   - dynamic: the same with a free one.
    ///   - symbol: the name of the free size.
    /// - Throws: what planning or running throws.
    public static func batch(_ source: Model, _ dynamic: Model, symbol: String) throws -> OutputParity {
        // The axis of each input that has a batch.
        var batched: [String: Int] = [:]
        for id in dynamic.graph.inputs {
            let extents = dynamic.graph[id].shape?.extents ?? []
            if let axis = extents.firstIndex(of: .symbol(symbol)) { batched[dynamic.graph[id].name] = axis }
        }
        let size =
            source.graph.inputs.lazy.compactMap { id in
                batched[source.graph[id].name].flatMap { source.graph[id].shape?[$0].count }
            }.first ?? 1
        let session = try Session(Plan(dynamic, options: .forComparison))
        let pair = try ProbeInputs.make(for: dynamic, batch: 2)
        let both = try session.run(pair)
        let single = size == 1 ? try Session(Plan(source, options: .forComparison)) : session
        var entries: [Entry] = []
        for row in 0..<2 {
            let one = try pair.mapValues { $0 }.reduce(into: [String: Tensor]()) { result, entry in
                result[entry.key] =
                    try batched[entry.key].map { try entry.value.slice(axis: $0, row..<(row + 1)) } ?? entry.value
            }
            let results = try single.run(one)
            for port in session.plan.outputs {
                guard let expected = results[port.name], let whole = both[port.name] else { continue }
                entries.append(try entry(port.name, expected, whole, part: row, of: 2))
            }
        }
        if size > 1 {
            let inputs = try ProbeInputs.make(for: source)
            let expected = try Session(Plan(source, options: .forComparison)).run(inputs)
            let actual = try session.run(inputs)
            for port in session.plan.outputs {
                guard let x = expected[port.name], let y = actual[port.name] else { continue }
                entries.append(Entry(name: port.name, shape: x.shape, comparison: try ArrayComparison(x, y)))
            }
        }
        return OutputParity(entries: entries)
    }

    /// Compares a single run's output with its part of the batch: the axis that is longer there by the batch size.
    private static func entry(
        _ name: String, _ single: Tensor, _ whole: Tensor, part: Int, of count: Int
    ) throws -> Entry {
        var own = whole
        if single.shape.count == whole.shape.count,
            let axis = single.shape.indices.first(where: { single.shape[$0] != whole.shape[$0] }),
            whole.shape[axis] == single.shape[axis] * count
        {
            let extent = single.shape[axis]
            own = try whole.slice(axis: axis, (part * extent)..<((part + 1) * extent))
        }
        return Entry(name: name, shape: single.shape, comparison: try ArrayComparison(single, own))
    }
}

extension Tensor {
    /// The entries of a range along an axis.
    fileprivate func slice(axis: Int, _ range: Range<Int>) throws -> Tensor {
        let width = shape[(axis + 1)...].reduce(1, *) * elementType.bitWidth / 8
        let rows = shape[..<axis].reduce(1, *)
        var result = shape
        result[axis] = range.count
        let extent = shape[axis]
        let bytes = try withBytes { bytes in
            var taken: [UInt8] = []
            taken.reserveCapacity(rows * range.count * width)
            for row in 0..<rows {
                let start = (row * extent + range.lowerBound) * width
                taken += bytes[start..<(start + range.count * width)]
            }
            return taken
        }
        return try Tensor(
            elementType, shape: result, storage: .owned(bytes.withUnsafeBytes { ByteBuffer(copying: $0) }))
    }
}

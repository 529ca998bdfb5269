import GraftCore

extension AttentionProblem {
    /// Computes attention in the precision of a type, one query after the other; for what oneDNN does not know.
    func attend<T: RealNumber>(_ type: T.Type) throws {
        guard batch > 0, queryHeads > 0, queries > 0, valueSize > 0 else { return }
        guard keyHeads > 0, queryHeads % keyHeads == 0 else {
            throw KernelFailure("\(queryHeads) query heads do not divide into \(keyHeads) key heads")
        }
        let groups = queryHeads / keyHeads
        Parallel.forEachRange(batch * queryHeads * queries) { range in
            withUnsafeTemporaryAllocation(of: T.self, capacity: max(1, keys)) { buffer in
                guard let scores = buffer.baseAddress else { return }
                for row in range {
                    let (plane, query) = (row / queries, row % queries)
                    let (batch, head) = (plane / queryHeads, plane % queryHeads)
                    attend(scores, batch: batch, head: head, keyHead: head / groups, query: query)
                }
            }
        }
    }

    private func attend<T: RealNumber>(
        _ scores: UnsafeMutablePointer<T>, batch: Int, head: Int, keyHead: Int, query: Int
    ) {
        let from = q.row(T.self, batch, head, query)
        for key in 0..<keys {
            let other = k.row(T.self, batch, keyHead, key)
            var sum: T = 0
            for index in 0..<size { sum += from[index] * other[index] }
            scores[key] = sum * T(scale)
        }
        let stored = capture.map { $0.target.typed(T.self) + ((batch * queryHeads + head) * queries + query) * keys }
        func store(_ stage: Stage) {
            if let stored, capture?.stage == stage { stored.update(from: scores, count: keys) }
        }
        store(.product)
        if softcap > 0 {
            let cap = T(softcap)
            for key in 0..<keys { scores[key] = cap * (2 / (1 + (-2 * scores[key] / cap).exponential) - 1) }
        }
        store(.capped)
        let isSeen = bias.isEmpty || bias.apply(scores, batch: batch, head: head, query: query, keys: keys)
        store(.biased)
        if isSeen {
            var largest = -T.infinity
            for key in 0..<keys where scores[key] > largest { largest = scores[key] }
            var sum: T = 0
            for key in 0..<keys {
                scores[key] = (scores[key] - largest).exponential
                sum += scores[key]
            }
            for key in 0..<keys { scores[key] /= sum }
        } else {
            scores.update(repeating: 0, count: keys)
        }
        store(.weights)
        let out = y.row(T.self, batch, head, query)
        out.update(repeating: 0, count: valueSize)
        for key in 0..<keys {
            let (weight, value) = (scores[key], v.row(T.self, batch, keyHead, key))
            if weight == 0 { continue }
            for index in 0..<valueSize { out[index] += weight * value[index] }
        }
    }
}

extension AttentionProblem {
    /// The scaled products of all queries with all keys, in the precision of a type.
    func multiplyKeys<T: RealNumber>(into scores: UnsafeMutablePointer<T>) {
        let groups = queryHeads / keyHeads
        Parallel.forEachRange(batch * queryHeads * queries, grain: max(1, 8192 / max(1, keys * size))) { range in
            for row in range {
                let (sample, head) = (row / queries / queryHeads, row / queries % queryHeads)
                let from = q.row(T.self, sample, head, row % queries)
                for key in 0..<keys {
                    let other = k.row(T.self, sample, head / groups, key)
                    var sum: T = 0
                    for index in 0..<size { sum += from[index] * other[index] }
                    scores[row * keys + key] = sum * T(scale)
                }
            }
        }
    }

    /// The products of all weights with all values, in the precision of a type.
    func multiplyValues<T: RealNumber>(_ weights: UnsafePointer<T>) {
        let groups = queryHeads / keyHeads
        Parallel.forEachRange(batch * queryHeads * queries, grain: max(1, 8192 / max(1, keys * valueSize))) { range in
            for row in range {
                let (sample, head) = (row / queries / queryHeads, row / queries % queryHeads)
                let out = y.row(T.self, sample, head, row % queries)
                out.update(repeating: 0, count: valueSize)
                for key in 0..<keys {
                    let (weight, value) = (weights[row * keys + key], v.row(T.self, sample, head / groups, key))
                    for index in 0..<valueSize { out[index] += weight * value[index] }
                }
            }
        }
    }

    /// The softmax of rows in the precision of a type, in place; rows that are masked throughout become zero.
    static func normalize<T: RealNumber>(_ scores: UnsafeMutablePointer<T>, rows: Int, length: Int) {
        Parallel.forEachRange(rows, grain: max(1, 2048 / max(1, length))) { range in
            for row in range {
                let values = scores + row * length
                var largest = -T.infinity
                for index in 0..<length where values[index] > largest { largest = values[index] }
                guard largest > -.infinity else {
                    values.update(repeating: 0, count: length)
                    continue
                }
                var sum: T = 0
                for index in 0..<length {
                    values[index] = (values[index] - largest).exponential
                    sum += values[index]
                }
                for index in 0..<length { values[index] /= sum }
            }
        }
    }
}

extension HeadRows {
    /// Where a row starts.
    @inline(__always) func row<T>(_ type: T.Type, _ batch: Int, _ head: Int, _ row: Int) -> UnsafeMutablePointer<T> {
        tensor.typed(T.self) + (batch * batchStride + head * headStride + row * rowStride)
    }
}

extension KernelContext {
    /// A tensor of numbers or truth values as numbers of a floating-point type, row-major.
    func numbers<T: RealNumber>(
        of tensor: RuntimeTensor, as type: T.Type, _ elementType: ElementType, isTrue: T = 1, isFalse: T = 0
    ) throws -> RuntimeTensor {
        let tensor = try reordered(tensor, .rowMajor)
        if tensor.elementType == elementType { return tensor }
        let result = try temporary(elementType, tensor.shape)
        let target = result.typed(T.self)
        func copy<S: BinaryInteger>(_ source: S.Type) {
            let from = tensor.typed(S.self)
            Parallel.forEachRange(tensor.count, grain: 32768) { for index in $0 { target[index] = T(from[index]) } }
        }
        func copy<S: BinaryFloatingPoint>(_ source: S.Type) {
            let from = tensor.typed(S.self)
            Parallel.forEachRange(tensor.count, grain: 32768) { for index in $0 { target[index] = T(from[index]) } }
        }
        switch tensor.elementType {
        case .bool:
            let from = tensor.typed(UInt8.self)
            Parallel.forEachRange(tensor.count, grain: 32768) { range in
                for index in range { target[index] = from[index] != 0 ? isTrue : isFalse }
            }
        case .float32: copy(Float.self)
        case .float64: copy(Double.self)
        case .float16, .bfloat16: return try numbers(of: converted(tensor, .float32), as: type, elementType)
        case .int8: copy(Int8.self)
        case .int16: copy(Int16.self)
        case .int32: copy(Int32.self)
        case .int64: copy(Int64.self)
        case .uint8: copy(UInt8.self)
        case .uint16: copy(UInt16.self)
        case .uint32: copy(UInt32.self)
        case .uint64: copy(UInt64.self)
        case let other: throw KernelFailure("elements of type \(other.name) where numbers are needed")
        }
        return result
    }
}

import GraftCore
import GraftIR

/// LinearAttention: a recurrence over a matrix of state for each head.
enum LinearAttentionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "LinearAttention", opsets: 27...KernelRegistry.newestOpset, prepare: { try Settings($0) },
                run: { try run($1, $0) })
        ]
    }

    struct Settings: Sendable {
        let queryHeads: Int
        let keyHeads: Int
        let scale: Float
        let decays: Bool
        let corrects: Bool

        init(_ node: KernelNode) throws {
            queryHeads = node.attributes.int("q_num_heads") ?? 0
            keyHeads = node.attributes.int("kv_num_heads") ?? 0
            scale = node.attributes.float("scale") ?? 0
            guard queryHeads > 0, keyHeads > 0, queryHeads % keyHeads == 0 else {
                throw KernelFailure("\(queryHeads) query heads and \(keyHeads) key heads")
            }
            let rule = node.attributes.string("update_rule") ?? "gated_delta"
            guard ["linear", "gated", "delta", "gated_delta"].contains(rule) else {
                throw KernelFailure("update_rule is \"\(rule)\"; it must be linear, gated, delta or gated_delta")
            }
            decays = rule.hasPrefix("gated")
            corrects = rule.hasSuffix("delta")
            guard node.has(4) == decays, node.has(5) == corrects else {
                throw KernelFailure("the inputs decay and beta do not fit the rule \(rule)")
            }
        }
    }

    /// The state of each head has a row for each element of a key and a column for each element of a value.
    private static func run(_ context: KernelContext, _ settings: Settings) throws {
        func floats(_ index: Int) throws -> RuntimeTensor {
            try context.numbers(of: context.input(index), as: Float.self, .float32)
        }
        let type = try context.input(0).elementType
        let (q, k, v) = (try floats(0), try floats(1), try floats(2))
        let (heads, groups) = (settings.queryHeads, settings.keyHeads)
        guard q.rank == 3, k.rank == 3, v.rank == 3, k.shape[..<2] == q.shape[..<2], v.shape[..<2] == q.shape[..<2],
            q.shape[2] % heads == 0, v.shape[2] % groups == 0, k.shape[2] == q.shape[2] / heads * groups,
            let rowWidth = Checked.product([heads, v.shape[2] / groups])
        else { throw KernelFailure("query, key and value of shapes \(q.shape), \(k.shape) and \(v.shape)") }
        let (batch, length) = (q.shape[0], q.shape[1])
        let (size, width) = (q.shape[2] / heads, v.shape[2] / groups)
        let past = context.has(3) ? try floats(3) : nil
        let stateType = context.has(3) ? try context.input(3).elementType : type
        let stateShape = [batch, groups, size, width]
        if let past, past.shape != stateShape {
            throw KernelFailure("past_state of shape \(past.shape) where \(stateShape) is needed")
        }
        let decay = settings.decays ? try floats(4) : nil
        let perElement = decay.map { $0.shape == [batch, length, groups * size] && $0.shape[2] != groups } ?? false
        if let decay, !perElement, decay.shape != [batch, length, groups] {
            throw KernelFailure("decay of shape \(decay.shape) for \(groups) heads of size \(size)")
        }
        let beta = settings.corrects ? try floats(5) : nil
        if let beta, beta.shape != [batch, length, groups], beta.shape != [batch, length, 1] {
            throw KernelFailure("beta of shape \(beta.shape) for \(groups) heads")
        }
        let y = try context.temporary(.float32, [batch, length, rowWidth])
        let state = try context.temporary(.float32, stateShape)
        if let past {
            state.pointer.copyMemory(from: past.pointer, byteCount: state.byteCount)
        } else {
            state.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: state.byteCount)
        }
        let scale = settings.scale == 0 ? 1 / Float(max(1, size)).squareRoot() : settings.scale
        let shared = heads / groups
        Parallel.forEachRange(batch * groups) { range in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, width)) { buffer in
                guard let change = buffer.baseAddress else { return }
                for plane in range {
                    let (sample, group) = (plane / groups, plane % groups)
                    let matrix = state.floats + plane * size * width
                    for step in 0..<length {
                        let row = sample * length + step
                        let key = k.floats + (row * groups + group) * size
                        let value = v.floats + (row * groups + group) * width
                        if let decay {
                            scaleRows(
                                matrix, size, width, decay.floats + (row * groups + group) * (perElement ? size : 1),
                                perElement)
                        }
                        change.update(from: value, count: width)
                        if let beta {
                            for i in 0..<size {
                                let (factor, from) = (key[i], matrix + i * width)
                                for j in 0..<width { change[j] -= factor * from[j] }
                            }
                            let rate = beta.floats[beta.shape[2] == 1 ? row : row * groups + group]
                            for j in 0..<width { change[j] *= rate }
                        }
                        for i in 0..<size {
                            let (factor, to) = (key[i], matrix + i * width)
                            for j in 0..<width { to[j] += factor * change[j] }
                        }
                        for head in group * shared..<(group + 1) * shared {
                            let query = q.floats + (row * heads + head) * size
                            let out = y.floats + (row * heads + head) * width
                            out.update(repeating: 0, count: width)
                            for i in 0..<size {
                                let (factor, from) = (query[i] * scale, matrix + i * width)
                                for j in 0..<width { out[j] += factor * from[j] }
                            }
                        }
                    }
                }
            }
        }
        context.set(0, type == .float32 ? y : try context.converted(y, type))
        context.set(1, stateType == .float32 ? state : try context.converted(state, stateType))
    }

    private static func scaleRows(
        _ matrix: UnsafeMutablePointer<Float>, _ size: Int, _ width: Int, _ decay: UnsafePointer<Float>,
        _ perElement: Bool
    ) {
        for i in 0..<size {
            let factor = decay[perElement ? i : 0].exponential
            for j in 0..<width { matrix[i * width + j] *= factor }
        }
    }
}

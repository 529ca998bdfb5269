import GraftCore

/// The gradient of Attention, written as products of matrices.
///
/// With `P` the weights after the softmax: `dV = P' dY`, `dS = P * (dY V' - sum(dY V' * P))`, `dQ = scale dS K` and
/// `dK = scale dS' Q`. The weights are asked of the operator itself, so that masks and windows need no second form.
enum AttentionGradient {
    static func rule(_ context: inout GradientContext) throws {
        guard context.outputGradients.dropFirst().allSatisfy({ $0 == nil }) else {
            throw context.failure("the loss depends on the cache or the scores that the node gives out")
        }
        guard context.input(4) == nil, context.input(5) == nil else {
            throw context.failure("attention with a cache of past keys has no gradient rule")
        }
        guard try context.reader.float("softcap", default: 0) == 0 else {
            throw context.failure("attention with a soft cap has no gradient rule")
        }
        if context.needs(3) { throw context.failure("the mask of attention has no gradient rule") }
        let dy = try context.requiredGradient()
        let inputs = [try context.requiredInput(0), try context.requiredInput(1), try context.requiredInput(2)]
        let shapes = inputs.map { context.shape(of: $0) }
        guard let q = shapes[0], let k = shapes[1], let v = shapes[2], q.rank == k.rank, q.rank == v.rank else {
            throw context.failure("the gradient needs the ranks of Q, K and V, which are not known")
        }
        let isFlat = q.rank == 3
        let heads: Int?
        let groups: Int?
        if isFlat {
            (heads, groups) = (try context.reader.int("q_num_heads"), try context.reader.int("kv_num_heads"))
        } else {
            (heads, groups) = (q[1].count, k[1].count)
        }
        let width = isFlat ? q[2].count.flatMap { w in heads.flatMap { $0 > 0 ? w / $0 : nil } } : q[3].count
        guard let heads, let groups, let width, heads > 0, groups > 0, heads % groups == 0, width > 0 else {
            throw context.failure("the gradient needs the numbers of heads and their size, which are not known")
        }
        let scale = Double(try context.reader.float("scale") ?? 1 / Float(width).squareRoot())

        let weights = try probabilities(&context)
        var parts = inputs
        if isFlat {
            for (index, count) in [heads, groups, groups].enumerated() {
                parts[index] = split(parts[index], count, &context)
            }
        }
        let gradient = isFlat ? split(dy, heads, &context) : dy
        let (query, key, value) = (parts[0], parts[1], parts[2])
        let wideKey = repeated(key, heads, groups, &context)
        let wideValue = repeated(value, heads, groups, &context)
        if context.needs(2) {
            let wide = context.emit("MatMul", [transposed(weights, &context), gradient])
            set(2, folded(wide, heads, groups, &context), isFlat, &context)
        }
        guard context.needs(0) || context.needs(1) else { return }
        let product = context.emit("MatMul", [gradient, transposed(wideValue, &context)])
        let along = context.sum(context.multiply(product, weights), axes: [3], keepDimensions: true)
        let inner = context.multiply(weights, context.subtract(product, along))
        let scores = context.multiply(inner, try context.scalar(scale, like: query))
        if context.needs(0) { set(0, context.emit("MatMul", [scores, wideKey]), isFlat, &context) }
        if context.needs(1) {
            let wide = context.emit("MatMul", [transposed(scores, &context), query])
            set(1, folded(wide, heads, groups, &context), isFlat, &context)
        }
    }

    /// The weights after the softmax, by the operator itself.
    private static func probabilities(_ context: inout GradientContext) throws -> ValueID {
        var settings = context.attributes
        settings["qk_matmul_output_mode"] = .int(3)
        let values = context.emit(
            "Attention", context.node.inputs, wanted: [true, false, false, true], attributes: settings)
        guard let weights = values[3] else { throw context.failure("the weights are missing") }
        return weights
    }

    /// (batch, sequence, heads x size) as (batch, heads, sequence, size).
    private static func split(_ value: ValueID, _ heads: Int, _ context: inout GradientContext) -> ValueID {
        let shaped = context.emit("Reshape", [value, context.integers([0, 0, heads, -1])])
        return context.emit("Transpose", [shaped], attributes: ["perm": .ints([0, 2, 1, 3])])
    }

    private static func transposed(_ value: ValueID, _ context: inout GradientContext) -> ValueID {
        context.emit("Transpose", [value], attributes: ["perm": .ints([0, 1, 3, 2])])
    }

    /// Each key head as often as query heads read it.
    private static func repeated(
        _ value: ValueID, _ heads: Int, _ groups: Int, _ context: inout GradientContext
    ) -> ValueID {
        guard heads != groups else { return value }
        let wide = context.emit(
            "Expand", [context.unsqueezed(value, axes: [2]), context.integers([1, 1, heads / groups, 1, 1])])
        let shape = context.emit("Shape", [value])
        let last = context.emit("Gather", [shape, context.integers([2, 3])])
        let first = context.emit("Gather", [shape, context.integers([0])])
        let target = context.emit(
            "Concat", [first, context.integers([heads]), last], attributes: ["axis": .int(0)])
        return context.emit("Reshape", [wide, target])
    }

    /// The sum over the query heads that read one key head.
    private static func folded(
        _ value: ValueID, _ heads: Int, _ groups: Int, _ context: inout GradientContext
    ) -> ValueID {
        guard heads != groups else { return value }
        let shape = context.emit("Shape", [value])
        let last = context.emit("Gather", [shape, context.integers([2, 3])])
        let first = context.emit("Gather", [shape, context.integers([0])])
        let target = context.emit(
            "Concat", [first, context.integers([groups, heads / groups]), last], attributes: ["axis": .int(0)])
        return context.sum(context.emit("Reshape", [value, target]), axes: [2], keepDimensions: false)
    }

    private static func set(_ input: Int, _ value: ValueID, _ isFlat: Bool, _ context: inout GradientContext) {
        guard isFlat, let like = context.input(input) else { return context.setGradient(ofInput: input, value) }
        let rows = context.emit("Transpose", [value], attributes: ["perm": .ints([0, 2, 1, 3])])
        context.setGradient(ofInput: input, context.reshaped(rows, to: like))
    }
}

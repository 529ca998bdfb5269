import GraftCore
import GraftIR

/// The gradients of the normalisations whose statistics belong to one sample:
/// `…NormalizationGrad(dY, X, scale) → (dX, dScale, dB)`, and that of LRN.
///
/// Every one of them takes rows of a row-major tensor: `x̂ = (x - mean) / deviation`, `y = x̂ scale + B`;
/// `dX = (g - mean(g) - x̂ mean(g x̂)) / deviation` with `g = dY scale`. RMSNormalization has no mean.
enum NormalizationGradientKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "LayerNormalizationGrad", domain: graftDomain, widens: true, prepare: { Settings($0) },
                run: { try layer($1, $0, isCentered: true) }),
            .function(
                "RMSNormalizationGrad", domain: graftDomain, widens: true, prepare: { Settings($0) },
                run: { try layer($1, $0, isCentered: false) }),
            .function(
                "InstanceNormalizationGrad", domain: graftDomain, widens: true, prepare: { Settings($0) },
                run: { try channels($1, $0, groups: nil) }),
            .function(
                "GroupNormalizationGrad", domain: graftDomain, widens: true, prepare: { Settings($0) },
                run: { try channels($1, $0, groups: $0.groups) }),
            .function(
                "LRNGrad", domain: graftDomain, widens: true, prepare: { try ResponseSettings($0) },
                run: { try localResponse($1, $0) }),
        ]
    }

    private struct Settings: Sendable {
        let epsilon: Float
        let axis: Int
        let groups: Int

        init(_ node: KernelNode) {
            epsilon = node.attributes.float("epsilon") ?? 1e-5
            axis = node.attributes.int("axis") ?? -1
            groups = node.attributes.int("num_groups") ?? 1
        }
    }

    /// Which entry of the scale belongs to an element of a row: `row % period * step + element / span`.
    private struct Rows {
        let length: Int
        let count: Int
        let period: Int
        let step: Int
        let span: Int
        let entries: Int
        let epsilon: Float
        let isCentered: Bool
    }

    private static func layer(_ context: KernelContext, _ settings: Settings, isCentered: Bool) throws {
        let (dy, x, scale) = try operands(context)
        let axis = try normalizedAxis(settings.axis, rank: x.rank)
        let inner = Array(x.shape[axis...])
        let length = inner.reduce(1, *)
        guard try Broadcast.shape([scale.shape, inner]) == inner else {
            throw KernelFailure("a scale of shape \(scale.shape) does not fit \(inner)")
        }
        var wide = scale
        if scale.count != length {
            wide = try context.temporary(.float32, inner)
            let walk = Broadcast([scale], shape: inner, layout: .rowMajor)
            for index in 0..<length { wide.floats[index] = scale.floats[walk.offsets(of: index)[0]] }
        }
        let rows = Rows(
            length: length, count: length > 0 ? x.count / length : 0, period: 1, step: 0, span: 1, entries: length,
            epsilon: settings.epsilon, isCentered: isCentered)
        let sums = try gradient(context, rows, dy, x, wide)
        try ReduceToKernels.reduce(context, sums.scale.viewed(inner), to: scale.shape, output: 1)
        if isCentered { try ReduceToKernels.reduce(context, sums.shift.viewed(inner), to: scale.shape, output: 2) }
    }

    /// - Parameter groups: into how many groups the channels go; one a channel where nil.
    private static func channels(_ context: KernelContext, _ settings: Settings, groups: Int?) throws {
        let (dy, x, scale) = try operands(context)
        guard x.rank >= 2, scale.count == x.shape[1] else {
            throw KernelFailure("a scale of shape \(scale.shape) does not fit an input of shape \(x.shape)")
        }
        let groups = groups ?? x.shape[1]
        guard groups > 0, x.shape[1] % groups == 0 else {
            throw KernelFailure("\(groups) groups do not fit the shape \(x.shape)")
        }
        let size = x.shape[1] / groups
        let rows = Rows(
            length: size * x.spatialCount, count: x.shape[0] * groups, period: groups, step: size,
            span: x.spatialCount, entries: x.shape[1], epsilon: settings.epsilon, isCentered: true)
        let sums = try gradient(context, rows, dy, x, scale)
        context.set(1, sums.scale)
        context.set(2, sums.shift)
    }

    private static func operands(
        _ context: KernelContext
    ) throws -> (dy: RuntimeTensor, x: RuntimeTensor, scale: RuntimeTensor) {
        let (dy, x) = (try context.plain(0, .float32), try context.plain(1, .float32))
        guard dy.shape == x.shape else {
            throw KernelFailure("a gradient of shape \(dy.shape) does not fit an input of shape \(x.shape)")
        }
        return (dy, x, try context.plain(2, .float32))
    }

    /// Makes output 0, and returns the gradients of scale and shift.
    private static func gradient(
        _ context: KernelContext, _ rows: Rows, _ dy: RuntimeTensor, _ x: RuntimeTensor, _ scale: RuntimeTensor
    ) throws -> (scale: RuntimeTensor, shift: RuntimeTensor) {
        let dx = try context.output(0, .float32, x.shape)
        let entries = rows.entries
        // The rows are summed in blocks, and the blocks in order: the number of threads does not matter.
        let perBlock = max(1, (rows.count + 63) / 64)
        let blocks = (rows.count + perBlock - 1) / perBlock
        let parts = try context.temporary(.float32, [max(1, blocks), 2, entries]).floats
        let (p, q, s, target) = (dy.floats, x.floats, scale.floats, dx.floats)
        Parallel.forEachRange(blocks) { range in
            for block in range {
                let part = parts + block * 2 * entries
                part.update(repeating: 0, count: 2 * entries)
                for row in (block * perBlock)..<min(rows.count, (block + 1) * perBlock) {
                    let (start, entry) = (row * rows.length, row % rows.period * rows.step)
                    gradient(
                        rows, p + start, q + start, s + entry, target + start, part + entry, part + entries + entry)
                }
            }
        }
        let (dScale, dShift) = (
            try context.temporary(.float32, [entries]), try context.temporary(.float32, [entries])
        )
        for entry in 0..<entries {
            var (first, second) = (0.0, 0.0)
            for block in 0..<blocks {
                first += Double(parts[block * 2 * entries + entry])
                second += Double(parts[(block * 2 + 1) * entries + entry])
            }
            dScale.floats[entry] = Float(first)
            dShift.floats[entry] = Float(second)
        }
        return (dScale, dShift)
    }

    /// One row: writes dX, and adds to the gradients of the scale and the shift.
    private static func gradient(
        _ rows: Rows, _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>, _ scale: UnsafePointer<Float>,
        _ dx: UnsafeMutablePointer<Float>, _ dScale: UnsafeMutablePointer<Float>,
        _ dShift: UnsafeMutablePointer<Float>
    ) {
        let length = rows.length
        guard length > 0 else { return }
        var (mean, square) = moments(x, length)
        if !rows.isCentered { (mean, square) = (0, square + mean * mean) }
        let inverse = 1 / (square + rows.epsilon).squareRoot()
        var (sum, product) = (0.0, 0.0)
        if rows.span == 1 {
            for i in 0..<length {
                let normal = (x[i] - mean) * inverse
                let g = dy[i] * scale[i]
                sum += Double(g)
                product += Double(g * normal)
                dScale[i] += dy[i] * normal
                dShift[i] += dy[i]
            }
        } else {
            for segment in 0..<(length / rows.span) {
                let (p, q) = (dy + segment * rows.span, x + segment * rows.span)
                var (plain, slope) = (0.0, 0.0)
                for i in 0..<rows.span {
                    plain += Double(p[i])
                    slope += Double(p[i] * ((q[i] - mean) * inverse))
                }
                dScale[segment] += Float(slope)
                dShift[segment] += Float(plain)
                sum += plain * Double(scale[segment])
                product += slope * Double(scale[segment])
            }
        }
        let average = rows.isCentered ? Float(sum / Double(length)) : 0
        let along = Float(product / Double(length))
        if rows.span == 1 {
            for i in 0..<length {
                dx[i] = inverse * (dy[i] * scale[i] - average - (x[i] - mean) * inverse * along)
            }
        } else {
            for segment in 0..<(length / rows.span) {
                let start = segment * rows.span
                let factor = scale[segment]
                for i in start..<(start + rows.span) {
                    dx[i] = inverse * (dy[i] * factor - average - (x[i] - mean) * inverse * along)
                }
            }
        }
    }

    // MARK: Local response

    private struct ResponseSettings: Sendable {
        let alpha: Float
        let beta: Float
        let bias: Float
        let size: Int

        init(_ node: KernelNode) throws {
            alpha = node.attributes.float("alpha") ?? 1e-4
            beta = node.attributes.float("beta") ?? 0.75
            bias = node.attributes.float("bias") ?? 1
            size = node.attributes.int("size") ?? 0
            if size < 1 { throw KernelFailure("a size of \(size)") }
        }
    }

    /// `y = x s^-beta` with `s = bias + alpha / size * sum(x^2)` over the channels around.
    private static func localResponse(_ context: KernelContext, _ settings: ResponseSettings) throws {
        let (dy, x, y) = (try context.channelsLast(0), try context.channelsLast(1), try context.channelsLast(2))
        guard dy.shape == x.shape, y.shape == x.shape,
            [dy, x, y].allSatisfy({ $0.elementType == .float32 })
        else { throw KernelFailure("gradient, input and result of different shapes or types") }
        let dx = try context.output(0, .float32, x.shape, layout: .channelsLast)
        let channels = x.shape[1]
        let (below, above) = ((settings.size - 1) / 2, settings.size / 2)
        let (p, q, r, target) = (dy.floats, x.floats, y.floats, dx.floats)
        let (factor, beta, bias) = (settings.alpha / Float(settings.size), settings.beta, settings.bias)
        Parallel.forEachRange(channels > 0 ? x.count / channels : 0, grain: max(1, 2048 / max(1, channels))) { rows in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * channels) { buffer in
                for row in rows {
                    let (p, q, r) = (p + row * channels, q + row * channels, r + row * channels)
                    for c in 0..<channels {
                        var sum: Float = 0
                        for i in max(0, c - below)...min(channels - 1, c + above) { sum += q[i] * q[i] }
                        buffer[c] = bias + factor * sum
                        buffer[channels + c] = p[c] * r[c] / buffer[c]
                    }
                    for c in 0..<channels {
                        var sum: Float = 0
                        for i in max(0, c - above)...min(channels - 1, c + below) { sum += buffer[channels + i] }
                        target[row * channels + c] =
                            p[c] * power(buffer[c], -beta) - 2 * factor * beta * q[c] * sum
                    }
                }
            }
        }
    }
}

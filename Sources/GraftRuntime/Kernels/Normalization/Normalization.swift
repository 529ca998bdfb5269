import GraftCore
import GraftIR

/// BatchNormalization, InstanceNormalization, LayerNormalization, GroupNormalization.
enum NormalizationKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "BatchNormalization", widens: true,
                prepare: { (BatchStatistics.Settings($0), BatchNormSettings($0)) },
                run: { settings, context in
                    if let training = settings.0 { return try BatchStatistics.normalize(context, training) }
                    try batchNormalization(context, settings.1)
                }),
            .function(
                "InstanceNormalization", widens: true, prepare: { $0.attributes.float("epsilon") ?? 1e-5 },
                run: { epsilon, context in
                    let x = try context.plain(0, .float32)
                    guard x.rank >= 2 else { throw KernelFailure("an input with \(x.rank) axes") }
                    let (scale, bias) = (try context.numbers(1), try context.numbers(2))
                    guard scale.count == x.shape[1], bias.count == x.shape[1] else {
                        throw KernelFailure("scale or B does not fit \(x.shape[1]) channels")
                    }
                    let y = try context.output(0, .float32, x.shape)
                    let points = x.count / max(1, x.shape[0] * x.shape[1])
                    normalizeRows(x, y, length: points, parts: 1, epsilon: epsilon) { row in
                        (scale[row % scale.count], bias[row % scale.count])
                    }
                }),
            .function(
                "GroupNormalization", widens: true, prepare: { GroupSettings($0) },
                run: { try groupNormalization($1, $0) }),
            .function(
                "LayerNormalization", widens: true,
                prepare: { ($0.attributes.int("axis") ?? -1, $0.attributes.float("epsilon") ?? 1e-5) },
                run: { try layerNormalization($1, axis: $0.0, epsilon: $0.1) }),
        ]
    }

    struct BatchNormSettings: Sendable {
        let epsilon: Float

        init(_ node: KernelNode) { epsilon = node.attributes.float("epsilon") ?? 1e-5 }
    }

    /// y = x s + b with s = scale / sqrt(var + epsilon) and b = B - mean s, for each channel.
    static func batchNormalization(_ context: KernelContext, _ settings: BatchNormSettings) throws {
        let (shape, layout, type) = try {
            let x = try context.input(0)
            return (x.shape, x.layout, x.elementType)
        }()
        guard type == .float32, shape.count >= 2 else { throw KernelFailure("an input \(type.name) \(shape)") }
        var scale = try context.numbers(1)
        var shift = try context.numbers(2)
        let (mean, variance) = (try context.numbers(3), try context.numbers(4))
        let channels = shape[1]
        guard [scale, shift, mean, variance].allSatisfy({ $0.count == channels }) else {
            throw KernelFailure("scale, B, mean and var do not fit \(channels) channels")
        }
        for c in 0..<channels {
            scale[c] /= (variance[c] + settings.epsilon).squareRoot()
            shift[c] -= mean[c] * scale[c]
        }
        let y = try context.output(0, reusing: 0, .float32, shape, layout: layout)
        affineChannels(try context.input(0), y, scale, shift)
    }

    /// y = x s + b along axis 1, in any memory order; both tensors have the same.
    static func affineChannels(_ x: RuntimeTensor, _ y: RuntimeTensor, _ scale: [Float], _ shift: [Float]) {
        let channels = scale.count
        guard channels > 0, x.count > 0 else { return }
        let (source, target) = (x.floats, y.floats)
        scale.withUnsafeBufferPointer { scale in
            shift.withUnsafeBufferPointer { shift in
                if x.layout == .channelsLast || x.rank == 2 {
                    Parallel.forEachRange(x.count / channels, grain: max(1, 8192 / channels)) { range in
                        for row in range {
                            let (from, to) = (source + row * channels, target + row * channels)
                            for c in 0..<channels { to[c] = from[c] * scale[c] + shift[c] }
                        }
                    }
                } else {
                    let points = x.spatialCount
                    Parallel.forEachRange(x.shape[0] * channels, grain: max(1, 8192 / max(1, points))) { range in
                        for plane in range {
                            let (from, to) = (source + plane * points, target + plane * points)
                            let (s, b) = (scale[plane % channels], shift[plane % channels])
                            for index in 0..<points { to[index] = from[index] * s + b }
                        }
                    }
                }
            }
        }
    }

    struct GroupSettings: Sendable {
        let epsilon: Float
        let groups: Int
        let perGroup: Bool

        init(_ node: KernelNode) {
            epsilon = node.attributes.float("epsilon") ?? 1e-5
            groups = node.attributes.int("num_groups") ?? 1
            // Opset 18 has a scale for each group, opset 21 one for each channel.
            perGroup = node.opset < 21
        }
    }

    static func groupNormalization(_ context: KernelContext, _ settings: GroupSettings) throws {
        let x = try context.plain(0, .float32)
        guard x.rank >= 2, settings.groups > 0, x.shape[1] % settings.groups == 0 else {
            throw KernelFailure("\(settings.groups) groups do not fit the shape \(x.shape)")
        }
        let (scale, bias) = (try context.numbers(1), try context.numbers(2))
        let (channels, points) = (x.shape[1], x.spatialCount)
        let size = channels / settings.groups
        let wanted = settings.perGroup ? settings.groups : channels
        guard scale.count == wanted, bias.count == wanted else { throw KernelFailure("scale or bias does not fit") }
        let y = try context.output(0, .float32, x.shape)
        normalizeRows(x, y, length: size * points, parts: size, epsilon: settings.epsilon) { part in
            let place = settings.perGroup ? part / size % settings.groups : part % channels
            return (scale[place], bias[place])
        }
    }

    /// Subtracts each row's mean and divides by its standard deviation, then scales and shifts each of the equal parts
    /// of the row by numbers of its own.
    private static func normalizeRows(
        _ x: RuntimeTensor, _ y: RuntimeTensor, length: Int, parts: Int, epsilon: Float,
        _ affine: (_ part: Int) -> (Float, Float)
    ) {
        guard length > 0 else { return }
        let (source, target, width) = (x.floats, y.floats, length / parts)
        Parallel.forEachRange(x.count / length, grain: max(1, 8192 / length)) { range in
            for row in range {
                let (mean, variance) = moments(source + row * length, length)
                let inverse = 1 / (variance + epsilon).squareRoot()
                for part in (row * parts)..<((row + 1) * parts) {
                    let (from, to) = (source + part * width, target + part * width)
                    let (s, b) = affine(part)
                    let factor = s * inverse
                    for index in 0..<width { to[index] = (from[index] - mean) * factor + b }
                }
            }
        }
    }

    static func layerNormalization(_ context: KernelContext, axis: Int, epsilon: Float) throws {
        let x = try context.plain(0, .float32)
        let first = try normalizedAxis(axis, rank: x.rank)
        let shape = x.shape
        let length = shape[first...].reduce(1, *)
        let rows = shape[..<first].reduce(1, *)
        let scale = try context.plain(1, .float32)
        let bias = context.has(2) ? try context.plain(2, .float32) : nil
        let inner = Array(shape[first...])
        func spread(_ tensor: RuntimeTensor) throws -> RuntimeTensor {
            if tensor.count == length { return tensor }
            guard try Broadcast.shape([tensor.shape, inner]) == inner else {
                throw KernelFailure("scale or bias of shape \(tensor.shape) does not fit \(inner)")
            }
            let result = try context.temporary(.float32, inner)
            let walk = Broadcast([tensor], shape: inner, layout: .rowMajor)
            for index in 0..<length { result.floats[index] = tensor.floats[walk.offsets(of: index)[0]] }
            return result
        }
        let (s, b) = (try spread(scale).floats, try bias.map { try spread($0) }?.floats)
        let y = try context.output(0, .float32, shape)
        let reduced = Array(shape[..<first]) + Array(repeating: 1, count: shape.count - first)
        let means = try context.output(1, .float32, reduced)
        let inverses = try context.output(2, .float32, reduced)
        guard length > 0 else { return }
        let (source, target, mean, inverse) = (x.floats, y.floats, means.floats, inverses.floats)
        Parallel.forEachRange(rows, grain: max(1, 8192 / length)) { range in
            for row in range {
                let (from, to) = (source + row * length, target + row * length)
                let (m, v) = moments(from, length)
                let i = 1 / (v + epsilon).squareRoot()
                mean[row] = m
                inverse[row] = i
                if let b {
                    for index in 0..<length { to[index] = (from[index] - m) * i * s[index] + b[index] }
                } else {
                    for index in 0..<length { to[index] = (from[index] - m) * i * s[index] }
                }
            }
        }
    }
}

/// The mean and the (biased) variance of numbers, in two passes over sixteen lanes.
func moments(_ values: UnsafePointer<Float>, _ count: Int) -> (mean: Float, variance: Float) {
    let mean = sum(values, count) / Float(count)
    var lanes = SIMD16<Float>(repeating: 0)
    var index = 0
    let raw = UnsafeRawPointer(values)
    while index + 16 <= count {
        let difference = raw.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self) - mean
        lanes += difference * difference
        index += 16
    }
    var total = lanes.sum()
    while index < count {
        total += (values[index] - mean) * (values[index] - mean)
        index += 1
    }
    return (mean, total / Float(count))
}

/// The sum of numbers over sixteen lanes; the order of additions depends on the count only.
func sum(_ values: UnsafePointer<Float>, _ count: Int) -> Float {
    var lanes = SIMD16<Float>(repeating: 0)
    var index = 0
    let raw = UnsafeRawPointer(values)
    while index + 16 <= count {
        lanes += raw.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
        index += 16
    }
    var total = lanes.sum()
    while index < count {
        total += values[index]
        index += 1
    }
    return total
}

import GraftCore
import GraftIR

/// Normalisations of onnxruntime's domain: of a sum with a skip connection, of embeddings, by the root mean square.
enum ContributedNormalizationKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "LayerNormalization", domain: contributedDomain, widens: true,
                prepare: { ($0.attributes.int("axis") ?? -1, $0.attributes.float("epsilon") ?? 1e-5) },
                run: { try NormalizationKernels.layerNormalization($1, axis: $0.0, epsilon: $0.1) }),
            simplified(""),
            simplified(contributedDomain),
            .function(
                "SkipLayerNormalization", domain: contributedDomain, widens: true,
                prepare: { $0.attributes.float("epsilon") ?? 1e-12 },
                run: { epsilon, context in
                    try skip(context, RowScaling(centres: true, epsilon: epsilon), bias: 4, shift: 3)
                }),
            .function(
                "SkipSimplifiedLayerNormalization", domain: contributedDomain, widens: true,
                prepare: { $0.attributes.float("epsilon") ?? 1e-12 },
                run: { epsilon, context in
                    try skip(context, RowScaling(centres: false, epsilon: epsilon), bias: 3, shift: nil)
                }),
            .function(
                "EmbedLayerNormalization", domain: contributedDomain, widens: true,
                prepare: { $0.attributes.float("epsilon") ?? 1e-12 }, run: { try embed($1, epsilon: $0) }),
        ]
    }

    private static func simplified(_ domain: String) -> KernelDefinition {
        .function(
            "SimplifiedLayerNormalization", domain: domain, widens: true,
            prepare: { ($0.attributes.int("axis") ?? -1, $0.attributes.float("epsilon") ?? 1e-5) },
            run: { settings, context in
                let (x, scale) = (try context.plain(0, .float32), try context.plain(1, .float32))
                let first = try normalizedAxis(settings.0, rank: x.rank)
                let length = x.shape[first...].reduce(1, *)
                let rows = x.shape[..<first].reduce(1, *)
                guard scale.count == length else { throw KernelFailure("a scale of \(scale.count) for \(x.shape)") }
                let y = try context.output(0, .float32, x.shape)
                let inverse = try context.output(
                    1, .float32, Array(x.shape[..<first]) + Array(repeating: 1, count: x.rank - first))
                let scaling = RowScaling(centres: false, epsilon: settings.1)
                scaling.run(
                    x.floats, y.floats, scale.floats, nil, means: nil, inverses: inverse.floats, rows: rows,
                    length: length)
            })
    }

    /// Normalises input + skip + bias; the sum is output 3.
    private static func skip(_ context: KernelContext, _ scaling: RowScaling, bias: Int, shift: Int?) throws {
        let (x, other) = (try context.plain(0, .float32), try context.plain(1, .float32))
        let scale = try context.plain(2, .float32)
        let beta = try shift.flatMap { context.has($0) ? try context.plain($0, .float32) : nil }
        let added = context.has(bias) ? try context.plain(bias, .float32) : nil
        let length = x.shape.last ?? 0
        guard x.rank >= 1, length > 0, scale.count == length, beta?.count ?? length == length,
            added?.count ?? length == length, other.shape.last == length, x.count % max(1, other.count) == 0,
            other.count > 0 || x.count == 0
        else {
            throw KernelFailure("an input of shape \(x.shape), a skip of shape \(other.shape), \(scale.count) scales")
        }
        let y = try context.output(0, .float32, x.shape)
        let reduced = Array(x.shape.dropLast()) + [1]
        let means = try context.output(1, .float32, reduced)
        let inverses = try context.output(2, .float32, reduced)
        let sum = try context.output(3, .float32, x.shape)
        let (a, b, to, bias) = (x.floats, other.floats, sum.floats, added?.floats)
        let (rows, period) = (x.count / length, max(1, other.count / length))
        Parallel.forEachRange(rows, grain: max(1, 16384 / length)) { range in
            for row in range {
                let (first, second) = (a + row * length, b + row % period * length)
                let target = to + row * length
                if let bias {
                    for index in 0..<length { target[index] = first[index] + second[index] + bias[index] }
                } else {
                    for index in 0..<length { target[index] = first[index] + second[index] }
                }
            }
        }
        scaling.run(
            sum.floats, y.floats, scale.floats, beta?.floats, means: means.floats, inverses: inverses.floats,
            rows: rows, length: length)
    }

    /// The normalised sum of the embeddings of words, positions and segments.
    private static func embed(_ context: KernelContext, epsilon: Float) throws {
        let ids = try context.integers(0)
        let shape = try context.plain(0).shape
        let segments = try context.optionalIntegers(1)
        let positions = try context.optionalIntegers(8)
        let (words, places) = (try context.plain(2, .float32), try context.plain(3, .float32))
        let kinds = context.has(4) ? try context.plain(4, .float32) : nil
        let (scale, shift) = (try context.plain(5, .float32), try context.plain(6, .float32))
        let width = words.shape.last ?? 0
        guard shape.count == 2, words.rank == 2, places.rank == 2, width > 0, places.shape[1] == width,
            kinds.map({ $0.rank == 2 && $0.shape[1] == width }) ?? true, scale.count == width, shift.count == width,
            segments?.count ?? ids.count == ids.count, (segments == nil) == (kinds == nil),
            positions.map({ $0.count == ids.count || $0.count == shape[1] }) ?? true
        else {
            throw KernelFailure("embeddings of shapes \(words.shape) and \(places.shape) for ids of shape \(shape)")
        }
        func check(_ rows: [Int]?, _ table: RuntimeTensor?, _ name: String) throws {
            guard let rows, let table else { return }
            for row in rows where row < 0 || row >= table.shape[0] {
                throw KernelFailure("the \(name) \(row) is outside a table of \(table.shape[0]) rows")
            }
        }
        try check(ids, words, "word")
        try check(segments, kinds, "segment")
        try check(positions ?? (shape[1] > 0 ? [shape[1] - 1] : []), places, "position")
        let y = try context.output(0, .float32, shape + [width])
        let counts = try context.output(1, .int32, [shape[0]]).typed(Int32.self)
        let sum = try context.output(2, .float32, shape + [width])
        let mask = try context.optionalIntegers(7)
        if let mask, mask.count != ids.count { throw KernelFailure("a mask of \(mask.count) for \(ids.count) words") }
        for sample in 0..<shape[0] {
            counts[sample] = 0
            guard let mask else { continue }
            for index in sample * shape[1]..<(sample + 1) * shape[1] where mask[index] == 1 { counts[sample] += 1 }
        }
        let target = sum.floats
        Parallel.forEachRange(ids.count, grain: max(1, 8192 / width)) { range in
            for row in range {
                let place = positions.map { $0[row % $0.count] } ?? row % shape[1]
                let (word, position) = (words.floats + ids[row] * width, places.floats + place * width)
                let to = target + row * width
                for index in 0..<width { to[index] = word[index] + position[index] }
                if let kinds, let segments {
                    let kind = kinds.floats + segments[row] * width
                    for index in 0..<width { to[index] += kind[index] }
                }
            }
        }
        RowScaling(centres: true, epsilon: epsilon).run(
            sum.floats, y.floats, scale.floats, shift.floats, means: nil, inverses: nil, rows: ids.count,
            length: width)
    }
}

/// Divides rows by their deviation, or by their root mean square where they are not centred.
struct RowScaling {
    let centres: Bool
    let epsilon: Float

    func run(
        _ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<Float>, _ scale: UnsafePointer<Float>,
        _ shift: UnsafePointer<Float>?, means: UnsafeMutablePointer<Float>?, inverses: UnsafeMutablePointer<Float>?,
        rows: Int, length: Int
    ) {
        guard length > 0 else { return }
        Parallel.forEachRange(rows, grain: max(1, 8192 / length)) { range in
            for row in range {
                let (from, to) = (source + row * length, target + row * length)
                var (mean, square) = moments(from, length)
                if !centres { (mean, square) = (0, square + mean * mean) }
                let inverse = 1 / (square + epsilon).squareRoot()
                means?[row] = mean
                inverses?[row] = inverse
                if let shift {
                    for index in 0..<length { to[index] = (from[index] - mean) * inverse * scale[index] + shift[index] }
                } else {
                    for index in 0..<length { to[index] = (from[index] - mean) * inverse * scale[index] }
                }
            }
        }
    }
}

import GraftCore
import GraftIR

/// Rotary position embeddings of ONNX's own domain, and their gradient: the rotation back.
enum RotaryEmbeddingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "RotaryEmbedding", opsets: 23...KernelRegistry.newestOpset, widens: true,
                prepare: { Settings($0) }, run: { try rotate($1, $0, back: false) }),
            .function(
                "RotaryEmbeddingGrad", domain: graftDomain, widens: true,
                prepare: { Settings($0) }, run: { try rotate($1, $0, back: true) }),
        ]
    }

    struct Settings: Sendable {
        let heads: Int
        let width: Int
        let isInterleaved: Bool

        init(_ node: KernelNode) {
            heads = node.attributes.int("num_heads") ?? 0
            width = node.attributes.int("rotary_embedding_dim") ?? 0
            isInterleaved = node.attributes.int("interleaved") ?? 0 != 0
        }
    }

    private static func rotate(_ context: KernelContext, _ settings: Settings, back: Bool) throws {
        let x = try context.plain(0, .float32)
        let (cosines, sines) = (try context.plain(1, .float32), try context.plain(2, .float32))
        guard x.rank == 3 || x.rank == 4, x.rank == 4 || settings.heads > 0 else {
            throw KernelFailure("an input of shape \(x.shape) with num_heads \(settings.heads)")
        }
        let isFlat = x.rank == 3
        let heads = isFlat ? settings.heads : x.shape[1]
        guard heads > 0 || !isFlat, !isFlat || x.shape[2] % heads == 0 else {
            throw KernelFailure("rows of \(x.shape[2]) do not divide into \(heads) heads")
        }
        let size = isFlat ? x.shape[2] / heads : x.shape[3]
        let (batch, length) = (x.shape[0], x.shape[isFlat ? 1 : 2])
        let width = settings.width == 0 ? size : settings.width
        guard width >= 0, width <= size, width % 2 == 0 else {
            throw KernelFailure("a rotation of \(width) elements in heads of \(size)")
        }
        let rows = try RotaryTable(
            cosines, sines, positions: try context.optionalIntegers(3), batch: batch, length: length, half: width / 2)
        let y = try context.output(0, .float32, x.shape)
        let source = isFlat ? HeadRows(x, rows: length, width: x.shape[2], size: size) : try HeadRows(x)
        let target = isFlat ? HeadRows(y, rows: length, width: x.shape[2], size: size) : try HeadRows(y)
        rows.rotate(
            source, target, batch: batch, heads: heads, length: length, size: size,
            isInterleaved: settings.isInterleaved, sign: back ? -1 : 1)
    }
}

/// The cosines and sines of each position of each sample.
struct RotaryTable {
    private let cosines: RuntimeTensor
    private let sines: RuntimeTensor
    private let half: Int
    /// The row of the tables for (sample, position).
    private let rows: [Int]

    /// - Parameter positions: the rows of two-axis tables, one for each position of each sample, or one that a sample's
    ///   first position has; nil for tables with a row for each position of each sample.
    init(
        _ cosines: RuntimeTensor, _ sines: RuntimeTensor, positions: [Int]?, batch: Int, length: Int, half: Int
    ) throws {
        guard cosines.shape == sines.shape, cosines.rank == (positions == nil ? 3 : 2),
            cosines.shape[cosines.rank - 1] == half
        else {
            throw KernelFailure(
                "tables of shapes \(cosines.shape) and \(sines.shape) do not fit a rotation of \(2 * half) elements")
        }
        (self.cosines, self.sines, self.half) = (cosines, sines, half)
        guard let count = Checked.product([batch, length]) else { throw KernelFailure("too many positions") }
        if let positions {
            switch positions.count {
            case count: rows = positions
            case 1: rows = (0..<count).map { positions[0] &+ $0 % length }
            case batch: rows = (0..<count).map { positions[$0 / length] &+ $0 % length }
            default: throw KernelFailure("\(positions.count) positions for \(batch) samples of \(length)")
            }
            for row in rows where row < 0 || row >= cosines.shape[0] {
                throw KernelFailure("the position \(row) is outside tables of \(cosines.shape[0]) rows")
            }
        } else {
            guard cosines.shape[0] == batch, cosines.shape[1] == length else {
                throw KernelFailure("tables of shape \(cosines.shape) for \(batch) samples of \(length)")
            }
            rows = Array(0..<count)
        }
    }

    /// Turns the first `2 * half` elements of each head, and copies the rest.
    func rotate(
        _ source: HeadRows, _ target: HeadRows, batch: Int, heads: Int, length: Int, size: Int, isInterleaved: Bool,
        sign: Float
    ) {
        let (cosines, sines) = (cosines.floats, sines.floats)
        rows.withUnsafeBufferPointer { rows in
            Parallel.forEachRange(batch * heads * length, grain: max(1, 16384 / max(1, size))) { range in
                for index in range {
                    let (plane, position) = (index / length, index % length)
                    let (sample, head) = (plane / heads, plane % heads)
                    let row = rows[sample * length + position] * half
                    let (c, s) = (cosines + row, sines + row)
                    let from = source.row(Float.self, sample, head, position)
                    let to = target.row(Float.self, sample, head, position)
                    for pair in 0..<half {
                        let (first, second) = isInterleaved ? (2 * pair, 2 * pair + 1) : (pair, pair + half)
                        let (a, b, sine) = (from[first], from[second], s[pair] * sign)
                        to[first] = a * c[pair] - b * sine
                        to[second] = b * c[pair] + a * sine
                    }
                    for rest in 2 * half..<max(2 * half, size) { to[rest] = from[rest] }
                }
            }
        }
    }
}

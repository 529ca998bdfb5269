import GraftCore
import GraftIR

/// The attributes of QuantizeLinear and DequantizeLinear.
struct QuantizationSettings: Sendable {
    let axis: Int
    let blockSize: Int
    let outputType: ElementType?
    let precision: ElementType?
    let saturates: Bool

    init(_ node: KernelNode) throws {
        func type(_ name: String) throws -> ElementType? {
            guard let code = node.attributes.int(name), code != 0 else { return nil }
            guard let value = Int32(exactly: code), let type = ElementType(rawValue: value) else {
                throw KernelFailure("\(name) \(code) names no type")
            }
            return type
        }
        axis = node.attributes.int("axis") ?? 1
        blockSize = node.attributes.int("block_size") ?? 0
        outputType = try type("output_dtype")
        precision = try type("precision")
        saturates = node.attributes.int("saturate") ?? 1 != 0
        guard blockSize >= 0 else { throw KernelFailure("block_size is \(blockSize)") }
    }
}

/// Which scale belongs to which element of a tensor: runs of elements that lie together, each with one scale or with
/// neighbouring scales.
struct QuantizationGrid {
    /// One run.
    struct Run {
        let start: Int
        let count: Int
        let scale: Int
    }

    private enum Kind { case tensor, axis, lastAxis, blocks, lastBlocks }

    /// The number of runs.
    let runs: Int
    /// How far the scales of neighbouring elements of a run are apart: 0 or 1.
    let step: Int
    private let kind: Kind
    private let length: Int
    private let inner: Int
    private let blockSize: Int
    private let total: Int
    private static let piece = 16384

    /// The grid of a tensor in its own memory order; blocks need row-major order.
    init(_ x: RuntimeTensor, scales: RuntimeTensor, _ settings: QuantizationSettings) throws {
        total = x.count
        if scales.count == 1, scales.rank <= 1 || settings.blockSize == 0 {
            (kind, runs, step) = (.tensor, (x.count + Self.piece - 1) / Self.piece, 0)
            (length, inner, blockSize) = (1, 1, 1)
            return
        }
        let axis = try normalizedAxis(settings.axis, rank: x.rank)
        let outer: Int
        (outer, length, inner) = x.around(axis)
        if settings.blockSize == 0 {
            guard scales.rank == 1, scales.count == x.shape[axis] else {
                throw KernelFailure("scales of shape \(scales.shape) do not fit axis \(axis) of shape \(x.shape)")
            }
            blockSize = 1
            (kind, runs, step) = inner == 1 ? (.lastAxis, outer, 1) : (.axis, outer * length, 0)
            return
        }
        var expected = x.shape
        expected[axis] = (x.shape[axis] + settings.blockSize - 1) / settings.blockSize
        guard scales.shape == expected else {
            throw KernelFailure(
                "scales of shape \(scales.shape) do not fit blocks of \(settings.blockSize) along axis \(axis) of "
                    + "shape \(x.shape)")
        }
        blockSize = settings.blockSize
        (kind, runs, step) = inner == 1 ? (.lastBlocks, outer * expected[axis], 0) : (.blocks, outer * length, 1)
    }

    /// A run by its number.
    @inline(__always) func run(_ index: Int) -> Run {
        switch kind {
        case .tensor:
            let start = index * Self.piece
            return Run(start: start, count: min(Self.piece, total - start), scale: 0)
        case .axis: return Run(start: index * inner, count: inner, scale: index % length)
        case .lastAxis: return Run(start: index * length, count: length, scale: 0)
        case .blocks:
            let blocks = (length + blockSize - 1) / blockSize
            return Run(
                start: index * inner, count: inner,
                scale: (index / length * blocks + index % length / blockSize) * inner)
        case .lastBlocks:
            let blocks = (length + blockSize - 1) / blockSize
            let start = index % blocks * blockSize
            return Run(start: index / blocks * length + start, count: min(blockSize, length - start), scale: index)
        }
    }

    /// How many runs are worth a thread.
    var grain: Int { max(1, 16384 / max(1, total / max(1, runs))) }
}

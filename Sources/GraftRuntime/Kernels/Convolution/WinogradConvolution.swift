import CNumerics
import COneDNN
import GraftCore

/// A convolution with windows of 3 by 3 next to each other by Winograd's algorithm, between tensors in blocks of
/// channels.
///
/// Its largest error, measured against 64-bit arithmetic on normally distributed data, is 3e-6 of the result's scale,
/// where the direct algorithm has 3e-7. The weights stay as they are in memory and are transformed in each run, which
/// takes less time than reading transformed ones, four times as large, would.
struct WinogradConvolution {
    /// The post-operations from this position on are left to the caller.
    let postOperationCount: Int
    /// The input that is added to the result.
    let addend: Int?
    private let geometry: cwinograd_geometry
    private let tiles: Int
    private let bounds: ClosedRange<Float>

    private static let block = Int(CWINOGRAD_BLOCK)

    /// nil where the algorithm does not apply or does not pay.
    init?(_ shape: ConvolutionShape, _ postOperations: [PostOperation]) {
        let (window, block, tile) = (shape.window, Self.block, Int(CWINOGRAD_TILE))
        guard cwinograd_is_available() != 0, window.kernel == [3, 3], window.strides == [1, 1],
            window.dilations == [1, 1], shape.weights.count == 4, shape.weights[0] % block == 0,
            shape.weights[1] % block == 0, shape.weights[0] >= 32, shape.weights[1] >= 32,
            window.begin.allSatisfy({ (0...2).contains($0) })
        else { return nil }
        let rows = (window.output[0] + tile - 1) / tile
        let columns = (window.output[1] + tile - 1) / tile
        tiles = shape.source[0] * rows * columns
        // The tiles at the edges are computed whole, and few tiles make the products of narrow matrices.
        let useful = Double(shape.source[0] * window.output[0] * window.output[1]) / Double(tiles * tile * tile)
        guard useful > 0.5, tiles >= 8 else { return nil }
        geometry = cwinograd_geometry(
            height: window.input[0], width: window.input[1], top: window.begin[0], left: window.begin[1],
            output_height: window.output[0], output_width: window.output[1], rows: rows, columns: columns,
            input_blocks: shape.weights[1] / block, output_blocks: shape.weights[0] / block)
        var rest = postOperations[...]
        if case .add(let input)? = rest.first {
            addend = input
            rest.removeFirst()
        } else {
            addend = nil
        }
        if case .activation(let activation)? = rest.first, let range = activation.range {
            bounds = range
            rest.removeFirst()
        } else {
            bounds = -.infinity ... .infinity
        }
        postOperationCount = postOperations.count - rest.count
    }

    /// The pointers of a run.
    struct Operands {
        let source: UnsafePointer<Float>
        let weights: UnsafePointer<Float>
        let bias: UnsafePointer<Float>?
        let addend: UnsafePointer<Float>?
        let target: UnsafeMutablePointer<Float>
    }

    /// Computes the convolution; scratch memory lives until the kernel returns.
    func run(_ operands: Operands, _ context: KernelContext) throws {
        // Weights that fit a cache beside the tiles of a thread, and tiles enough for their transform not to count.
        if Self.count(channels * geometry.output_blocks) <= 3 << 18, tiles >= 128 {
            try runTilesByThread(operands, context)
        } else {
            try runPanelsByThread(operands, context)
        }
    }

    private var channels: Int { geometry.input_blocks * Self.block }

    /// The numbers from one frequency to the next, for a count of blocks at each.
    private static func step(_ blocks: Int) -> Int { cwinograd_step(blocks) }

    /// The numbers of all frequencies, for a count of blocks at each.
    private static func count(_ blocks: Int) -> Int { Int(CWINOGRAD_FREQUENCIES) * step(blocks) }

    private func scratch(_ count: Int, _ context: KernelContext) throws -> UnsafeMutablePointer<Float> {
        try context.temporary(.float32, [count]).floats
    }

    /// Each thread takes a few tiles from the input to the result, for which its own cache is large enough; the
    /// transformed weights are shared.
    private func runTilesByThread(_ operands: Operands, _ context: KernelContext) throws {
        let (geometry, channels, tiles, most) = (geometry, channels, tiles, Int(CWINOGRAD_PANEL))
        let panels = (geometry.output_blocks + most - 1) / most
        let (weightStep, weightCount) = (Self.step(channels * most), Self.count(channels * most))
        let weights = try scratch(weightCount * panels, context)
        func width(_ panel: Int) -> Int { min(most, geometry.output_blocks - panel * most) }
        Parallel.forEachRange(channels, grain: 16) { range in
            for panel in 0..<panels {
                let target = weights + (panel * weightCount + range.lowerBound * width(panel) * Self.block)
                cwinograd_transform_weights(
                    operands.weights, channels, panel * most, width(panel), range.lowerBound, range.upperBound,
                    target, weightStep)
            }
        }
        // A multiple of the rows that a product holds in registers.
        let group = 18
        let groups = (tiles + group - 1) / group
        let workers = min(Parallel.threads, groups)
        let (inputStep, productStep) = (Self.step(geometry.input_blocks * group), Self.step(most * group))
        let inputCount = Self.count(geometry.input_blocks * group)
        let perWorker = inputCount + Self.count(most * group)
        let memory = try scratch(perWorker * workers, context)
        Parallel.forEachRange(workers) { range in
            for worker in range {
                let input = memory + worker * perWorker
                let products = input + inputCount
                for index in (groups * worker / workers)..<(groups * (worker + 1) / workers) {
                    let first = index * group
                    let count = min(group, tiles - first)
                    withUnsafePointer(to: geometry) {
                        cwinograd_transform_input(
                            operands.source, $0, first, count, 0, geometry.input_blocks, input, inputStep)
                        for panel in 0..<panels {
                            cwinograd_multiply(
                                input, inputStep, weights + panel * weightCount, weightStep, geometry.input_blocks,
                                count, width(panel), 0, products, productStep)
                            cwinograd_transform_output(
                                products, productStep, $0, first, count, panel * most, width(panel), operands.bias,
                                operands.addend, bounds.lowerBound, bounds.upperBound, operands.target)
                        }
                    }
                }
            }
        }
    }

    /// All threads transform many tiles; then each takes some of the output channels and transforms their weights, for
    /// as many input channels at once as its own cache is large enough for.
    private func runPanelsByThread(_ operands: Operands, _ context: KernelContext) throws {
        let (geometry, channels, tiles) = (geometry, channels, tiles)
        let (blocks, most, threads) = (geometry.output_blocks, Int(CWINOGRAD_PANEL), Parallel.threads)
        // As many panels for each thread, none wider than a product takes.
        let panels = min(blocks, ((blocks + most - 1) / most + threads - 1) / threads * threads)
        let workers = min(threads, panels)
        let group = max(24, min(tiles, (10 << 18) / (Int(CWINOGRAD_FREQUENCIES) * channels)))
        let part = 4 * Self.block
        let (inputStep, productStep) = (Self.step(geometry.input_blocks * group), Self.step(most * group))
        let weightStep = Self.step(part * most)
        let weightCount = Self.count(part * most)
        let perWorker = weightCount + Self.count(most * group)
        let input = try scratch(Self.count(geometry.input_blocks * group), context)
        let memory = try scratch(perWorker * workers, context)
        for first in stride(from: 0, to: tiles, by: group) {
            let count = min(group, tiles - first)
            Parallel.forEachRange(geometry.input_blocks) { range in
                withUnsafePointer(to: geometry) {
                    cwinograd_transform_input(
                        operands.source, $0, first, count, range.lowerBound, range.upperBound, input, inputStep)
                }
            }
            Parallel.forEachRange(workers) { range in
                for worker in range {
                    let weights = memory + worker * perWorker
                    let products = weights + weightCount
                    for panel in (panels * worker / workers)..<(panels * (worker + 1) / workers) {
                        let start = blocks * panel / panels
                        let width = blocks * (panel + 1) / panels - start
                        for channel in stride(from: 0, to: channels, by: part) {
                            let end = min(channel + part, channels)
                            cwinograd_transform_weights(
                                operands.weights, channels, start, width, channel, end, weights, weightStep)
                            cwinograd_multiply(
                                input + channel * count, inputStep, weights, weightStep,
                                (end - channel) / Self.block, count, width, channel > 0 ? 1 : 0, products, productStep)
                        }
                        withUnsafePointer(to: geometry) {
                            cwinograd_transform_output(
                                products, productStep, $0, first, count, start, width, operands.bias, operands.addend,
                                bounds.lowerBound, bounds.upperBound, operands.target)
                        }
                    }
                }
            }
        }
    }
}

extension Activation {
    /// The range that the function holds a number in, where it does nothing else.
    var range: ClosedRange<Float>? {
        switch algorithm {
        case GDNN_RELU where alpha == 0: 0 ... .infinity
        case GDNN_CLIP where alpha <= beta: alpha...beta
        default: nil
        }
    }
}

import CNumerics
import COneDNN
import GraftCore

/// A convolution with windows of 3 by 3 next to each other by Winograd's algorithm, between tensors in blocks of
/// channels.
///
/// Its largest error, measured against 64-bit arithmetic on normally distributed data, is 3e-6 of the result's scale,
/// where the direct algorithm has 3e-7; between rounded tensors the two are as exact. The weights stay as they are in memory and are transformed in each run, which
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
        guard let tiles = Checked.product([shape.source[0], rows, columns]),
            Checked.product([tiles, tile * tile]) != nil
        else { return nil }
        self.tiles = tiles
        // The tiles at the edges are computed whole, and few tiles make the products of narrow matrices.
        let useful = Double(shape.source[0] * window.output[0] * window.output[1]) / Double(tiles * tile * tile)
        guard useful > 0.5, tiles >= 4 else { return nil }
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

    /// The operands of a run.
    struct Operands {
        let source: RuntimeTensor
        /// Numbers of 32 bits, or of bfloat16 for a source that is rounded.
        let weights: UnsafeRawPointer
        let bias: UnsafePointer<Float>?
        /// What is added, in the order of the target.
        let addend: RuntimeTensor?
        let target: RuntimeTensor
    }

    /// Computes the convolution; scratch memory lives until the kernel returns.
    ///
    /// Sources in blocks of rounded numbers are multiplied as integers.
    func run(_ operands: Operands, _ context: KernelContext) throws {
        if operands.source.layout == .roundedBlocks {
            try run(IntegerWinograd(geometry: geometry, operands: operands, bounds: bounds), context)
        } else {
            try run(FloatWinograd(geometry: geometry, operands: operands, bounds: bounds), context)
        }
    }

    private func run(_ arithmetic: some WinogradArithmetic, _ context: KernelContext) throws {
        // Weights that fit a cache beside the tiles of a thread, and tiles enough for their transform not to count.
        if Self.count(channels * geometry.output_blocks) <= 3 << 18, tiles >= 128 {
            try runTilesByThread(arithmetic, context)
        } else {
            try runPanelsByThread(arithmetic, context)
        }
    }

    private var channels: Int { geometry.input_blocks * Self.block }

    /// The numbers from one frequency to the next, for a count of blocks at each.
    private static func step(_ blocks: Int) -> Int { cwinograd_step(blocks) }

    /// The numbers of all frequencies, for a count of blocks at each.
    private static func count(_ blocks: Int) -> Int { Int(CWINOGRAD_FREQUENCIES) * step(blocks) }

    /// Memory for parts of numbers, for a count of blocks at each frequency and a count of scales.
    private struct Scratch<Number: BitwiseCopyable> {
        private let numbers: UnsafeMutablePointer<Number>
        private let scales: UnsafeMutablePointer<Float>
        private let (blocks, scaleCount): (Int, Int)

        init(_ parts: Int, blocks: Int, scales scaleCount: Int, _ context: KernelContext) throws {
            (self.blocks, self.scaleCount) = (blocks, scaleCount)
            let bytes = WinogradConvolution.count(blocks) * MemoryLayout<Number>.stride * parts
            numbers = try context.temporary(.uint8, [bytes]).typed(Number.self)
            scales = try context.temporary(.float32, [scaleCount * parts]).floats
        }

        func part(_ index: Int) -> WinogradNumbers<Number> {
            WinogradNumbers(
                numbers: numbers + index * WinogradConvolution.count(blocks), step: WinogradConvolution.step(blocks),
                scales: scales + index * scaleCount)
        }
    }

    /// Each thread takes a few tiles from the input to the result, for which its own cache is large enough; the
    /// transformed weights are shared.
    private func runTilesByThread<A: WinogradArithmetic>(_ arithmetic: A, _ context: KernelContext) throws {
        let (channels, tiles, most) = (channels, tiles, Int(CWINOGRAD_PANEL))
        let (chunk, blocks) = (A.channelsAtOnce, geometry.output_blocks)
        let (chunks, panels) = ((channels + chunk - 1) / chunk, (blocks + most - 1) / most)
        let weights = try Scratch<A.Number>(
            panels, blocks: channels * most, scales: chunks * most * Self.block, context)
        func panel(_ index: Int) -> Range<Int> { (index * most)..<min(index * most + most, blocks) }
        Parallel.forEachRange(chunks) { range in
            for index in 0..<panels {
                let (panel, start) = (panel(index), range.lowerBound * chunk)
                arithmetic.transformWeights(
                    panel, start..<min(range.upperBound * chunk, channels),
                    into: weights.part(index).dropping(
                        start * panel.count * Self.block, scales: range.lowerBound * panel.count * Self.block))
            }
        }
        // A multiple of the rows that a product holds in registers.
        let group = 18
        let groups = (tiles + group - 1) / group
        let workers = min(Parallel.threads, groups)
        let inputs = try Scratch<A.Number>(
            workers, blocks: geometry.input_blocks * group, scales: chunks * group, context)
        let sums = try Scratch<Float>(workers, blocks: most * group, scales: 0, context)
        Parallel.forEachRange(workers) { range in
            for worker in range {
                let (input, products) = (inputs.part(worker), sums.part(worker))
                for index in (groups * worker / workers)..<(groups * (worker + 1) / workers) {
                    let part = (index * group)..<min(index * group + group, tiles)
                    arithmetic.transformInput(part, chunks: 0..<chunks, into: input)
                    for index in 0..<panels {
                        let panel = panel(index)
                        arithmetic.multiply(
                            input, weights.part(index), blocks: arithmetic.geometry.input_blocks, tiles: part.count,
                            panel: panel.count, adds: false, products, ahead: nil)
                        arithmetic.transformOutput(products, part, panel)
                    }
                }
            }
        }
    }

    /// All threads transform many tiles; then each takes some of the output channels and transforms their weights, for
    /// as many input channels at once as its own cache is large enough for.
    private func runPanelsByThread<A: WinogradArithmetic>(_ arithmetic: A, _ context: KernelContext) throws {
        let (channels, tiles) = (channels, tiles)
        let (blocks, most, threads) = (geometry.output_blocks, Int(CWINOGRAD_PANEL), Parallel.threads)
        // As many panels for each thread, none wider than a product takes.
        let panels = min(blocks, ((blocks + most - 1) / most + threads - 1) / threads * threads)
        let workers = min(threads, panels)
        let group = max(24, min(tiles, (10 << 18) / (Int(CWINOGRAD_FREQUENCIES) * channels)))
        let (chunk, part) = (A.channelsAtOnce, 2 * Self.block)
        let chunks = (channels + chunk - 1) / chunk
        let inputs = try Scratch<A.Number>(
            1, blocks: geometry.input_blocks * group, scales: chunks * group, context)
        let filters = try Scratch<A.Number>(
            workers, blocks: part * most, scales: part / chunk * most * Self.block, context)
        let sums = try Scratch<Float>(workers, blocks: most * group, scales: 0, context)
        let input = inputs.part(0)
        func panel(_ index: Int) -> Range<Int> { (blocks * index / panels)..<(blocks * (index + 1) / panels) }
        for first in stride(from: 0, to: tiles, by: group) {
            let group = first..<min(first + group, tiles)
            Parallel.forEachRange(chunks) { arithmetic.transformInput(group, chunks: $0, into: input) }
            Parallel.forEachRange(workers) { range in
                for worker in range {
                    let (weights, products) = (filters.part(worker), sums.part(worker))
                    for index in (panels * worker / workers)..<(panels * (worker + 1) / workers) {
                        let panel = panel(index)
                        for channel in stride(from: 0, to: channels, by: part) {
                            let end = min(channel + part, channels)
                            // The first of the next panel follow the last of this one, where that is the thread's too.
                            let ahead =
                                end < channels
                                ? WinogradFilters(blocks: panel, channels: end..<min(end + part, channels))
                                : WinogradFilters(
                                    blocks: panel.upperBound..<min(panel.upperBound + panel.count, blocks),
                                    channels: 0..<min(part, channels))
                            arithmetic.transformWeights(panel, channel..<end, into: weights)
                            arithmetic.multiply(
                                input.dropping(channel * group.count, scales: channel / chunk * group.count), weights,
                                blocks: (end - channel) / Self.block, tiles: group.count, panel: panel.count,
                                adds: channel > 0, products, ahead: ahead)
                        }
                        arithmetic.transformOutput(products, group, panel)
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

import CNumerics
import COneDNN
import GraftCore

/// A convolution with a filter for each channel, between tensors in blocks of channels; with the 1 by 1 convolution before
/// it where there is one.
struct DepthwiseConvolution {
    /// The post-operations from this position on are left to the caller.
    let postOperationCount: Int
    private let geometry: cdepthwise_geometry
    private let images: Int
    private let channels: Int
    private let activation: cdepthwise_activation

    /// nil where the window or the processor does not suit.
    ///
    /// - Parameter target: the shape of the result, (N, C, height, width).
    init?(_ window: WindowGeometry, target: [Int], _ postOperations: [PostOperation]) {
        guard cdepthwise_is_available() != 0, target.count == 4, Self.suits(window.kernel),
            window.strides == [1, 1] || window.strides == [2, 2], window.dilations == [1, 1],
            window.begin.allSatisfy({ (0..<window.kernel[0]).contains($0) })
        else { return nil }
        (images, channels) = (target[0], target[1])
        geometry = cdepthwise_geometry(
            height: window.input[0], width: window.input[1], output_height: target[2], output_width: target[3],
            size: window.kernel[0], stride: window.strides[0], top: window.begin[0], left: window.begin[1])
        if case .activation(let first)? = postOperations.first, let activation = first.ofDepthwise {
            self.activation = activation
            postOperationCount = 1
        } else {
            activation = .nothing
            postOperationCount = 0
            // What follows would have to know which channels only fill up a block.
            guard postOperations.isEmpty || channels % Layout.block == 0 else { return nil }
        }
    }

    /// Whether there is code for a kernel's height and width.
    static func suits(_ kernel: [Int]) -> Bool {
        kernel.count == 2 && kernel[0] == kernel[1] && [3, 5, 7].contains(kernel[0])
    }

    /// The pointers of a run.
    struct Operands {
        /// The image, in blocks: the expansion's where there is one.
        let source: RuntimeTensor
        /// A block after the other, each (height, width, 16).
        let weights: UnsafePointer<Float>
        /// A number for each channel.
        let bias: UnsafePointer<Float>?
        let target: RuntimeTensor
    }

    /// What one call of the C code computes: rows of some blocks of an image.
    private struct Part {
        let image: Int
        let panel: Int
        let blocks: Range<Int>
        let rows: Range<Int>
        let strip: Int
        let scratch: UnsafeMutablePointer<Float>
    }

    /// The blocks of channels in the parts that are computed at once: as many parts for each thread as for the next.
    static func panels(_ channels: Int) -> [Range<Int>] {
        let (blocks, most) = ((channels + Layout.block - 1) / Layout.block, Int(CDEPTHWISE_PANEL))
        let least = (blocks + most - 1) / most
        let threads = Parallel.threads
        let count = min(blocks, (least + threads - 1) / threads * threads)
        return (0..<count).map { (blocks * $0 / count)..<(blocks * ($0 + 1) / count) }
    }

    /// Computes the convolution; scratch memory lives until the kernel returns.
    ///
    /// Sources in blocks of rounded numbers are multiplied as such, and take rounded expansions.
    func run(_ operands: Operands, _ expansion: PackedExpansion? = nil, _ context: KernelContext) throws {
        let panels = expansion?.panels ?? Self.panels(channels)
        guard images > 0, !panels.isEmpty, geometry.output_height > 0, geometry.output_width > 0 else { return }
        let blocks = (channels + Layout.block - 1) / Layout.block
        // Channels that fill up a block have no bias.
        let bias = try context.temporary(.float32, [blocks * Layout.block]).floats
        bias.update(repeating: 0, count: blocks * Layout.block)
        if let given = operands.bias { bias.update(from: given, count: channels) }
        if operands.source.layout == .roundedBlocks {
            try runRounded(operands, bias, expansion, panels, context)
        } else {
            try runWide(operands, bias, expansion, panels, context)
        }
    }

    private func runWide(
        _ operands: Operands, _ bias: UnsafePointer<Float>, _ expansion: PackedExpansion?, _ panels: [Range<Int>],
        _ context: KernelContext
    ) throws {
        let (geometry, activation, x, y) = (geometry, activation, operands.source, operands.target)
        let taps = geometry.size * geometry.size * Layout.block
        func scratch(_ panel: Int, _ strip: Int) -> Int {
            withUnsafePointer(to: geometry) { cdepthwise_scratch($0, panel, strip) }
        }
        try forEachPart(panels, scratch, context) { part in
            func run(_ expansion: UnsafePointer<cdepthwise_expansion>?) {
                withUnsafePointer(to: geometry) {
                    cdepthwise_run(
                        $0, x.floats + start(part, in: x, isWhole: expansion != nil), expansion,
                        operands.weights + part.blocks.lowerBound * taps, bias + part.blocks.lowerBound * Layout.block,
                        activation, part.blocks.count, part.rows.lowerBound, part.rows.upperBound, part.strip,
                        part.scratch, y.floats + start(part, in: y, isWhole: false))
                }
            }
            if let expansion { withUnsafePointer(to: expansion.part(part.panel)) { run($0) } } else { run(nil) }
        }
    }

    private func runRounded(
        _ operands: Operands, _ bias: UnsafePointer<Float>, _ expansion: PackedExpansion?, _ panels: [Range<Int>],
        _ context: KernelContext
    ) throws {
        let (geometry, activation, x, y) = (geometry, activation, operands.source, operands.target)
        let (taps, pairs) = (geometry.size * geometry.size * Layout.block, cdepthwise_pair_count(geometry.size))
        let blocks = (channels + Layout.block - 1) / Layout.block
        let weights = try context.temporary(.bfloat16, [blocks * pairs]).rounded
        for block in 0..<blocks {
            cdepthwise_pair_weights(operands.weights + block * taps, geometry.size, weights + block * pairs)
        }
        func scratch(_ panel: Int, _ strip: Int) -> Int {
            withUnsafePointer(to: geometry) { cdepthwise_rounded_scratch($0, panel, strip) }
        }
        let rounds = y.layout == .roundedBlocks
        try forEachPart(panels, scratch, context) { part in
            let place = start(part, in: y, isWhole: false)
            let target = rounds ? UnsafeMutableRawPointer(y.rounded + place) : UnsafeMutableRawPointer(y.floats + place)
            func run(_ expansion: UnsafePointer<cdepthwise_rounded_expansion>?) {
                withUnsafePointer(to: geometry) {
                    cdepthwise_run_rounded(
                        $0, x.rounded + start(part, in: x, isWhole: expansion != nil), expansion,
                        weights + part.blocks.lowerBound * pairs, bias + part.blocks.lowerBound * Layout.block,
                        activation, part.blocks.count, part.rows.lowerBound, part.rows.upperBound, part.strip,
                        part.scratch, rounds ? 1 : 0, target)
                }
            }
            if let expansion { withUnsafePointer(to: expansion.roundedPart(part.panel)) { run($0) } } else { run(nil) }
        }
    }

    /// Where the blocks of a part start in a tensor, or its image.
    private func start(_ part: Part, in tensor: RuntimeTensor, isWhole: Bool) -> Int {
        let first = part.image * tensor.blockCount + (isWhole ? 0 : part.blocks.lowerBound)
        return first * tensor.spatialCount * Layout.block
    }

    /// Cuts the work into parts that stay in a thread's cache.
    private func forEachPart(
        _ panels: [Range<Int>], _ scratch: (_ panel: Int, _ strip: Int) -> Int, _ context: KernelContext,
        _ body: (Part) -> Void
    ) throws {
        let widest = panels.reduce(0) { max($0, $1.count) }
        let height = geometry.output_height
        var strip = height
        while strip > 1, scratch(widest, strip) > 100 << 10 { strip = (strip + 1) / 2 }
        // Few images and channels are cut into parts of their height.
        let units = images * panels.count
        let parts = min(height, units % Parallel.threads == 0 ? 1 : Parallel.threads)
        let workers = min(Parallel.threads, units * parts)
        let scratchCount = scratch(widest, strip)
        let memory = try context.temporary(.float32, [scratchCount * workers]).floats
        Parallel.forEachRange(workers) { range in
            for worker in range {
                for unit in (units * parts * worker / workers)..<(units * parts * (worker + 1) / workers) {
                    let (panel, part) = (unit / parts % panels.count, unit % parts)
                    body(
                        Part(
                            image: unit / parts / panels.count, panel: panel, blocks: panels[panel],
                            rows: (height * part / parts)..<(height * (part + 1) / parts), strip: strip,
                            scratch: memory + worker * scratchCount))
                }
            }
        }
    }
}

extension cdepthwise_activation {
    /// No change.
    static var nothing: cdepthwise_activation {
        cdepthwise_activation(function: CDEPTHWISE_CLAMP, low: -.infinity, high: .infinity)
    }
}

extension Activation {
    /// The function as a depthwise convolution applies it; nil where it has no code for it.
    var ofDepthwise: cdepthwise_activation? {
        switch algorithm {
        case GDNN_SWISH where alpha == 1: cdepthwise_activation(function: CDEPTHWISE_SWISH, low: 0, high: 0)
        case GDNN_HARDSWISH: cdepthwise_activation(function: CDEPTHWISE_HARDSWISH, low: 0, high: 0)
        default:
            // Channels that fill up a block stay zero.
            range.flatMap { range in
                range.contains(0)
                    ? cdepthwise_activation(
                        function: CDEPTHWISE_CLAMP, low: range.lowerBound, high: range.upperBound) : nil
            }
        }
    }
}

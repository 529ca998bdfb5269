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
        let source: UnsafePointer<Float>
        /// The numbers from one image to the next.
        let imageStep: Int
        /// A block after the other, each (height, width, 16).
        let weights: UnsafePointer<Float>
        /// A number for each channel.
        let bias: UnsafePointer<Float>?
        let target: UnsafeMutablePointer<Float>
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
    func run(_ operands: Operands, _ expansion: PackedExpansion? = nil, _ context: KernelContext) throws {
        let (geometry, activation, images) = (geometry, activation, images)
        let panels = expansion?.panels ?? Self.panels(channels)
        guard images > 0, !panels.isEmpty, geometry.output_height > 0, geometry.output_width > 0 else { return }
        let widest = panels.reduce(0) { max($0, $1.count) }
        // Rows enough for a part to stay in a thread's cache.
        func scratch(_ strip: Int) -> Int { withUnsafePointer(to: geometry) { cdepthwise_scratch($0, widest, strip) } }
        var strip = geometry.output_height
        while strip > 1, scratch(strip) > 100 << 10 { strip = (strip + 1) / 2 }
        // Few images and channels are cut into parts of their height.
        let units = images * panels.count
        let parts = min(geometry.output_height, units % Parallel.threads == 0 ? 1 : Parallel.threads)
        let workers = min(Parallel.threads, units * parts)
        let scratchCount = scratch(strip)
        let memory = try context.temporary(.float32, [scratchCount * workers]).floats
        let (inputPlane, taps) = (geometry.height * geometry.width * Layout.block, geometry.size * geometry.size)
        let outputPlane = geometry.output_height * geometry.output_width * Layout.block
        let blocks = (channels + Layout.block - 1) / Layout.block
        // Channels that fill up a block have no bias.
        let bias = try context.temporary(.float32, [blocks * Layout.block]).floats
        bias.update(repeating: 0, count: blocks * Layout.block)
        if let given = operands.bias { bias.update(from: given, count: channels) }
        Parallel.forEachRange(workers) { range in
            for worker in range {
                for unit in (units * parts * worker / workers)..<(units * parts * (worker + 1) / workers) {
                    let (image, part) = (unit / parts / panels.count, unit % parts)
                    let panel = unit / parts % panels.count
                    let range = panels[panel]
                    let image0 = operands.source + image * operands.imageStep
                    withUnsafePointer(to: geometry) { geometry in
                        func run(_ source: UnsafePointer<Float>, _ expansion: UnsafePointer<cdepthwise_expansion>?) {
                            cdepthwise_run(
                                geometry, source, expansion,
                                operands.weights + range.lowerBound * taps * Layout.block,
                                bias + range.lowerBound * Layout.block, activation, range.count,
                                geometry.pointee.output_height * part / parts,
                                geometry.pointee.output_height * (part + 1) / parts, strip,
                                memory + worker * scratchCount,
                                operands.target + (image * blocks + range.lowerBound) * outputPlane)
                        }
                        if let expansion {
                            withUnsafePointer(to: expansion.part(panel)) { run(image0, $0) }
                        } else {
                            run(image0 + range.lowerBound * inputPlane, nil)
                        }
                    }
                }
            }
        }
    }
}

/// The weights of a 1 by 1 convolution in the order in which ``DepthwiseConvolution`` reads them.
struct PackedExpansion {
    let panels: [Range<Int>]
    private let buffer: Buffer
    private let channels: Int
    private let biasStart: Int
    private let activation: cdepthwise_activation

    /// - Parameters:
    ///   - weights: (outputs, inputs, 1, 1), at any address.
    ///   - bias: a number for each output.
    init(
        _ weights: RuntimeTensor, bias: [Float], _ activation: cdepthwise_activation, _ arena: Arena
    ) throws {
        let (outputs, inputs, lanes) = (weights.shape[0], weights.shape[1], Layout.block)
        let panels = DepthwiseConvolution.panels(outputs)
        let padded = (outputs + lanes - 1) / lanes * lanes
        let buffer = try arena.allocate(4 * padded * (inputs + 1))
        let target = buffer.pointer.assumingMemoryBound(to: Float.self)
        let source = UnsafeRawPointer(weights.pointer)
        var position = 0
        for panel in panels {
            for input in 0..<inputs {
                for output in (panel.lowerBound * lanes)..<(panel.upperBound * lanes) {
                    target[position] =
                        output < outputs
                        ? source.loadUnaligned(fromByteOffset: 4 * (output * inputs + input), as: Float.self) : 0
                    position += 1
                }
            }
        }
        for output in 0..<padded { target[position + output] = output < outputs ? bias[output] : 0 }
        (self.panels, self.buffer, channels, biasStart, self.activation) = (
            panels, buffer, inputs, position, activation
        )
    }

    /// The weights and the bias of a panel; they live as long as this value.
    func part(_ panel: Int) -> cdepthwise_expansion {
        let numbers = buffer.pointer.assumingMemoryBound(to: Float.self)
        let first = panels[panel].lowerBound * Layout.block
        return cdepthwise_expansion(
            channels: channels, weights: numbers + first * channels, bias: numbers + biasStart + first,
            activation: activation)
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

import CNumerics
import COneDNN
import GraftCore
import GraftIR

/// The expansion and the depthwise convolution that a plan joins.
enum ExpandedDepthwiseKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("ExpandedDepthwise", domain: graftDomain, fuses: true) {
                try ExpandedDepthwiseKernel($0)
            }
        ]
    }
}

/// `ExpandedDepthwise(x, W, b, Wd, bd)`: the depthwise convolution of the activated 1 by 1 convolution of x.
///
/// The attributes are those of the depthwise convolution, and `expansion` with the parameters `alpha` and `beta` names the
/// function between the two.
final class ExpandedDepthwiseKernel: Kernel {
    private let attributes: WindowAttributes
    private let between: cdepthwise_activation
    private let postOperations: [PostOperation]
    private let expansionShape: [Int]
    private let filterShape: [Int]
    private let expansionBias: [Float]
    private let bias: [Float]
    private var constants: (expansion: RuntimeTensor, filters: RuntimeTensor)?
    private var packed: (expansion: PackedExpansion, filters: Buffer, bias: Buffer)?

    init(_ node: KernelNode) throws {
        attributes = try WindowAttributes(node.attributes)
        postOperations = node.postOperations
        guard let expansion = node.takeConstant(1), let filters = node.takeConstant(3),
            expansion.elementType == .float32, filters.elementType == .float32, expansion.rank == 4, filters.rank == 4,
            expansion.shape[0] == filters.shape[0], expansion.shape[2...] == [1, 1], filters.shape[1] == 1
        else { throw KernelFailure("an expansion and a depthwise convolution need constant weights that fit") }
        (expansionShape, filterShape) = (expansion.shape, filters.shape)
        constants = (expansion, filters)
        let channels = filterShape[0]
        func bias(_ input: Int) throws -> [Float] {
            guard node.has(input) else { return [Float](repeating: 0, count: channels) }
            guard let tensor = node.takeConstant(input), tensor.elementType == .float32, tensor.count == channels else {
                throw KernelFailure("a bias must be \(channels) constant numbers")
            }
            let bytes = UnsafeRawPointer(tensor.pointer)
            return (0..<channels).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
        }
        expansionBias = try bias(2)
        self.bias = try bias(4)
        if let algorithm = node.attributes.int("expansion") {
            let function = Activation(
                gdnn_algorithm(rawValue: UInt32(truncatingIfNeeded: algorithm)),
                alpha: node.attributes.float("alpha") ?? 0, beta: node.attributes.float("beta") ?? 0)
            guard let known = function.ofDepthwise else { throw KernelFailure("the function is not known") }
            between = known
        } else {
            between = .nothing
        }
    }

    func run(_ context: KernelContext) throws {
        let x = try context.reordered(context.anyOrder(0), .blocked)
        guard x.shape[1] == expansionShape[1] else {
            throw KernelFailure("an input of shape \(x.shape) does not fit weights of shape \(expansionShape)")
        }
        let channels = filterShape[0]
        let window = try attributes.geometry(Array(x.shape[2...]), kernel: Array(filterShape[2...]))
        let shape = [x.shape[0], channels] + window.output
        guard let convolution = DepthwiseConvolution(window, target: shape, postOperations) else {
            throw KernelFailure("a depthwise window \(window.kernel) with strides \(window.strides) has no kernel")
        }
        let y = try context.output(0, .float32, shape, layout: .blocked)
        let parts = try pack(context.arena)
        let operands = DepthwiseConvolution.Operands(
            source: x.floats, imageStep: x.blockCount * x.spatialCount * Layout.block,
            weights: parts.filters.pointer.assumingMemoryBound(to: Float.self),
            bias: parts.bias.pointer.assumingMemoryBound(to: Float.self), target: y.floats)
        try convolution.run(operands, parts.expansion, context)
        try applyPostOperations(postOperations.dropFirst(convolution.postOperationCount), context)
    }

    private func pack(_ arena: Arena) throws -> (expansion: PackedExpansion, filters: Buffer, bias: Buffer) {
        if let packed { return packed }
        guard let constants else { throw KernelFailure("the weights are missing") }
        let (channels, lanes, taps) = (filterShape[0], Layout.block, filterShape[2] * filterShape[3])
        let padded = (channels + lanes - 1) / lanes * lanes
        let filters = try arena.allocate(4 * padded * taps)
        let target = filters.pointer.assumingMemoryBound(to: Float.self)
        let source = UnsafeRawPointer(constants.filters.pointer)
        for channel in 0..<padded {
            for tap in 0..<taps {
                target[(channel / lanes * taps + tap) * lanes + channel % lanes] =
                    channel < channels
                    ? source.loadUnaligned(fromByteOffset: 4 * (channel * taps + tap), as: Float.self) : 0
            }
        }
        let biases = try arena.allocate(4 * padded)
        for channel in 0..<padded {
            biases.pointer.assumingMemoryBound(to: Float.self)[channel] = channel < channels ? bias[channel] : 0
        }
        let expansion = try PackedExpansion(constants.expansion, bias: expansionBias, between, arena)
        constants.expansion.releasePages()
        constants.filters.releasePages()
        self.constants = nil
        let result = (expansion, filters, biases)
        packed = result
        return result
    }
}

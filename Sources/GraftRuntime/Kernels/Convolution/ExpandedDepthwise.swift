import CNumerics
import COneDNN
import GraftCore
import GraftIR

/// The expansion and the depthwise convolution that a plan joins.
enum ExpandedDepthwiseKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("ExpandedDepthwise", domain: graftDomain) {
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
    private var filters: WeightOperand
    private var expansion: RuntimeTensor?
    private var packed: PackedExpansion?
    private let source: Layout
    private let target: Layout

    init(_ node: KernelNode) throws {
        attributes = try WindowAttributes(node.attributes)
        postOperations = node.postOperations
        let allowsBF16 = node.options.allowsBF16 && gdnn_has_bf16() != 0 && cdepthwise_rounds() != 0
        source = allowsBF16 ? .roundedBlocks : .blocked
        target = allowsBF16 && node.roundsBlocks ? .roundedBlocks : .blocked
        guard let expansion = node.takeConstant(1), let filters = node.takeConstant(3),
            expansion.elementType == .float32, filters.elementType == .float32, expansion.rank == 4, filters.rank == 4,
            expansion.shape[0] == filters.shape[0], expansion.shape[2...] == [1, 1], filters.shape[1] == 1
        else { throw KernelFailure("an expansion and a depthwise convolution need constant weights that fit") }
        (expansionShape, filterShape) = (expansion.shape, filters.shape)
        self.expansion = expansion
        self.filters = WeightOperand(filters)
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
        let x = try context.reordered(context.anyOrder(0), source)
        guard x.elementType == .float32, x.shape[1] == expansionShape[1] else {
            throw KernelFailure(
                "an input of type \(x.elementType.name) and shape \(x.shape) does not fit float weights of shape "
                    + "\(expansionShape)")
        }
        let channels = filterShape[0]
        let window = try attributes.geometry(Array(x.shape[2...]), kernel: Array(filterShape[2...]))
        let shape = [x.shape[0], channels] + window.output
        guard let convolution = DepthwiseConvolution(window, target: shape, postOperations) else {
            throw KernelFailure("a depthwise window \(window.kernel) with strides \(window.strides) has no kernel")
        }
        let isComplete = convolution.postOperationCount == postOperations.count
        let y = try context.output(0, .float32, shape, layout: isComplete ? target : .blocked)
        let taps = [channels, 1, 1] + filterShape[2...]
        let weights = try filters.pointer(
            nil, version: nil, stored: .strided(.float32, taps), in: .filterBlocks(taps), context)
        let expansion = try expansion(context.arena)
        try bias.withUnsafeBufferPointer { bias in
            let operands = DepthwiseConvolution.Operands(
                source: x, weights: weights.assumingMemoryBound(to: Float.self), bias: bias.baseAddress, target: y)
            try convolution.run(operands, expansion, context)
        }
        try applyPostOperations(postOperations.dropFirst(convolution.postOperationCount), context)
    }

    private func expansion(_ arena: Arena) throws -> PackedExpansion {
        if let packed { return packed }
        guard let weights = expansion.take() else { throw KernelFailure("the weights are missing") }
        let made = try PackedExpansion(
            weights, bias: expansionBias, between, rounds: source == .roundedBlocks, arena)
        weights.releasePages()
        packed = made
        return made
    }
}

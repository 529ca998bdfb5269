import COneDNN
import GraftCore
import GraftIR

/// The gradients of Conv and ConvTranspose through oneDNN.
///
/// `…GradInput(dY, W, X) → dX`, `…GradWeight(dY, X, W) → dW` and `ConvGradBias(dY) → dB`; the attributes are those of
/// the forward node, and of the third input only the shape counts.
enum ConvolutionGradientKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [("Conv", false), ("ConvTranspose", true)].flatMap { kind, isTransposed in
            [
                KernelDefinition("\(kind)GradInput", domain: graftDomain, widens: true) {
                    try ConvolutionGradientKernel($0, of: .input, transposed: isTransposed)
                },
                KernelDefinition("\(kind)GradWeight", domain: graftDomain, widens: true) {
                    try ConvolutionGradientKernel($0, of: .weights, transposed: isTransposed)
                },
            ]
        } + [.function("ConvGradBias", domain: graftDomain, widens: true, run: biasGradient)]
    }

    private static func biasGradient(_ context: KernelContext) throws {
        let dy = try ChannelRows.operand(context, 0)
        let sums = try context.output(0, .float32, [dy.shape[1]])
        let rows = ChannelRows(dy)
        let totals = try rows.sums(dy, context)
        for channel in 0..<rows.channels { sums.floats[channel] = Float(totals[channel]) }
    }
}

final class ConvolutionGradientKernel: Kernel {
    enum Operand { case input, weights }

    private let operand: Operand
    private let isTransposed: Bool
    private let attributes: WindowAttributes
    private let group: Int
    private let outputPadding: [Int]?
    private let outputShape: [Int]?
    private let allowsBF16: Bool
    private var prepared: [Prepared] = []

    /// A tensor between the executor's memory order and the one that the primitive works on.
    private struct Side {
        let argument: gdnn_argument
        let converter: LayoutConverter?
        let layout: MemoryDescriptor
    }

    /// A primitive for one combination of shapes.
    private struct Prepared {
        let shape: ConvolutionShape
        let primitive: Primitive
        /// The gradient of the output; the weights or the input; the result.
        let upstream: Side
        let other: Side
        let result: Side
    }

    init(_ node: KernelNode, of operand: Operand, transposed: Bool) throws {
        self.operand = operand
        isTransposed = transposed
        attributes = try WindowAttributes(node.attributes)
        group = node.attributes.int("group") ?? 1
        outputPadding = node.attributes.ints("output_padding")
        outputShape = node.attributes.ints("output_shape")
        allowsBF16 = node.options.allowsBF16
    }

    func run(_ context: KernelContext) throws {
        let dy = try context.channelsLast(0)
        let other = operand == .input ? try context.plain(1) : try context.channelsLast(1)
        guard dy.elementType == .float32, other.elementType == .float32 else {
            throw KernelFailure("elements of type \(dy.elementType.name) and \(other.elementType.name)")
        }
        let given = try context.input(2).shape
        let (x, w) = operand == .input ? (given, other.shape) : (other.shape, given)
        let shape =
            isTransposed
            ? try ConvolutionShape.transposed(
                x, w, group: group, attributes, outputPadding: outputPadding, outputShape: outputShape)
            : try ConvolutionShape.forward(x, w, group: group, attributes)
        guard dy.shape == shape.target else {
            throw KernelFailure("a gradient of shape \(dy.shape) does not fit a result of shape \(shape.target)")
        }
        let result = try context.output(
            0, .float32, given, layout: operand == .input ? .channelsLast : .rowMajor)
        guard dy.count > 0, other.count > 0, result.count > 0 else {
            result.floats.update(repeating: 0, count: result.count)
            return
        }
        let prepared = try prepare(shape)
        func converted(_ side: Side, _ tensor: RuntimeTensor) throws -> UnsafeMutableRawPointer {
            guard let converter = side.converter else { return tensor.pointer }
            let buffer = try context.temporary(.uint8, [side.layout.byteCount])
            try converter.run(tensor.pointer, buffer.pointer, context.arena)
            return buffer.pointer
        }
        let upstream = try converted(prepared.upstream, dy)
        let second = try converted(prepared.other, other)
        let target =
            prepared.result.converter == nil
            ? result.pointer : try context.temporary(.uint8, [prepared.result.layout.byteCount]).pointer
        try prepared.primitive.run(
            context.arena, (prepared.upstream.argument, upstream), (prepared.other.argument, second),
            (prepared.result.argument, target))
        if let converter = prepared.result.converter { try converter.run(target, result.pointer, context.arena) }
    }

    private func prepare(_ shape: ConvolutionShape) throws -> Prepared {
        if let found = prepared.first(where: { $0.shape == shape }) { return found }
        let source = try MemoryDescriptor.channelsLast(.float32, shape.source)
        let target = try MemoryDescriptor.channelsLast(.float32, shape.target)
        let stored = try shape.storedWeights(.float32, transposed: isTransposed)
        let weights = try MemoryDescriptor.any(.float32, shape.weights)
        let direction = Int32((operand == .input ? GDNN_BACKWARD_DATA : GDNN_BACKWARD_WEIGHTS).rawValue)
        var window = shape.window.native
        func make(_ source: MemoryDescriptor, _ target: MemoryDescriptor) throws -> Primitive? {
            try withAttributes([], operand: nil, allowBF16: allowsBF16) { attributes in
                try Primitive.make { result in
                    isTransposed
                        ? gdnn_deconvolution(
                            result, direction, source.handle, weights.handle, nil, target.handle, &window, attributes)
                        : gdnn_convolution(
                            result, direction, source.handle, weights.handle, nil, target.handle, &window, attributes)
                }
            }
        }
        var primitive = try make(source, target)
        if primitive?.isReference ?? true {
            // The layout that oneDNN prefers may have a fast implementation where channels-last has none.
            let free = try make(.any(.float32, shape.source), .any(.float32, shape.target))
            if let free, !free.isReference || primitive == nil { primitive = free }
        }
        guard let primitive else {
            throw KernelFailure(
                "oneDNN has no gradient of a convolution for shapes \(shape.source) and \(shape.weights)")
        }
        func side(_ argument: gdnn_argument, _ plain: MemoryDescriptor, isResult: Bool = false) throws -> Side {
            guard let layout = primitive.layout(argument) else { throw KernelFailure("oneDNN names no layout") }
            if layout.isEqual(to: plain) { return Side(argument: argument, converter: nil, layout: layout) }
            let converter = try LayoutConverter(from: isResult ? layout : plain, to: isResult ? plain : layout)
            return Side(argument: argument, converter: converter, layout: layout)
        }
        let upstream = try side(GDNN_ARG_DIFF_DST, target)
        let made =
            operand == .input
            ? Prepared(
                shape: shape, primitive: primitive, upstream: upstream, other: try side(GDNN_ARG_WEIGHTS, stored),
                result: try side(GDNN_ARG_DIFF_SRC, source, isResult: true))
            : Prepared(
                shape: shape, primitive: primitive, upstream: upstream, other: try side(GDNN_ARG_SRC, source),
                result: try side(GDNN_ARG_DIFF_WEIGHTS, stored, isResult: true))
        if prepared.count >= 16 { prepared.removeFirst() }
        prepared.append(made)
        return made
    }
}

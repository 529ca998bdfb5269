import COneDNN
import GraftCore
import GraftIR

/// A convolution with its packed weights and its primitives by shape.
final class ConvolutionKernel: Kernel {
    private let isTransposed: Bool
    private let attributes: WindowAttributes
    private let group: Int
    private let outputPadding: [Int]?
    private let outputShape: [Int]?
    private let postOperations: [PostOperation]
    private let allowsBF16: Bool
    private let prefersBlocks: Bool
    private let roundsBlocks: Bool
    private var weights: WeightOperand
    private var prepared: [PreparedConvolution] = []

    init(_ node: KernelNode, transposed: Bool) throws {
        isTransposed = transposed
        attributes = try WindowAttributes(node.attributes)
        group = node.attributes.int("group") ?? 1
        outputPadding = node.attributes.ints("output_padding")
        outputShape = node.attributes.ints("output_shape")
        postOperations = node.postOperations
        allowsBF16 = node.options.allowsBF16 && gdnn_has_bf16() != 0
        prefersBlocks = node.prefersBlocks
        roundsBlocks = node.roundsBlocks
        // Narrower weights are converted before the kernel sees them; wider ones are another kernel's.
        weights = WeightOperand(node.constant(1)?.elementType == .float32 ? node.takeConstant(1) : nil)
    }

    private func shape(_ x: [Int], _ w: [Int]) throws -> ConvolutionShape {
        isTransposed
            ? try .transposed(
                x, w, group: group, attributes, outputPadding: outputPadding, outputShape: outputShape)
            : try .forward(x, w, group: group, attributes)
    }

    func run(_ context: KernelContext) throws {
        let x = try context.anyOrder(0)
        guard x.elementType == .float32 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        let w = weights.constantShape == nil ? try context.plain(1, .float32) : nil
        let shape = try shape(x.shape, weights.constantShape ?? w?.shape ?? [])
        let bias = context.has(2) ? try context.plain(2, .float32) : nil
        if let bias, bias.count != shape.target[1] {
            throw KernelFailure("a bias of \(bias.count) numbers does not fit \(shape.target[1]) channels")
        }
        var fuses = true
        for case .add(let input) in postOperations {
            if try context.anyOrder(input).shape != shape.target || shape.window.outreachesInput { fuses = false }
        }
        guard shape.target.allSatisfy({ $0 > 0 }), x.count > 0 else {
            try context.output(0, .float32, shape.target, layout: .channelsLast)
            return
        }
        let prepared = try prepare(shape, hasBias: bias != nil, fuses: fuses)
        let packed = try weights.pointer(
            w, version: context.version(1), stored: prepared.stored, in: prepared.weights, context)
        switch prepared.algorithm {
        case .primitive(let primitive): try execute(primitive, prepared, packed, bias, context)
        case .winograd(let winograd): try execute(winograd, prepared, packed, bias, context)
        case .depthwise(let depthwise): try execute(depthwise, prepared, packed, bias, context)
        }
        try applyPostOperations(postOperations.dropFirst(prepared.fusedCount), context)
    }

    private func execute(
        _ winograd: WinogradConvolution, _ prepared: PreparedConvolution, _ weights: UnsafeMutableRawPointer,
        _ bias: RuntimeTensor?, _ context: KernelContext
    ) throws {
        let x = try context.reordered(context.anyOrder(0), prepared.sourceOrder)
        let y: RuntimeTensor
        var addend: RuntimeTensor?
        if let input = winograd.addend {
            y = try context.output(0, reusing: input, .float32, prepared.shape.target, layout: prepared.targetOrder)
            addend = try context.reordered(context.anyOrder(input), prepared.targetOrder)
        } else {
            y = try context.output(0, .float32, prepared.shape.target, layout: prepared.targetOrder)
        }
        let operands = WinogradConvolution.Operands(
            source: x, weights: UnsafeRawPointer(weights), bias: bias?.floats, addend: addend, target: y)
        try winograd.run(operands, context)
    }

    private func execute(
        _ depthwise: DepthwiseConvolution, _ prepared: PreparedConvolution, _ weights: UnsafeMutableRawPointer,
        _ bias: RuntimeTensor?, _ context: KernelContext
    ) throws {
        let x = try context.reordered(context.anyOrder(0), prepared.sourceOrder)
        let y = try context.output(0, .float32, prepared.shape.target, layout: prepared.targetOrder)
        let operands = DepthwiseConvolution.Operands(
            source: x, weights: weights.assumingMemoryBound(to: Float.self), bias: bias?.floats, target: y)
        try depthwise.run(operands, nil, context)
    }

    private func execute(
        _ primitive: Primitive, _ prepared: PreparedConvolution, _ weights: UnsafeMutableRawPointer,
        _ bias: RuntimeTensor?,
        _ context: KernelContext
    ) throws {
        let x = try context.reordered(context.anyOrder(0), prepared.sourceOrder)
        var source = x.pointer
        if let converter = prepared.source, let layout = prepared.sourceLayout {
            let buffer = try context.temporary(.uint8, [layout.byteCount])
            try converter.run(source, buffer.pointer, context.arena)
            source = buffer.pointer
        }
        var operand: (position: Int, input: Int)?
        for (position, operation) in postOperations.prefix(prepared.fusedCount).enumerated() {
            if case .add(let input) = operation { operand = (position, input) }
        }
        let y: RuntimeTensor
        if prepared.sums, let operand {
            // The result is added to what lies in its place: the operand itself where nobody else reads it.
            y = try context.output(
                0, reusing: operand.input, .float32, prepared.shape.target, layout: prepared.targetOrder)
            let other = try context.reordered(context.anyOrder(operand.input), prepared.targetOrder)
            if other.pointer != y.pointer { copyBytes(from: other, to: y) }
        } else {
            y = try context.output(0, .float32, prepared.shape.target, layout: prepared.targetOrder)
        }
        var target = y.pointer
        if let layout = prepared.targetLayout {
            target = try context.temporary(.uint8, [layout.byteCount]).pointer
        }
        var arguments = [(GDNN_ARG_SRC, source), (GDNN_ARG_WEIGHTS, weights), (GDNN_ARG_DST, target)]
        if let bias { arguments.append((GDNN_ARG_BIAS, bias.pointer)) }
        if !prepared.sums, let operand {
            let other = try context.reordered(context.anyOrder(operand.input), prepared.targetOrder)
            arguments.append((postOperandArgument(operand.position), other.pointer))
        }
        try primitive.run(context.arena, arguments)
        if let converter = prepared.target { try converter.run(target, y.pointer, context.arena) }
    }

    private func prepare(_ shape: ConvolutionShape, hasBias: Bool, fuses: Bool) throws -> PreparedConvolution {
        if let found = prepared.first(where: {
            $0.shape == shape && $0.hasBias == hasBias && $0.wasAskedToFuse == fuses
        }) {
            return found
        }
        let maker = ConvolutionMaker(
            shape: shape, isTransposed: isTransposed, hasBias: hasBias, postOperations: postOperations, fuses: fuses,
            allowsBF16: allowsBF16, rounds: roundsBlocks, isConstant: weights.constantShape != nil)
        let made = try (prefersBlocks ? maker.inBlocks() : nil) ?? maker.channelsLast()
        if prepared.count >= 16 { prepared.removeFirst() }
        prepared.append(made)
        return made
    }
}

private func copyBytes(from source: RuntimeTensor, to target: RuntimeTensor) {
    let (from, to) = (source.pointer, target.pointer)
    Parallel.forEachRange(target.byteCount, grain: 1 << 17) { range in
        (to + range.lowerBound).copyMemory(from: from + range.lowerBound, byteCount: range.count)
    }
}

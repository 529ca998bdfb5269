import COneDNN
import GraftCore
import GraftIR

/// Conv and ConvTranspose through oneDNN, with bias, activation and residual addition in the same pass.
enum ConvolutionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("Conv", fuses: true, widens: true) { try ConvolutionKernel($0, transposed: false) },
            KernelDefinition("ConvTranspose", fuses: true, widens: true) {
                try ConvolutionKernel($0, transposed: true)
            },
        ]
    }
}

/// The shapes of one convolution.
struct ConvolutionShape: Equatable {
    /// The input of a convolution, (N, C, spatial...).
    var source: [Int]
    /// The weights as oneDNN sees them: (groups, outputs per group, inputs per group, kernel...), groups only where
    /// there are several.
    var weights: [Int]
    var target: [Int]
    var window: WindowGeometry

    /// The shapes of a Conv node.
    ///
    /// Source of the formulas: the Conv and ConvTranspose pages of the ONNX operator reference.
    static func forward(_ x: [Int], _ w: [Int], group: Int, _ attributes: WindowAttributes) throws -> ConvolutionShape {
        guard x.count >= 3, w.count == x.count, group >= 1, w[0] % group == 0, x[1] == w[1] * group else {
            throw KernelFailure("an input of shape \(x) does not fit weights of shape \(w) in \(group) groups")
        }
        let window = try attributes.geometry(Array(x[2...]), kernel: Array(w[2...]))
        let weights = group == 1 ? w : [group, w[0] / group] + w[1...]
        return ConvolutionShape(source: x, weights: weights, target: [x[0], w[0]] + window.output, window: window)
    }

    /// The shapes of a ConvTranspose node.
    static func transposed(
        _ x: [Int], _ w: [Int], group: Int, _ attributes: WindowAttributes, outputPadding: [Int]?, outputShape: [Int]?
    ) throws -> ConvolutionShape {
        let rank = x.count - 2
        guard rank >= 1, w.count == x.count, group >= 1, x[1] == w[0], w[0] % group == 0 else {
            throw KernelFailure("an input of shape \(x) does not fit weights of shape \(w) in \(group) groups")
        }
        let kernel = Array(w[2...])
        let strides = attributes.strides ?? Array(repeating: 1, count: rank)
        let dilations = attributes.dilations ?? Array(repeating: 1, count: rank)
        let pads = attributes.pads ?? Array(repeating: 0, count: 2 * rank)
        let extra = outputPadding ?? Array(repeating: 0, count: rank)
        guard strides.count == rank, dilations.count == rank, pads.count == 2 * rank, extra.count == rank,
            attributes.kernel.map({ $0 == kernel }) ?? true
        else { throw KernelFailure("strides, dilations, pads or output_padding do not fit") }
        var begin: [Int] = []
        var output: [Int] = []
        for axis in 0..<rank {
            let full = strides[axis] * (x[axis + 2] - 1) + extra[axis] + (kernel[axis] - 1) * dilations[axis] + 1
            if let wanted = outputShape, wanted.count >= rank {
                let size = wanted[wanted.count - rank + axis]
                let total = full - size
                begin.append(attributes.autoPad == .sameUpper ? total / 2 : total - total / 2)
                output.append(size)
            } else if attributes.autoPad == .sameUpper || attributes.autoPad == .sameLower {
                let size = x[axis + 2] * strides[axis]
                let total = full - size
                begin.append(attributes.autoPad == .sameUpper ? total / 2 : total - total / 2)
                output.append(size)
            } else {
                let isValid = attributes.autoPad == .valid
                begin.append(isValid ? 0 : pads[axis])
                output.append(full - (isValid ? 0 : pads[axis] + pads[axis + rank]))
            }
        }
        guard output.allSatisfy({ $0 > 0 }) else { throw KernelFailure("the result would have the size \(output)") }
        // The window slides over the output: a transposed convolution is the gradient of that convolution.
        let window = WindowGeometry(
            input: output, kernel: kernel, strides: strides, dilations: dilations, begin: begin,
            end: Array(repeating: 0, count: rank), output: Array(x[2...]))
        let channels = w[1] * group
        let weights = group == 1 ? [w[1], w[0]] + kernel : [group, w[1], w[0] / group] + kernel
        return ConvolutionShape(source: x, weights: weights, target: [x[0], channels] + output, window: window)
    }

    /// The layout that the file's weights have, in the order in which oneDNN names the axes.
    func storedWeights(_ type: ElementType, transposed: Bool) throws -> MemoryDescriptor {
        guard transposed else { return try .strided(type, weights) }
        var strides = RuntimeTensor.strides(weights, .rowMajor)
        let first = weights.count - source.count
        // The file keeps input channels before output channels.
        let kernel = weights[(first + 2)...].reduce(1, *)
        strides[first] = kernel
        strides[first + 1] = weights[first] * kernel
        return try .strided(type, weights, strides: strides)
    }
}

final class ConvolutionKernel: Kernel {
    private let isTransposed: Bool
    private let attributes: WindowAttributes
    private let group: Int
    private let outputPadding: [Int]?
    private let outputShape: [Int]?
    private let postOperations: [PostOperation]
    private let allowsBF16: Bool
    private let constantShape: [Int]?
    private var constantTensor: RuntimeTensor?
    private var weights: PackedWeights?
    private var prepared: [Prepared] = []

    /// A primitive for one combination of shapes.
    private struct Prepared {
        let shape: ConvolutionShape
        let hasBias: Bool
        let wasAskedToFuse: Bool
        let fused: Bool
        let primitive: Primitive
        let stored: MemoryDescriptor
        let weights: MemoryDescriptor
        let source: LayoutConverter?
        let sourceLayout: MemoryDescriptor?
        let target: LayoutConverter?
        let targetLayout: MemoryDescriptor?
    }

    init(_ node: KernelNode, transposed: Bool) throws {
        isTransposed = transposed
        attributes = try WindowAttributes(node.attributes)
        group = node.attributes.int("group") ?? 1
        outputPadding = node.attributes.ints("output_padding")
        outputShape = node.attributes.ints("output_shape")
        postOperations = node.postOperations
        allowsBF16 = node.options.allowsBF16
        // Narrower weights are converted before the kernel sees them; wider ones are another kernel's.
        if node.constant(1)?.elementType == .float32 { constantTensor = node.takeConstant(1) }
        constantShape = constantTensor?.shape
    }

    private func shape(_ x: [Int], _ w: [Int]) throws -> ConvolutionShape {
        isTransposed
            ? try .transposed(
                x, w, group: group, attributes, outputPadding: outputPadding, outputShape: outputShape)
            : try .forward(x, w, group: group, attributes)
    }

    func run(_ context: KernelContext) throws {
        let x = try context.channelsLast(0)
        guard x.elementType == .float32 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        let w = constantShape == nil ? try context.plain(1, .float32) : nil
        let shape = try shape(x.shape, constantShape ?? w?.shape ?? [])
        let bias = context.has(2) ? try context.plain(2, .float32) : nil
        if let bias, bias.count != shape.target[1] {
            throw KernelFailure("a bias of \(bias.count) numbers does not fit \(shape.target[1]) channels")
        }
        var fused = true
        for case .add(let input) in postOperations where try context.input(input).shape != shape.target {
            fused = false
        }
        guard shape.target.allSatisfy({ $0 > 0 }), x.count > 0 else {
            try context.output(0, .float32, shape.target, layout: .channelsLast)
            return
        }
        let prepared = try prepare(shape, hasBias: bias != nil, fused: fused)
        fused = prepared.fused
        let packed: UnsafeMutableRawPointer
        if let w {
            let cache = weights ?? PackedWeights()
            weights = cache
            packed = try cache.dynamic(
                w, layout: prepared.stored, version: context.version(1), in: prepared.weights, context)
        } else {
            if let constant = constantTensor.take() {
                weights = PackedWeights(constant: constant, layout: prepared.stored)
            }
            guard let weights else { throw KernelFailure("the weights are missing") }
            packed = try weights.constant(in: prepared.weights, context)
        }
        try execute(prepared, x, packed, bias, context)
        if !fused { try applyPostOperations(postOperations, context) }
    }

    private func execute(
        _ prepared: Prepared, _ x: RuntimeTensor, _ weights: UnsafeMutableRawPointer, _ bias: RuntimeTensor?,
        _ context: KernelContext
    ) throws {
        var source = x.pointer
        if let converter = prepared.source, let layout = prepared.sourceLayout {
            let buffer = try context.temporary(.uint8, [layout.byteCount])
            try converter.run(source, buffer.pointer, context.arena)
            source = buffer.pointer
        }
        var operand: UnsafeMutableRawPointer?
        var operandArgument = GDNN_ARG_POST_BINARY
        if prepared.fused {
            for (position, operation) in postOperations.enumerated() {
                guard case .add(let input) = operation else { continue }
                operand = try context.channelsLast(input).pointer
                operandArgument = postOperandArgument(position)
            }
        }
        let y = try context.output(0, .float32, prepared.shape.target, layout: .channelsLast)
        var target = y.pointer
        if let layout = prepared.targetLayout {
            target = try context.temporary(.uint8, [layout.byteCount]).pointer
        }
        switch (bias, operand) {
        case (let bias?, let operand?):
            try prepared.primitive.run(
                context.arena, (GDNN_ARG_SRC, source), (GDNN_ARG_WEIGHTS, weights), (GDNN_ARG_DST, target),
                (GDNN_ARG_BIAS, bias.pointer), (operandArgument, operand))
        case (let bias?, nil):
            try prepared.primitive.run(
                context.arena, (GDNN_ARG_SRC, source), (GDNN_ARG_WEIGHTS, weights), (GDNN_ARG_DST, target),
                (GDNN_ARG_BIAS, bias.pointer))
        case (nil, let operand?):
            try prepared.primitive.run(
                context.arena, (GDNN_ARG_SRC, source), (GDNN_ARG_WEIGHTS, weights), (GDNN_ARG_DST, target),
                (operandArgument, operand))
        case (nil, nil):
            try prepared.primitive.run(
                context.arena, (GDNN_ARG_SRC, source), (GDNN_ARG_WEIGHTS, weights), (GDNN_ARG_DST, target))
        }
        if let converter = prepared.target { try converter.run(target, y.pointer, context.arena) }
    }

    private func prepare(_ shape: ConvolutionShape, hasBias: Bool, fused wanted: Bool) throws -> Prepared {
        var fused = wanted
        if let index = prepared.firstIndex(where: {
            $0.shape == shape && $0.hasBias == hasBias && $0.wasAskedToFuse == wanted
        }) {
            return prepared[index]
        }
        let sourcePlain = try MemoryDescriptor.channelsLast(.float32, shape.source)
        let targetPlain = try MemoryDescriptor.channelsLast(.float32, shape.target)
        let stored = try shape.storedWeights(.float32, transposed: isTransposed)
        let any = try MemoryDescriptor.any(.float32, shape.weights)
        let bias = hasBias ? try MemoryDescriptor.strided(.float32, [shape.target[1]]) : nil
        var window = shape.window.native
        func make(_ source: MemoryDescriptor, _ target: MemoryDescriptor, operand: MemoryDescriptor) throws
            -> Primitive?
        {
            try withAttributes(fused ? postOperations : [], operand: operand, allowBF16: allowsBF16) { attributes in
                try Primitive.make { result in
                    isTransposed
                        ? gdnn_deconvolution(
                            result, Int32(GDNN_FORWARD_INFERENCE.rawValue), source.handle, any.handle, bias?.handle,
                            target.handle, &window, attributes)
                        : gdnn_convolution(
                            result, Int32(GDNN_FORWARD_INFERENCE.rawValue), source.handle, any.handle, bias?.handle,
                            target.handle, &window, attributes)
                }
            }
        }
        var primitive = try make(sourcePlain, targetPlain, operand: targetPlain)
        if primitive?.isReference ?? true, fused, !postOperations.isEmpty {
            // The post-operations may be what has no fast implementation.
            fused = false
            let bare = try make(sourcePlain, targetPlain, operand: targetPlain)
            if let bare, !bare.isReference || primitive == nil { primitive = bare } else { fused = true }
        }
        let hasOperand = fused && postOperations.contains { if case .add = $0 { true } else { false } }
        if primitive?.isReference ?? true, !hasOperand {
            // The layout that oneDNN prefers may have a fast implementation where channels-last has none.
            let free = try make(
                .any(.float32, shape.source), .any(.float32, shape.target), operand: targetPlain)
            if let free, !free.isReference || primitive == nil { primitive = free }
        }
        guard let primitive, let weightsLayout = primitive.layout(GDNN_ARG_WEIGHTS),
            let source = primitive.layout(GDNN_ARG_SRC), let target = primitive.layout(GDNN_ARG_DST)
        else { throw KernelFailure("oneDNN has no convolution for shapes \(shape.source) and \(shape.weights)") }
        let convertsSource = !source.isEqual(to: sourcePlain)
        let convertsTarget = !target.isEqual(to: targetPlain)
        let made = Prepared(
            shape: shape, hasBias: hasBias, wasAskedToFuse: wanted, fused: fused, primitive: primitive, stored: stored,
            weights: weightsLayout,
            source: convertsSource ? try LayoutConverter(from: sourcePlain, to: source) : nil,
            sourceLayout: convertsSource ? source : nil,
            target: convertsTarget ? try LayoutConverter(from: target, to: targetPlain) : nil,
            targetLayout: convertsTarget ? target : nil)
        if prepared.count >= 16 { prepared.removeFirst() }
        prepared.append(made)
        return made
    }
}

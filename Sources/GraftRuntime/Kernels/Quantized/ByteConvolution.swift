import COneDNN
import GraftCore

/// A convolution of bytes by oneDNN, between tensors with their channels last.
///
/// The sums are exact; they are converted to 32-bit floating point, the bias is added, the result scaled and rounded to
/// the nearest byte, even where two are as near.
final class ByteConvolution {
    /// What a primitive is made for.
    private struct Key: Equatable {
        let shape: [Int]
        let type: ElementType
        let versions: [Int]
    }

    private struct Prepared {
        let key: Key
        /// Nil where oneDNN has no fast implementation.
        let primitive: Primitive?
        let target: [Int]
        let type: ElementType
        let layout: MemoryDescriptor?
        let weights: Buffer?
        let bias: Buffer?
    }

    /// Which inputs are what.
    struct Inputs {
        let weights: Int
        let zeroSource: Int
        let zeroWeights: Int
    }

    private let inputs: Inputs
    private var prepared: [Prepared] = []

    init(_ inputs: Inputs) { self.inputs = inputs }

    /// Computes output 0; false where own kernels have to.
    ///
    /// - Parameters:
    ///   - shape: the shapes for those of the input and of the weights.
    ///   - result: what the sums become, for a number of channels.
    func run(
        _ x: RuntimeTensor, _ context: KernelContext, shape: ([Int], [Int]) throws -> ConvolutionShape,
        result: (Int) throws -> SumsResult
    ) throws -> Bool {
        let changes = context.has(inputs.zeroSource) && context.version(inputs.zeroSource) == nil
        guard ByteNumbers.areExact, x.count > 0, (3...5).contains(x.rank),
            let versions = ByteNumbers.versions(
                context, (1..<context.inputCount).filter { !(changes && $0 == inputs.zeroSource) })
        else { return false }
        let key = Key(shape: x.shape, type: x.elementType, versions: versions)
        let chosen: Prepared
        if let found = prepared.first(where: { $0.key == key }) {
            chosen = found
        } else {
            chosen = try prepare(key, context, changes: changes, shape, result)
            if prepared.count >= 16 { prepared.removeFirst() }
            prepared.append(chosen)
        }
        guard let primitive = chosen.primitive, let weights = chosen.weights else { return false }
        if changes { primitive.setSourceZero(try context.zeroPoint(inputs.zeroSource)) }
        let y = try context.output(0, chosen.type, chosen.target, layout: .channelsLast)
        var arguments = [
            (GDNN_ARG_SRC, x.pointer), (GDNN_ARG_WEIGHTS, weights.pointer), (GDNN_ARG_DST, y.pointer),
        ]
        if let bias = chosen.bias { arguments.append((GDNN_ARG_BIAS, bias.pointer)) }
        try primitive.run(context.arena, arguments)
        return true
    }

    private func prepare(
        _ key: Key, _ context: KernelContext, changes: Bool, _ makeShape: ([Int], [Int]) throws -> ConvolutionShape,
        _ makeResult: (Int) throws -> SumsResult
    ) throws -> Prepared {
        let w = try context.plain(inputs.weights)
        let shape = try makeShape(key.shape, w.shape)
        let channels = shape.target[1]
        let result = try makeResult(channels)
        let none = Prepared(
            key: key, primitive: nil, target: shape.target, type: result.type, layout: nil, weights: nil, bias: nil)
        let zeros = try context.zeroPoints(inputs.zeroWeights)
        guard zeros.count == 1 || zeros.count == channels, shape.target.allSatisfy({ $0 > 0 }), w.count > 0,
            let signed = try ByteNumbers.signed(w, zeros, inner: w.count / channels, context)
        else { return none }
        let source = try MemoryDescriptor.channelsLast(key.type, shape.source)
        let target = try MemoryDescriptor.channelsLast(result.type, shape.target)
        let any = try MemoryDescriptor.any(.int8, shape.weights)
        let bias = result.bias.isEmpty ? nil : try MemoryDescriptor.strided(.float32, [channels])
        var window = shape.window.native
        let zeroSource = changes ? nil : try context.zeroPoint(inputs.zeroSource)
        let primitive = try result.withNative(zeroSource: zeroSource, []) { attributes in
            try Primitive.make {
                gdnn_convolution(
                    $0, Int32(GDNN_FORWARD_INFERENCE.rawValue), source.handle, any.handle, bias?.handle, target.handle,
                    &window, attributes)
            }
        }
        guard let primitive, !primitive.isReference, let wanted = primitive.layout(GDNN_ARG_WEIGHTS) else {
            return none
        }
        // Another shape may want the same form of the same weights.
        let last = prepared.last { $0.key.versions == key.versions && $0.layout?.isEqual(to: wanted) == true }
        let packed =
            try last?.weights
            ?? ByteNumbers.packed(signed, shape.storedWeights(.int8, transposed: false), as: wanted, context.arena)
        return Prepared(
            key: key, primitive: primitive, target: shape.target, type: result.type, layout: wanted, weights: packed,
            bias: result.bias.isEmpty ? nil : try ByteNumbers.buffer(result.nativeBias, context.arena))
    }
}

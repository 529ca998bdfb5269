import COneDNN
import GraftCore
import GraftIR

/// What becomes of the 32-bit sums of a product or convolution of bytes.
struct SumsResult {
    /// int32 for the sums themselves, float32, uint8 or int8.
    var type: ElementType
    /// What sums are multiplied with: one factor for all channels, or one for each; none for the sums themselves.
    var scales: [Float] = []
    /// What is added to the sums of each channel, in their unit; empty for nothing.
    var bias: [Float] = []
    /// The zero point of bytes.
    var zeroPoint: Int32 = 0
    /// The bounds of bytes.
    var bounds: ClosedRange<Int32> = 0...0

    /// The bytes that a type has, within the bounds that a node sets.
    static func bounds(_ type: ElementType, _ attributes: ByteBounds) throws -> ClosedRange<Int32> {
        guard let (least, greatest) = QuantizeKernels.range(type), type == .uint8 || type == .int8 else {
            throw KernelFailure("a result of type \(type.name)")
        }
        let (low, high) = (max(least, attributes.low ?? least), min(greatest, attributes.high ?? greatest))
        guard low <= high else { throw KernelFailure("no byte is between \(low) and \(high)") }
        return low...high
    }

    /// Whether bytes are held within bounds that are narrower than their type.
    var isBounded: Bool {
        guard type == .uint8 || type == .int8, let (least, greatest) = QuantizeKernels.range(type) else { return false }
        return bounds != least...greatest
    }

    /// The bias as oneDNN takes it.
    var nativeBias: [Float] {
        guard gdnn_scales_before_bias() != 0, !scales.isEmpty else { return bias }
        return bias.enumerated().map { $1 * scales[scales.count == 1 ? 0 : $0] }
    }

    /// Calls `body` with the C form; products are taken of `source - zeroSource` and `weights - zeroWeights`.
    ///
    /// - Parameter zeroSource: nil where it is given with each run.
    func withNative<R>(
        zeroSource: Int32?, zeroWeights: Int32 = 0, _ operations: [gdnn_post_op],
        _ body: (UnsafePointer<gdnn_attributes>) throws -> R
    ) rethrows -> R {
        var operations = operations
        if type == .uint8 || type == .int8, zeroPoint != 0 {
            // oneDNN adds the zero point before it rounds, which would move what lies between two bytes.
            operations.append(
                gdnn_post_op(kind: 0, algorithm: Int32(GDNN_ROUND.rawValue), alpha: 0, beta: 0, operand: nil))
        }
        if isBounded {
            operations.append(
                gdnn_post_op(
                    kind: 0, algorithm: Int32(GDNN_CLIP.rawValue), alpha: Float(bounds.lowerBound - zeroPoint),
                    beta: Float(bounds.upperBound - zeroPoint), operand: nil))
        }
        return try scales.withUnsafeBufferPointer { scales in
            try operations.withUnsafeBufferPointer { operations in
                var quantization = gdnn_quantization(
                    scales: scales.baseAddress, scale_count: Int32(scales.count), src_zero: zeroSource ?? 0,
                    weights_zero: zeroWeights, dst_zero: zeroPoint, src_zero_changes: zeroSource == nil ? 1 : 0)
                return try withUnsafePointer(to: &quantization) { quantization in
                    var attributes = gdnn_attributes(
                        post_ops: operations.baseAddress, post_op_count: Int32(operations.count), allow_bf16: 0,
                        quantization: quantization)
                    return try body(&attributes)
                }
            }
        }
    }
}

/// The least and greatest byte that a node lets through: an activation that was fused.
///
/// Rounding keeps order, so that holding bytes within rounded bounds is the same as holding numbers within the bounds
/// and rounding then.
struct ByteBounds: Sendable {
    var low: Int32?
    var high: Int32?

    /// The bounds of a node of Graft's own domain; others have none.
    init(_ node: KernelNode) {
        guard node.op.domain == graftDomain else { return }
        low = node.attributes.int("low").flatMap { Int32(exactly: $0) }
        high = node.attributes.int("high").flatMap { Int32(exactly: $0) }
    }
}

/// Bytes in the form in which oneDNN multiplies them.
package enum ByteNumbers {
    /// Whether oneDNN adds products of bytes into 32 bits here.
    ///
    /// Without AVX-512 VNNI its sums of two products go through 16 bits, in which they saturate; own kernels are exact
    /// everywhere.
    package static let areExact = gdnn_has_byte_products() != 0

    /// The versions of inputs that do not change in a run; -1 for one that is left out, nil where one is computed.
    static func versions(_ context: KernelContext, _ inputs: some Sequence<Int>) -> [Int]? {
        var result: [Int] = []
        for index in inputs {
            guard context.has(index) else {
                result.append(-1)
                continue
            }
            guard let version = context.version(index) else { return nil }
            result.append(version)
        }
        return result
    }

    /// Weights less their zero points as signed bytes; nil where one does not fit.
    ///
    /// - Parameter inner: how many elements lie between neighbours along the axis of the zero points.
    static func signed(
        _ weights: RuntimeTensor, _ zeroPoints: [Int32], inner: Int, _ context: KernelContext
    ) throws -> RuntimeTensor? {
        if weights.elementType == .int8, zeroPoints.allSatisfy({ $0 == 0 }) { return weights }
        let result = try context.temporary(.int8, weights.shape)
        let target = result.typed(Int8.self)
        func fill<T: QuantizedByte>(_ type: T.Type) -> Bool {
            let source = weights.typed(T.self)
            for index in 0..<weights.count {
                let zero = zeroPoints[zeroPoints.count == 1 ? 0 : index / inner % zeroPoints.count]
                guard let value = Int8(exactly: Int32(source[index]) - zero) else { return false }
                target[index] = value
            }
            return true
        }
        switch weights.elementType {
        case .uint8: return fill(UInt8.self) ? result : nil
        case .int8: return fill(Int8.self) ? result : nil
        default: throw KernelFailure("weights of type \(weights.elementType.name)")
        }
    }

    /// Signed weights in the layout that a primitive wants.
    static func packed(
        _ weights: RuntimeTensor, _ stored: MemoryDescriptor, as wanted: MemoryDescriptor, _ arena: Arena
    ) throws -> Buffer {
        let buffer = try arena.allocate(wanted.byteCount)
        try LayoutConverter(from: stored, to: wanted).run(weights.pointer, buffer.pointer, arena)
        return buffer
    }

    /// A block that holds numbers.
    static func buffer(_ numbers: [Float], _ arena: Arena) throws -> Buffer {
        let buffer = try arena.allocate(numbers.count * 4)
        numbers.withUnsafeBytes { bytes in
            if let base = bytes.baseAddress { buffer.pointer.copyMemory(from: base, byteCount: bytes.count) }
        }
        return buffer
    }
}

extension KernelContext {
    /// A bias in the unit of sums: integers as they are, numbers divided by the unit of their channel.
    ///
    /// A quotient that is an integer but for the rounding of its number is taken as that integer.
    func sumBias(_ index: Int, unit: [Float]) throws -> [Float] {
        let tensor = try plain(index)
        guard unit.count == 1 || tensor.count == unit.count else {
            throw KernelFailure("\(tensor.count) biases for \(unit.count) channels")
        }
        if tensor.elementType == .int32 {
            return (0..<tensor.count).map { Float(tensor.typed(Int32.self)[$0]) }
        }
        return try numbers(index).enumerated().map { position, number in
            let quotient = Double(number) / Double(unit[unit.count == 1 ? 0 : position])
            let nearest = quotient.rounded(.toNearestOrEven)
            guard quotient.isFinite else { throw KernelFailure("the bias \(number) has no place in the sums") }
            return Float(abs(quotient - nearest) <= abs(quotient) * 0x1p-22 ? nearest : quotient)
        }
    }
}

import CNumerics
import GraftCore

/// Runs a kernel that computes in 32-bit floating point on narrower numbers: operands are converted before, results
/// after.
///
/// A result that only such kernels read, or kernels that carry it to such, stays wide on the way: it is not rounded, and
/// not converted twice.
final class WideningKernel: WideResults {
    var staysWide: Set<Int> = []
    private let inner: any Kernel
    private var kept: [Int: (version: Int, tensor: RuntimeTensor)] = [:]

    init(_ inner: any Kernel) { self.inner = inner }

    func run(_ context: KernelContext) throws {
        // The first floating-point operand says what the results are; scales and the like may have another type.
        var first: ElementType?
        for index in 0..<context.inputCount {
            if let meant = try context.takeMeaning(of: index) {
                first = first ?? meant
                continue
            }
            guard let type = context.elementType(index) else { continue }
            if type.isFloatingPoint { first = first ?? type }
            guard type == .float16 || type == .bfloat16 else { continue }
            context.replaceInput(index, try widened(context.input(index), index, context))
        }
        try inner.run(context)
        guard let narrow = first, narrow == .float16 || narrow == .bfloat16 else { return }
        try context.settle(narrow, staysWide: staysWide)
    }

    /// An operand in 32 bits; one that is the same in the next run is converted once.
    private func widened(_ tensor: RuntimeTensor, _ index: Int, _ context: KernelContext) throws -> RuntimeTensor {
        guard let version = context.version(index) else { return try context.converted(tensor, .float32) }
        if let found = kept[index], found.version == version { return found.tensor }
        let result = try context.converted(tensor, .float32)
        kept[index] = (version, result)
        return result
    }
}

extension KernelContext {
    /// Rounds the outputs of 32 bits that stand for a narrower type, those aside that stay wide.
    func settle(_ narrow: ElementType, staysWide: Set<Int>) throws {
        for index in 0..<outputCount {
            guard case .tensor(var tensor)? = output(at: index), tensor.elementType == .float32 else { continue }
            if staysWide.contains(index) {
                tensor.standsFor = narrow
                set(index, tensor)
            } else {
                set(index, try converted(tensor, narrow))
            }
        }
    }

    /// A copy of a tensor with its elements converted between float32, float16 and bfloat16, rounded to nearest even;
    /// the memory order stays, but for blocks, which only 32-bit numbers lie in.
    func converted(_ tensor: RuntimeTensor, _ type: ElementType) throws -> RuntimeTensor {
        let tensor = tensor.layout.isBlocked ? try reordered(tensor, .channelsLast) : tensor
        let result = try temporary(type, tensor.shape, layout: tensor.layout)
        switch (tensor.elementType, type) {
        case (.float16, .float32):
            let (from, to) = (tensor.typed(UInt16.self), result.floats)
            let streams = Streaming.isWorthwhile(result.byteCount)
            Parallel.forEachRange(tensor.count, grain: 32768) {
                cnumerics_half_to_float_past(
                    from + $0.lowerBound, to + $0.lowerBound, $0.count, streams ? 1 : 0)
                Streaming.finish(streams)
            }
        case (.float32, .float16):
            let (from, to) = (tensor.floats, result.typed(UInt16.self))
            Streaming.forEachRange(tensor.count, into: to, isInPlace: false, grain: 32768) {
                cnumerics_float_to_half(from + $0.lowerBound, $1, $0.count)
            }
        case (.bfloat16, .float32), (.float32, .bfloat16): _ = CastKernels.vectorized(tensor, result)
        default: throw KernelFailure("cannot convert \(tensor.elementType.name) to \(type.name)")
        }
        return result
    }
}

/// Conversions of single numbers to bfloat16.
enum BFloat16 {
    /// The bits of a 32-bit number rounded to nearest even; a NaN stays one.
    @inline(__always) static func rounded(_ bits: UInt32) -> UInt16 {
        if bits & 0x7FFF_FFFF > 0x7F80_0000 { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
        return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
    }

    /// The bits of a 64-bit number rounded to nearest even, once.
    @inline(__always) static func rounded(_ value: Double) -> UInt16 {
        let single = Float(value)
        guard single.isFinite, Double(single) != value else { return rounded(single.bitPattern) }
        // A float32 that is not exact gets an odd last bit: rounding it again then goes the way of the exact number.
        let below = abs(Double(single)) < abs(value) ? single.bitPattern : single.bitPattern &- 1
        return rounded(below | 1)
    }
}

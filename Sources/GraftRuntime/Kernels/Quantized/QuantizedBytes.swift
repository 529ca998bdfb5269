import CNumerics
import GraftCore
import GraftIR

/// The scale and zero point of a tensor of bytes.
struct ByteScale {
    let scale: Float
    let zeroPoint: Int32

    /// The numbers of all 256 bit patterns of a type.
    func numbers(_ type: ElementType) throws -> [Float] {
        switch type {
        case .uint8: return (0..<256).map { Float(Int32($0) - zeroPoint) * scale }
        case .int8: return (0..<256).map { Float(Int32(Int8(truncatingIfNeeded: $0)) - zeroPoint) * scale }
        default: throw KernelFailure("elements of type \(type.name)")
        }
    }

    /// The bit pattern that is nearest to a number.
    func code(_ value: Float, _ type: ElementType) throws -> UInt8 {
        switch type {
        case .uint8: return UInt8(truncatingIfNeeded: Requantizer(zeroPoint: zeroPoint, UInt8.self)(value / scale))
        case .int8: return UInt8(truncatingIfNeeded: Requantizer(zeroPoint: zeroPoint, Int8.self)(value / scale))
        default: throw KernelFailure("a result of type \(type.name)")
        }
    }
}

extension KernelContext {
    /// The scale and zero point that two inputs hold.
    func byteScale(_ scaleInput: Int, _ zeroPointInput: Int) throws -> ByteScale {
        ByteScale(scale: try scale(scaleInput), zeroPoint: try zeroPoint(zeroPointInput))
    }

    /// The numbers that a tensor of bytes stands for.
    func dequantized(_ x: RuntimeTensor, _ scale: ByteScale) throws -> RuntimeTensor {
        guard x.elementType == .uint8 || x.elementType == .int8 else {
            throw KernelFailure("elements of type \(x.elementType.name)")
        }
        let y = try temporary(.float32, x.shape, layout: x.layout)
        let (source, target, isSigned) = (x.pointer, y.floats, Int32(x.elementType == .int8 ? 1 : 0))
        Parallel.forEachRange(x.count, grain: 16384) { range in
            cintegers_dequantize(
                source + range.lowerBound, isSigned, scale.zeroPoint, scale.scale, target + range.lowerBound,
                range.count)
        }
        return y
    }

    /// The bytes nearest to the numbers of a tensor.
    func quantized(_ x: RuntimeTensor, _ scale: ByteScale, _ type: ElementType) throws -> RuntimeTensor {
        guard type == .uint8 || type == .int8, let (low, high) = QuantizeKernels.range(type) else {
            throw KernelFailure("a result of type \(type.name)")
        }
        let y = try temporary(type, x.shape, layout: x.layout)
        let (source, target) = (x.floats, y.typed(UInt8.self))
        let rounded = Requantizer(zeroPoint: scale.zeroPoint, lowest: low, highest: high)
        Parallel.forEachRange(x.count, grain: 16384) { range in
            cintegers_quantize(
                source + range.lowerBound, scale.scale, rounded.low, rounded.high, scale.zeroPoint,
                target + range.lowerBound, range.count)
        }
        return y
    }

    /// A tensor of bytes with each replaced by what a function makes of its number.
    func mapped(
        _ x: RuntimeTensor, _ from: ByteScale, _ to: ByteScale, _ type: ElementType, _ function: (Float) -> Float
    ) throws -> RuntimeTensor {
        let codes = try from.numbers(x.elementType).map { try to.code(function($0), type) }
        let y = try temporary(type, x.shape, layout: x.layout)
        codes.withUnsafeBufferPointer { codes in
            if let codes = codes.baseAddress { ByteLookup.run(x, codes, y) }
        }
        return y
    }
}

/// Bytes that are replaced by those of a table.
enum ByteLookup {
    /// Writes the entry of each byte of `x` to `y`.
    static func run(_ x: RuntimeTensor, _ table: UnsafePointer<UInt8>, _ y: RuntimeTensor) {
        let (source, target) = (x.typed(UInt8.self), y.typed(UInt8.self))
        Parallel.forEachRange(x.count, grain: 32768) { range in
            cintegers_look_up(source + range.lowerBound, table, target + range.lowerBound, range.count)
        }
    }
}

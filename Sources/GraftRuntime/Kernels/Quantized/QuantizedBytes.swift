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
        let y = try temporary(.float32, x.shape, layout: x.layout)
        let (source, target) = (x.typed(UInt8.self), y.floats)
        try scale.numbers(x.elementType).withUnsafeBufferPointer { numbers in
            let numbers = numbers
            Parallel.forEachRange(x.count, grain: 16384) { range in
                for index in range { target[index] = numbers[Int(source[index])] }
            }
        }
        return y
    }

    /// The bytes nearest to the numbers of a tensor.
    func quantized(_ x: RuntimeTensor, _ scale: ByteScale, _ type: ElementType) throws -> RuntimeTensor {
        let y = try temporary(type, x.shape, layout: x.layout)
        let (source, by) = (x.floats, scale.scale)
        func run<T: QuantizedByte>(_ byte: T.Type) {
            let (target, rounded) = (y.typed(T.self), Requantizer(zeroPoint: scale.zeroPoint, T.self))
            Parallel.forEachRange(x.count, grain: 16384) { range in
                for index in range { target[index] = T(truncatingIfNeeded: rounded(source[index] / by)) }
            }
        }
        switch type {
        case .uint8: run(UInt8.self)
        case .int8: run(Int8.self)
        default: throw KernelFailure("a result of type \(type.name)")
        }
        return y
    }

    /// A tensor of bytes with each replaced by what a function makes of its number.
    func mapped(
        _ x: RuntimeTensor, _ from: ByteScale, _ to: ByteScale, _ type: ElementType, _ function: (Float) -> Float
    ) throws -> RuntimeTensor {
        let codes = try from.numbers(x.elementType).map { try to.code(function($0), type) }
        let y = try temporary(type, x.shape, layout: x.layout)
        let (source, target) = (x.typed(UInt8.self), y.typed(UInt8.self))
        codes.withUnsafeBufferPointer { codes in
            let codes = codes
            Parallel.forEachRange(x.count, grain: 32768) { range in
                for index in range { target[index] = codes[Int(source[index])] }
            }
        }
        return y
    }
}

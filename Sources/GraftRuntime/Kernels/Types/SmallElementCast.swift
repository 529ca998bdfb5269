import GraftCore
import GraftIR

/// What Cast converts to, and how.
struct CastSettings: Sendable {
    /// The type of the result.
    let type: ElementType
    /// Whether numbers beyond a floating-point type of 8 bits become its largest.
    let saturates: Bool
    /// How float8e8m0 rounds.
    let rounding: PowerOfTwoScale.Rounding

    init(_ type: ElementType, saturates: Bool = true, rounding: PowerOfTwoScale.Rounding = .up) {
        self.type = type
        self.saturates = saturates
        self.rounding = rounding
    }

    init(_ node: KernelNode, _ type: ElementType) throws {
        let name = node.attributes.string("round_mode") ?? "up"
        guard let rounding = PowerOfTwoScale.Rounding(rawValue: name) else {
            throw KernelFailure("the round_mode \"\(name)\"")
        }
        self.init(type, saturates: node.attributes.int("saturate") ?? 1 != 0, rounding: rounding)
    }

    /// The same with another type.
    func to(_ type: ElementType) -> CastSettings { CastSettings(type, saturates: saturates, rounding: rounding) }
}

extension KernelContext {
    /// The elements of a packed tensor, a byte each, as a uint8 tensor.
    func unpacked(_ x: RuntimeTensor) throws -> RuntimeTensor {
        let codes = try temporary(.uint8, x.shape)
        let bytes = UnsafeRawBufferPointer(start: x.pointer, count: x.byteCount)
        let (target, width, count) = (codes.typed(UInt8.self), x.elementType.bitWidth, x.count)
        Parallel.forEachRange((count + 3) / 4, grain: 4096) { groups in
            SmallElements.unpack(
                bytes, bitWidth: width, (4 * groups.lowerBound)..<min(count, 4 * groups.upperBound), into: target)
        }
        return codes
    }

    /// Packs elements that lie in a byte each.
    func packed(_ codes: RuntimeTensor, _ type: ElementType) throws -> RuntimeTensor {
        let result = try temporary(type, codes.shape)
        let plain = try reordered(codes, .rowMajor)
        let bytes = UnsafeMutableRawBufferPointer(start: result.pointer, count: result.byteCount)
        let (source, count) = (plain.typed(UInt8.self), plain.count)
        Parallel.forEachRange((count + 3) / 4, grain: 4096) { groups in
            SmallElements.pack(
                source, bitWidth: type.bitWidth, (4 * groups.lowerBound)..<min(count, 4 * groups.upperBound),
                into: bytes)
        }
        return result
    }

    /// The numbers of a tensor of small elements as float32, which holds them all.
    func decoded(_ x: RuntimeTensor) throws -> RuntimeTensor {
        guard let numbers = SmallElements.numbers(x.elementType) else {
            throw KernelFailure("elements of type \(x.elementType.name)")
        }
        let codes = x.elementType.isPacked ? try unpacked(x) : x
        let result = try temporary(.float32, x.shape, layout: codes.layout)
        let (source, target) = (codes.typed(UInt8.self), result.floats)
        numbers.withUnsafeBufferPointer { numbers in
            Parallel.forEachRange(x.count, grain: 16384) { range in
                for index in range { target[index] = numbers[Int(source[index])] }
            }
        }
        return result
    }

    /// Rounds numbers to a type of small elements.
    ///
    /// - Parameter x: a tensor of float32 or float64.
    func encoded(_ x: RuntimeTensor, _ settings: CastSettings) throws -> RuntimeTensor {
        let codes = try temporary(
            settings.type.isPacked ? .uint8 : settings.type, x.shape, layout: x.layout)
        switch x.elementType {
        case .float32: try encode(Float.self, x, codes, settings)
        case .float64: try encode(Double.self, x, codes, settings)
        default: throw KernelFailure("elements of type \(x.elementType.name)")
        }
        return settings.type.isPacked ? try packed(codes, settings.type) : codes
    }

    private func encode<T: BinaryFloatingPoint & BitwiseCopyable>(
        _ type: T.Type, _ x: RuntimeTensor, _ codes: RuntimeTensor, _ settings: CastSettings
    ) throws {
        let (source, target, saturates) = (x.typed(T.self), codes.typed(UInt8.self), settings.saturates)
        if let format = SmallFloat(settings.type) {
            Parallel.forEachRange(x.count, grain: 4096) { range in
                for index in range { target[index] = format.encode(Double(source[index]), saturates: saturates) }
            }
        } else if settings.type == .float8e8m0 {
            let rounding = settings.rounding
            Parallel.forEachRange(x.count, grain: 4096) { range in
                for index in range {
                    target[index] = PowerOfTwoScale.encode(
                        Double(source[index]), saturates: saturates, rounding: rounding)
                }
            }
        } else {
            throw KernelFailure("conversion to \(settings.type.name)")
        }
    }

    /// Converts from or to a type of small elements.
    func castSmall(_ x: RuntimeTensor, _ settings: CastSettings) throws -> RuntimeTensor {
        var source = x
        if SmallElements.contains(x.elementType) {
            source = try decoded(x)
            // Integers take the way of integers, which wraps instead of saturating.
            if x.elementType.isInteger { source = try CastKernels.cast(self, source, to: .int8) }
        }
        guard SmallElements.contains(settings.type) else { return try cast(source, settings.type) }
        if settings.type.isInteger {
            // The lowest bits count.
            let whole = try cast(source, .int8)
            return try packed(
                RuntimeTensor(.uint8, whole.shape, layout: whole.layout, buffer: whole.buffer, offset: whole.offset),
                settings.type)
        }
        switch source.elementType {
        case .float32, .float64: break
        case .float16, .bfloat16: source = try cast(source, .float32)
        default: source = try cast(source, .float64)
        }
        return try encoded(source, settings)
    }
}

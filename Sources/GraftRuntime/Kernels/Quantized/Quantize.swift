import CNumerics
import GraftCore
import GraftIR

/// QuantizeLinear and DynamicQuantizeLinear.
enum QuantizeKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("QuantizeLinear", prepare: { try QuantizationSettings($0) }, run: { try quantize($1, $0) }),
            .function(
                "QuantizeLinear", domain: "com.microsoft", prepare: { try QuantizationSettings($0) },
                run: { try quantize($1, $0) }),
            .function("DynamicQuantizeLinear") { try quantizeDynamically($0) },
        ]
    }

    /// The least and greatest integer of a type that tensors are quantised to.
    static func range(_ type: ElementType) -> (Int32, Int32)? {
        switch type {
        case .uint8: (0, 255)
        case .int8: (-128, 127)
        case .uint16: (0, 65535)
        case .int16: (-32768, 32767)
        case .uint4: (0, 15)
        case .int4: (-8, 7)
        case .uint2: (0, 3)
        case .int2: (-2, 1)
        default: nil
        }
    }

    private static func quantize(_ context: KernelContext, _ settings: QuantizationSettings) throws {
        let scaleTensor = try context.plain(1)
        var x = settings.blockSize > 0 ? try context.plain(0) : try context.input(0)
        let zero = context.has(2) ? try context.plain(2) : nil
        let type = zero?.elementType ?? settings.outputType ?? .uint8
        if let wanted = settings.outputType, wanted != type {
            throw KernelFailure("output_dtype is \(wanted.name), the zero point's type \(type.name)")
        }
        if let zero, zero.count != scaleTensor.count {
            throw KernelFailure("\(zero.count) zero points for \(scaleTensor.count) scales")
        }
        let grid = try QuantizationGrid(x, scales: scaleTensor, settings)
        let precision =
            settings.precision ?? (scaleTensor.elementType == .float8e8m0 ? .float32 : scaleTensor.elementType)
        let isWide = x.elementType == .int32 || precision == .int32
        var scales = try context.castAny(scaleTensor, isWide ? .float64 : .float32)
        x = try context.castAny(x, isWide ? .float64 : .float32)
        let zeros = try zero.map { try context.castAny($0, .float32) }

        if !isWide, precision == .float32, let (low, high) = range(type) {
            try round(context, x, grid, scales, zeros, type, low, high)
            return
        }
        // The quotient is rounded to the precision before it is rounded to an integer.
        var quotient = try divide(context, x, grid, scales, precision, isWide: isWide)
        scales = try context.temporary(.float32, [scales.count])
        scales.floats.update(repeating: 1, count: scales.count)
        if let (low, high) = range(type) {
            try round(context, quotient, grid, scales, zeros, type, low, high)
            return
        }
        if let zeros, type.isPacked { quotient = try add(context, quotient, grid, zeros) }
        context.set(0, try context.encoded(quotient, CastSettings(type, saturates: settings.saturates)))
    }

    /// The quotients of elements and scales as float32.
    private static func divide(
        _ context: KernelContext, _ x: RuntimeTensor, _ grid: QuantizationGrid, _ scales: RuntimeTensor,
        _ precision: ElementType, isWide: Bool
    ) throws -> RuntimeTensor {
        if isWide {
            // Whole quotients of integers, so that no second rounding moves one.
            let result = try context.temporary(.float32, x.shape, layout: x.layout)
            let (source, target, scale) = (x.typed(Double.self), result.floats, scales.typed(Double.self))
            Parallel.forEachRange(grid.runs, grain: grid.grain) { range in
                for index in range {
                    let run = grid.run(index)
                    for place in 0..<run.count {
                        let value = source[run.start + place] / scale[run.scale + place * grid.step]
                        target[run.start + place] = Float(value.rounded(.toNearestOrEven))
                    }
                }
            }
            return result
        }
        let numerator: RuntimeTensor
        let denominator: RuntimeTensor
        switch precision {
        case .float32: (numerator, denominator) = (x, scales)
        case .float16, .bfloat16:
            numerator = try context.converted(context.converted(x, precision), .float32)
            denominator = try context.converted(context.converted(scales, precision), .float32)
        default: throw KernelFailure("division with a precision of \(precision.name)")
        }
        let result = try context.temporary(.float32, x.shape, layout: x.layout)
        let (source, target, scale) = (numerator.floats, result.floats, denominator.floats)
        Parallel.forEachRange(grid.runs, grain: grid.grain) { range in
            for index in range {
                let run = grid.run(index)
                let (from, to, by) = (source + run.start, target + run.start, scale + run.scale)
                for place in 0..<run.count { to[place] = from[place] / by[place * grid.step] }
            }
        }
        if precision == .float32 { return result }
        return try context.converted(context.converted(result, precision), .float32)
    }

    private static func add(
        _ context: KernelContext, _ x: RuntimeTensor, _ grid: QuantizationGrid, _ zeros: RuntimeTensor
    ) throws -> RuntimeTensor {
        let result = try context.temporary(.float32, x.shape, layout: x.layout)
        let (source, target, zero) = (x.floats, result.floats, zeros.floats)
        Parallel.forEachRange(grid.runs, grain: grid.grain) { range in
            for index in range {
                let run = grid.run(index)
                for place in 0..<run.count {
                    target[run.start + place] = source[run.start + place] + zero[run.scale + place * grid.step]
                }
            }
        }
        return result
    }

    /// Sets output 0 to the elements over their scales, rounded, plus zero points, within the bounds.
    private static func round(
        _ context: KernelContext, _ x: RuntimeTensor, _ grid: QuantizationGrid, _ scales: RuntimeTensor,
        _ zeros: RuntimeTensor?, _ type: ElementType, _ low: Int32, _ high: Int32
    ) throws {
        let count = scales.count
        let points = (0..<count).map { index in zeros.map { Int32($0.floats[index]) } ?? 0 }
        let stored: ElementType = type.isPacked ? .uint8 : type
        let y = try context.temporary(stored, x.shape, layout: x.layout)
        let (source, scale) = (x.floats, scales.floats)
        points.withUnsafeBufferPointer { points in
            switch stored {
            case .uint8: round(UInt8.self, source, y.typed(UInt8.self), grid, scale, points, low, high)
            case .int8: round(Int8.self, source, y.typed(Int8.self), grid, scale, points, low, high)
            case .uint16: round(UInt16.self, source, y.typed(UInt16.self), grid, scale, points, low, high)
            default: round(Int16.self, source, y.typed(Int16.self), grid, scale, points, low, high)
            }
        }
        context.set(0, type.isPacked ? try context.packed(y, type) : y)
    }

    private static func round<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, _ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<T>, _ grid: QuantizationGrid,
        _ scales: UnsafePointer<Float>, _ points: UnsafeBufferPointer<Int32>, _ low: Int32, _ high: Int32
    ) {
        Parallel.forEachRange(grid.runs, grain: grid.grain) { range in
            for index in range {
                let run = grid.run(index)
                let (from, to) = (source + run.start, target + run.start)
                if grid.step == 0 {
                    let scale = scales[run.scale]
                    let rounded = Requantizer(zeroPoint: points[run.scale], lowest: low, highest: high)
                    if MemoryLayout<T>.size == 1 {
                        cintegers_quantize(
                            from, scale, rounded.low, rounded.high, rounded.zeroPoint,
                            UnsafeMutableRawPointer(to).assumingMemoryBound(to: UInt8.self), run.count)
                        continue
                    }
                    for place in 0..<run.count { to[place] = T(truncatingIfNeeded: rounded(from[place] / scale)) }
                } else {
                    for place in 0..<run.count {
                        let position = run.scale + place
                        let rounded = Requantizer(zeroPoint: points[position], lowest: low, highest: high)
                        to[place] = T(truncatingIfNeeded: rounded(from[place] / scales[position]))
                    }
                }
            }
        }
    }

    // MARK: DynamicQuantizeLinear

    /// The scale and zero point under which bytes hold the numbers of a tensor and zero.
    static func dynamicScale(_ x: RuntimeTensor) -> (scale: Float, zeroPoint: Int32) {
        let (source, count) = (x.floats, x.count)
        let parts = max(1, min(Parallel.threads, count / 16384))
        var extremes = [(Float, Float)](repeating: (0, 0), count: parts)
        extremes.withUnsafeMutableBufferPointer { extremes in
            let extremes = extremes
            Parallel.forEachRange(parts) { range in
                for part in range {
                    var (low, high): (Float, Float) = (0, 0)
                    let start = count * part / parts
                    cintegers_extremes(source + start, count * (part + 1) / parts - start, &low, &high)
                    extremes[part] = (low, high)
                }
            }
        }
        let low = extremes.map(\.0).min() ?? 0
        let high = extremes.map(\.1).max() ?? 0
        let scale = high == low ? 1 : (high - low) / 255
        let zero = (-low / scale).rounded(.toNearestOrEven)
        return (scale, Int32(max(0, min(255, zero.isNaN ? 0 : zero))))
    }

    /// Bytes that hold the numbers of a tensor.
    static func quantized(
        _ context: KernelContext, _ x: RuntimeTensor, scale: Float, zeroPoint: Int32
    ) throws -> RuntimeTensor {
        let y = try context.temporary(.uint8, x.shape, layout: x.layout)
        let (source, target) = (x.floats, y.typed(UInt8.self))
        let rounded = Requantizer(zeroPoint: zeroPoint, UInt8.self)
        Parallel.forEachRange(x.count, grain: 16384) { range in
            cintegers_quantize(
                source + range.lowerBound, scale, rounded.low, rounded.high, zeroPoint, target + range.lowerBound,
                range.count)
        }
        return y
    }

    private static func quantizeDynamically(_ context: KernelContext) throws {
        let x = try context.input(0)
        guard x.elementType == .float32 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        let (scale, zeroPoint) = dynamicScale(x)
        context.set(0, try quantized(context, x, scale: scale, zeroPoint: zeroPoint))
        try context.output(1, .float32, []).floats.pointee = scale
        try context.output(2, .uint8, []).typed(UInt8.self).pointee = UInt8(truncatingIfNeeded: zeroPoint)
    }
}

extension KernelContext {
    /// A tensor with its elements converted to another type, small elements included.
    func castAny(_ tensor: RuntimeTensor, _ type: ElementType) throws -> RuntimeTensor {
        SmallElements.contains(tensor.elementType)
            ? try castSmall(tensor, CastSettings(type)) : try cast(tensor, type)
    }
}

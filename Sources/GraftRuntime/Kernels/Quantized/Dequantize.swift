import CNumerics
import GraftCore
import GraftIR

/// DequantizeLinear.
enum DequantizeKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        ["", "com.microsoft"].map { domain in
            .function(
                "DequantizeLinear", domain: domain, prepare: { try QuantizationSettings($0) },
                run: { try dequantize($1, $0) })
        }
    }

    private static func dequantize(_ context: KernelContext, _ settings: QuantizationSettings) throws {
        let scaleTensor = try context.plain(1)
        var x = settings.blockSize > 0 ? try context.plain(0) : try context.input(0)
        let type =
            settings.outputType ?? (scaleTensor.elementType == .float8e8m0 ? .float32 : scaleTensor.elementType)
        guard [.float32, .float16, .bfloat16].contains(type) else {
            throw KernelFailure("a result of type \(type.name)")
        }
        let grid = try QuantizationGrid(x, scales: scaleTensor, settings)
        let scales = try context.castAny(scaleTensor, .float32)
        var zeros: RuntimeTensor?
        if context.has(2) {
            let given = try context.plain(2)
            guard given.elementType == x.elementType, given.count == scaleTensor.count else {
                throw KernelFailure(
                    "\(given.count) zero points of type \(given.elementType.name) for \(scaleTensor.count) scales of "
                        + "\(x.elementType.name)")
            }
            zeros = try context.castAny(given, .float32)
        }
        if SmallElements.contains(x.elementType) { x = try context.decoded(x) }
        let y = try context.temporary(.float32, x.shape, layout: x.layout)
        switch x.elementType {
        case .float32: multiply(Float.self, x, y, grid, scales, zeros)
        case .uint8: multiply(UInt8.self, x, y, grid, scales, zeros)
        case .int8: multiply(Int8.self, x, y, grid, scales, zeros)
        case .uint16: multiply(UInt16.self, x, y, grid, scales, zeros)
        case .int16: multiply(Int16.self, x, y, grid, scales, zeros)
        case .int32: multiply(Int32.self, x, y, grid, scales, zeros)
        default: throw KernelFailure("elements of type \(x.elementType.name)")
        }
        context.set(0, type == .float32 ? y : try context.converted(y, type))
    }

    private static func multiply<T: Countable>(
        _ type: T.Type, _ x: RuntimeTensor, _ y: RuntimeTensor, _ grid: QuantizationGrid, _ scales: RuntimeTensor,
        _ zeros: RuntimeTensor?
    ) {
        let (source, target, scale) = (x.typed(T.self), y.floats, scales.floats)
        let zero = zeros?.floats
        Parallel.forEachRange(grid.runs, grain: grid.grain) { range in
            for index in range {
                let run = grid.run(index)
                let (from, to) = (source + run.start, target + run.start)
                if grid.step == 0 {
                    let (factor, point) = (scale[run.scale], zero?[run.scale] ?? 0)
                    if MemoryLayout<T>.size == 1 {
                        cintegers_dequantize(
                            from, T.self == Int8.self ? 1 : 0, Int32(point), factor, to, run.count)
                        continue
                    }
                    for place in 0..<run.count { to[place] = (from[place].number - point) * factor }
                } else if let zero {
                    for place in 0..<run.count {
                        to[place] = (from[place].number - zero[run.scale + place]) * scale[run.scale + place]
                    }
                } else {
                    for place in 0..<run.count { to[place] = from[place].number * scale[run.scale + place] }
                }
            }
        }
    }
}

/// What dequantization takes as a 32-bit number.
private protocol Countable: BitwiseCopyable {
    var number: Float { get }
}

extension Float: Countable { @inline(__always) fileprivate var number: Float { self } }
extension UInt8: Countable { @inline(__always) fileprivate var number: Float { Float(self) } }
extension Int8: Countable { @inline(__always) fileprivate var number: Float { Float(self) } }
extension UInt16: Countable { @inline(__always) fileprivate var number: Float { Float(self) } }
extension Int16: Countable { @inline(__always) fileprivate var number: Float { Float(self) } }
extension Int32: Countable { @inline(__always) fileprivate var number: Float { Float(self) } }

import GraftCore
import GraftIR

/// IsInf and IsNaN, by the bits of the numbers.
enum FloatClassKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("IsNaN") { context in
                try test(context) { magnitude, _, infinity in magnitude > infinity }
            },
            .function(
                "IsInf",
                prepare: { node in
                    (
                        node.attributes.int("detect_positive") ?? 1 != 0,
                        node.attributes.int("detect_negative") ?? 1 != 0
                    )
                },
                run: { wanted, context in
                    let (positive, negative) = wanted
                    try test(context) { magnitude, isNegative, infinity in
                        magnitude == infinity && (isNegative ? negative : positive)
                    }
                }),
        ]
    }

    /// Sets output 0 to a test of each number: its bits without the sign, the sign, and the bits of infinity.
    @inline(__always)
    private static func test(_ context: KernelContext, _ isFound: (UInt64, Bool, UInt64) -> Bool) throws {
        switch try context.input(0).elementType {
        case .float32: try test(UInt32.self, context, infinity: 0x7F80_0000, isFound)
        case .float64: try test(UInt64.self, context, infinity: 0x7FF0_0000_0000_0000, isFound)
        case .float16: try test(UInt16.self, context, infinity: 0x7C00, isFound)
        case .bfloat16: try test(UInt16.self, context, infinity: 0x7F80, isFound)
        // Formats without infinities have one NaN with the bits all set, or nothing but a sign.
        case .float8e4m3fn: try test(UInt8.self, context, infinity: 0x7E, hasInfinity: false, isFound)
        case .float8e5m2: try test(UInt8.self, context, infinity: 0x7C, isFound)
        case .float8e4m3fnuz, .float8e5m2fnuz:
            let x = try context.input(0)
            let y = try context.output(0, .bool, x.shape, layout: x.layout)
            let isNaNFound = isFound(0x80, true, 0x7F)
            let (source, target) = (x.typed(UInt8.self), y.typed(UInt8.self))
            for index in 0..<x.count { target[index] = isNaNFound && source[index] == 0x80 ? 1 : 0 }
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    @inline(__always)
    private static func test<B: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        _ type: B.Type, _ context: KernelContext, infinity: B, hasInfinity: Bool = true,
        _ isFound: (UInt64, Bool, UInt64) -> Bool
    ) throws {
        let x = try context.input(0)
        let y = try context.output(0, .bool, x.shape, layout: x.layout)
        let (source, target) = (x.typed(B.self), y.typed(UInt8.self))
        let magnitude = B.max >> 1
        Parallel.forEachRange(x.count, grain: 16384) { range in
            for index in range {
                let bits = source[index]
                let size = bits & magnitude
                let isThere = hasInfinity || size != infinity
                target[index] = isThere && isFound(UInt64(size), bits > magnitude, UInt64(infinity)) ? 1 : 0
            }
        }
    }
}

import CNumerics
import COneDNN
import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Functions of one number that oneDNN lacks or that other types than float32 need, Clip, Pow, Mod and PRelu.
enum ElementwiseKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        withSettings
            + floating.map { type, function, double in
                .function(type, widens: true) { try mapFloating($0, function, double) }
            }
            + vectors.map { type, function, double in
                .function(type, widens: true) { context in
                    switch try context.input(0).elementType {
                    case .float32: try function(context)
                    case .float64: try map(Double.self, context, double)
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                }
            } + [
                .function("Neg", widens: true) { context in
                    switch try context.input(0).elementType {
                    case .float32: try PreciseActivations.mapVectors(context, cvectormath_negate)
                    case .float64: try map(Double.self, context) { -$0 }
                    case .int8: try map(Int8.self, context) { 0 &- $0 }
                    case .int16: try map(Int16.self, context) { 0 &- $0 }
                    case .int32: try map(Int32.self, context) { 0 &- $0 }
                    case .int64: try map(Int64.self, context) { 0 &- $0 }
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                },
                .function("Abs", widens: true) { context in
                    switch try context.input(0).elementType {
                    case .float32: try PreciseActivations.mapVectors(context, cvectormath_absolute)
                    case .float64: try map(Double.self, context) { abs($0) }
                    case .int8: try map(Int8.self, context) { $0 < 0 ? 0 &- $0 : $0 }
                    case .int16: try map(Int16.self, context) { $0 < 0 ? 0 &- $0 : $0 }
                    case .int32: try map(Int32.self, context) { $0 < 0 ? 0 &- $0 : $0 }
                    case .int64: try map(Int64.self, context) { $0 < 0 ? 0 &- $0 : $0 }
                    case .uint8, .uint16, .uint32, .uint64: context.set(0, try context.input(0))
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                },
                .function("Sign", widens: true) { context in
                    switch try context.input(0).elementType {
                    case .float32: try map(Float.self, context) { $0 > 0 ? 1 : $0 < 0 ? -1 : $0 }
                    case .float64: try map(Double.self, context) { $0 > 0 ? 1 : $0 < 0 ? -1 : $0 }
                    case .int8: try map(Int8.self, context) { $0.signum() }
                    case .int16: try map(Int16.self, context) { $0.signum() }
                    case .int32: try map(Int32.self, context) { $0.signum() }
                    case .int64: try map(Int64.self, context) { $0.signum() }
                    case .uint8: try map(UInt8.self, context) { $0.signum() }
                    case .uint16: try map(UInt16.self, context) { $0.signum() }
                    case .uint32: try map(UInt32.self, context) { $0.signum() }
                    case .uint64: try map(UInt64.self, context) { $0.signum() }
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                },
                .function(
                    "PRelu", widens: true, prepare: { $0.opset },
                    run: { opset, context in
                        if opset < 7 { try alignChannels(context) }
                        let (tensors, walk) = try context.broadcast([0, 1])
                        guard tensors.allSatisfy({ $0.elementType == .float32 }) else {
                            throw KernelFailure("elements of type \(tensors[0].elementType.name)")
                        }
                        let y = try context.output(0, .float32, walk.shape, layout: walk.layout)
                        combine(
                            walk, UnsafePointer(tensors[0].floats), UnsafePointer(tensors[1].floats), y.floats,
                            Sloping.self)
                    }),
                .function(
                    "Clip", opsets: 1...10, widens: true,
                    prepare: numbers(("min", -.greatestFiniteMagnitude), ("max", .greatestFiniteMagnitude)),
                    run: { bounds, context in
                        guard try context.input(0).elementType == .float64 else {
                            return try clipFloats(context, bounds.0, bounds.1)
                        }
                        let (low, high) = (Double(bounds.0), Double(bounds.1))
                        try map(Double.self, context) { min(max($0, low), high) }
                    }),
                .function("Clip", opsets: 11...KernelRegistry.newestOpset, widens: true) { try clip($0) },
            ]
    }

    /// Before opset 7 a slope of one axis goes with the channels.
    private static func alignChannels(_ context: KernelContext) throws {
        let (x, slope) = (try context.input(0), try context.plain(1))
        guard x.rank >= 2, slope.rank == 1 else { return }
        context.replaceInput(1, slope.viewed([slope.count] + Array(repeating: 1, count: x.rank - 2)))
    }

    private static var withSettings: [KernelDefinition] {
        [
            .function(
                "HardSigmoid", widens: true, prepare: numbers(("alpha", 0.2), ("beta", 0.5)),
                run: { try map($0, $1, hardSigmoid) }),
            .function(
                "Selu", widens: true,
                prepare: numbers(("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875)),
                run: { try map($0, $1, selu) }),
            .function("Celu", widens: true, prepare: numbers(("alpha", 1), ("", 0)), run: { try map($0, $1, celu) }),
            .function(
                "ThresholdedRelu", widens: true, prepare: numbers(("alpha", 1), ("", 0)),
                run: { try map($0, $1, thresholded) }),
            .function(
                "Shrink", widens: true, prepare: numbers(("lambd", 0.5), ("bias", 0)),
                run: { try map($0, $1, shrink) }),
        ]
    }

    private typealias Settings = (Float, Float)

    /// What reads two attributes of a node, with their defaults.
    private static func numbers(
        _ first: (String, Float), _ second: (String, Float)
    ) -> @Sendable (KernelNode) -> Settings {
        { ($0.attributes.float(first.0) ?? first.1, $0.attributes.float(second.0) ?? second.1) }
    }

    @inline(__always) private static func hardSigmoid(_ settings: Settings, _ x: Float) -> Float {
        let y = settings.0 * x + settings.1
        let raised = y < 0 ? 0 : y
        return raised > 1 ? 1 : raised
    }

    @inline(__always) private static func selu(_ settings: Settings, _ x: Float) -> Float {
        settings.1 * (x > 0 ? x : settings.0 * (expf(x) - 1))
    }

    @inline(__always) private static func celu(_ settings: Settings, _ x: Float) -> Float {
        max(0, x) + min(0, settings.0 * (expf(x / settings.0) - 1))
    }

    @inline(__always) private static func thresholded(_ settings: Settings, _ x: Float) -> Float {
        x > settings.0 ? x : 0
    }

    @inline(__always) private static func shrink(_ settings: Settings, _ x: Float) -> Float {
        x < -settings.0 ? x + settings.1 : x > settings.0 ? x - settings.1 : 0
    }

    private static let floating: [(String, @Sendable (Float) -> Float, @Sendable (Double) -> Double)] = [
        ("Tan", { tanf($0) }, { tan($0) }), ("Asin", { asinf($0) }, { asin($0) }),
        ("Acos", { acosf($0) }, { acos($0) }), ("Atan", { atanf($0) }, { atan($0) }),
        ("Sinh", { sinhf($0) }, { sinh($0) }), ("Cosh", { coshf($0) }, { cosh($0) }),
        ("Asinh", { asinhf($0) }, { asinh($0) }), ("Acosh", { acoshf($0) }, { acosh($0) }),
        ("Atanh", { atanhf($0) }, { atanh($0) }), ("Softsign", { $0 / (1 + abs($0)) }, { $0 / (1 + abs($0)) }),
    ]

    /// Functions that loops over vectors compute for 32-bit numbers.
    private static let vectors: [(String, @Sendable (KernelContext) throws -> Void, @Sendable (Double) -> Double)] = [
        ("Floor", { try PreciseActivations.mapVectors($0, cvectormath_floor) }, { $0.rounded(.down) }),
        ("Ceil", { try PreciseActivations.mapVectors($0, cvectormath_ceil) }, { $0.rounded(.up) }),
        ("Round", { try PreciseActivations.mapVectors($0, cvectormath_round) }, { $0.rounded(.toNearestOrEven) }),
        ("Reciprocal", { try PreciseActivations.mapVectors($0, cvectormath_reciprocal) }, { 1 / $0 }),
        ("Erf", { try PreciseActivations.mapVectors($0, cvectormath_erf) }, { erf($0) }),
        ("Sin", { try PreciseActivations.mapVectors($0, cvectormath_sin) }, { sin($0) }),
        ("Cos", { try PreciseActivations.mapVectors($0, cvectormath_cos) }, { cos($0) }),
    ]

    private static func mapFloating(
        _ context: KernelContext, _ function: (Float) -> Float, _ double: (Double) -> Double
    ) throws {
        switch try context.input(0).elementType {
        case .float32: try map(Float.self, context, function)
        case .float64: try map(Double.self, context, double)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    /// Computes output 0 element by element; the memory order stays.
    @inline(__always)
    static func map<T: TensorElement>(_ type: T.Type, _ context: KernelContext, _ function: (T) -> T) throws {
        let (shape, layout, found) = try {
            let x = try context.input(0)
            return (x.shape, x.layout, x.elementType)
        }()
        guard found == T.elementType else { throw KernelFailure("elements of type \(found.name)") }
        let y = try context.output(0, reusing: 0, found, shape, layout: layout)
        let (source, target) = (try context.input(0).typed(T.self), y.typed(T.self))
        Parallel.forEachRange(y.count, grain: 8192) { range in
            for index in range { target[index] = function(source[index]) }
        }
    }

    /// Computes output 0 element by element; the memory order stays.
    ///
    /// The function gets its settings as an argument: one that captures them would be called for every element.
    @inline(__always)
    private static func map(
        _ settings: Settings, _ context: KernelContext, _ function: (Settings, Float) -> Float
    ) throws {
        let (shape, layout, found) = try {
            let x = try context.input(0)
            return (x.shape, x.layout, x.elementType)
        }()
        guard found == .float32 else { throw KernelFailure("elements of type \(found.name)") }
        let y = try context.output(0, reusing: 0, found, shape, layout: layout)
        let (source, target) = (try context.input(0).floats, y.floats)
        Parallel.forEachRange(y.count, grain: 8192) { range in
            for index in range { target[index] = function(settings, source[index]) }
        }
    }

    private static func clip(_ context: KernelContext) throws {
        switch try context.input(0).elementType {
        case .float32: try clipFloats(context)
        case .float64: try clip(Double.self, -.infinity, .infinity, context)
        case .int8: try clip(Int8.self, .min, .max, context)
        case .int16: try clip(Int16.self, .min, .max, context)
        case .int32: try clip(Int32.self, .min, .max, context)
        case .int64: try clip(Int64.self, .min, .max, context)
        case .uint8: try clip(UInt8.self, .min, .max, context)
        case .uint16: try clip(UInt16.self, .min, .max, context)
        case .uint32: try clip(UInt32.self, .min, .max, context)
        case .uint64: try clip(UInt64.self, .min, .max, context)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private static func clipFloats(_ context: KernelContext) throws {
        func bound(_ index: Int, _ otherwise: Float) throws -> Float {
            guard context.has(index) else { return otherwise }
            let tensor = try context.plain(index, .float32)
            guard tensor.count == 1 else { throw KernelFailure("a bound that is not a single number") }
            return tensor.floats.pointee
        }
        try clipFloats(context, try bound(1, -.infinity), try bound(2, .infinity))
    }

    private static func clipFloats(_ context: KernelContext, _ low: Float, _ high: Float) throws {
        let found = try context.input(0).elementType
        guard found == .float32 else { throw KernelFailure("elements of type \(found.name)") }
        try PreciseActivations.mapVectors(context) { cvectormath_clip($0, low, high, $1, $2, $3) }
    }

    private static func clip<T: TensorElement & Comparable>(
        _ type: T.Type, _ lowest: T, _ highest: T, _ context: KernelContext
    ) throws {
        func bound(_ index: Int, _ otherwise: T) throws -> T {
            guard context.has(index) else { return otherwise }
            let tensor = try context.plain(index, T.elementType)
            guard tensor.count == 1 else { throw KernelFailure("a bound that is not a single number") }
            return tensor.typed(T.self).pointee
        }
        let (low, high) = (try bound(1, lowest), try bound(2, highest))
        try map(T.self, context) { min(max($0, low), high) }
    }
}

/// PRelu.
private enum Sloping: PairFunction {
    @inline(__always) static func apply(_ x: Float, _ slope: Float) -> Float { x < 0 ? x * slope : x }
}

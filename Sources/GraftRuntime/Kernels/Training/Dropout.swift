import GraftCore
import GraftIR

/// Dropout of ONNX in all its versions.
enum DropoutKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("Dropout", isPure: false) { node in
                let settings = Settings(node)
                return FunctionKernel { try run($0, settings) }
            }
        ]
    }

    private struct Settings {
        let opset: Int
        let ratio: Double
        let isTraining: Bool
        let seed: Int?
        let seeds: RandomSeeds

        init(_ node: KernelNode) {
            opset = node.opset
            ratio = Double(node.attributes.float("ratio") ?? 0.5)
            // Opsets 7 to 10 know inference only.
            isTraining = opset < 7 && node.attributes.int("is_test") ?? 0 == 0
            seed = node.attributes.int("seed")
            seeds = RandomSeeds(node)
        }
    }

    private static func run(_ context: KernelContext, _ settings: Settings) throws {
        var ratio = settings.ratio
        var isTraining = settings.isTraining
        if settings.opset >= 12 {
            if context.has(1) {
                guard let given = try context.numbers(1).first else { throw KernelFailure("an empty ratio") }
                ratio = Double(given)
            }
            if context.has(2) {
                let flag = try context.plain(2, .bool)
                guard flag.count == 1 else { throw KernelFailure("training_mode is not a single truth value") }
                isTraining = flag.typed(UInt8.self).pointee != 0
            }
        }
        guard isTraining, ratio != 0 else {
            let x = try context.input(0)
            context.set(0, x)
            guard context.outputCount > 1 else { return }
            let mask = try context.temporary(.bool, x.shape, layout: x.layout)
            mask.typed(UInt8.self).update(repeating: 1, count: mask.count)
            return context.set(1, settings.opset < 10 ? try context.cast(mask, x.elementType) : mask)
        }
        guard ratio > 0, ratio < 1 else { throw KernelFailure("a share of \(ratio) to drop") }
        try drop(context, settings, ratio)
    }

    private static func drop(_ context: KernelContext, _ settings: Settings, _ ratio: Double) throws {
        let type = try context.input(0).elementType
        let x = try context.cast(context.plain(0), type == .float64 ? .float64 : .float32)
        let mask = try context.temporary(.bool, x.shape)
        let kept = mask.typed(UInt8.self)
        if let seed = settings.seed {
            // The operator's definition leaves the generator open; a seed means that of ONNX's reference implementation.
            var generator = MersenneTwister(seed: UInt32(truncatingIfNeeded: seed))
            for index in 0..<x.count { kept[index] = generator.uniformDouble() >= ratio ? 1 : 0 }
        } else {
            let seed = settings.seeds.next()
            let chunk = 4096
            Parallel.forEachRange((x.count + chunk - 1) / chunk) { chunks in
                for part in chunks {
                    var generator = CounterRandom(seed: seed.value, seed.draw, UInt64(part))
                    for index in (part * chunk)..<min(x.count, (part + 1) * chunk) {
                        kept[index] = generator.uniformDouble() >= ratio ? 1 : 0
                    }
                }
            }
        }
        let y = try context.temporary(x.elementType, x.shape)
        if x.elementType == .float64 {
            scale(x.typed(Double.self), kept, y.typed(Double.self), x.count, 1 / (1 - ratio))
        } else {
            scale(x.floats, kept, y.floats, x.count, Float(1 / (1 - ratio)))
        }
        context.set(0, try context.cast(y, type))
        if context.outputCount > 1 {
            context.set(1, settings.opset < 10 ? try context.cast(mask, type) : mask)
        }
    }

    private static func scale<T: BinaryFloatingPoint & BitwiseCopyable>(
        _ source: UnsafePointer<T>, _ kept: UnsafePointer<UInt8>, _ target: UnsafeMutablePointer<T>, _ count: Int,
        _ factor: T
    ) {
        Parallel.forEachRange(count, grain: 16384) { range in
            for index in range { target[index] = kept[index] != 0 ? source[index] * factor : 0 }
        }
    }
}

/// The generator MT19937.
///
/// Source: M. Matsumoto and T. Nishimura, "Mersenne Twister" (1998), with the initialisation of 2002.
struct MersenneTwister {
    private var state: [UInt32]
    private var position = 624

    init(seed: UInt32) {
        state = [seed]
        state.reserveCapacity(624)
        for index in 1..<624 {
            let last = state[index - 1]
            state.append(1_812_433_253 &* (last ^ last >> 30) &+ UInt32(index))
        }
    }

    /// The next 32 random bits.
    mutating func next() -> UInt32 {
        if position == 624 { refill() }
        var y = state[position]
        position += 1
        y ^= y >> 11
        y ^= y << 7 & 0x9D2C_5680
        y ^= y << 15 & 0xEFC6_0000
        return y ^ y >> 18
    }

    /// A number in `[0, 1)` with 53 random bits.
    mutating func uniformDouble() -> Double {
        let (a, b) = (next() >> 5, next() >> 6)
        return (Double(a) * 67_108_864 + Double(b)) / 9_007_199_254_740_992
    }

    private mutating func refill() {
        for index in 0..<624 {
            let bits = state[index] & 0x8000_0000 | state[(index + 1) % 624] & 0x7FFF_FFFF
            state[index] = state[(index + 397) % 624] ^ bits >> 1 ^ (bits & 1 == 0 ? 0 : 0x9908_B0DF)
        }
        position = 0
    }
}

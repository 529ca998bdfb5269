import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// RandomUniform, RandomNormal, their Like forms, Bernoulli and Multinomial.
enum RandomGeneratorKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            generator("RandomUniform", isLike: false), generator("RandomNormal", isLike: false),
            generator("RandomUniformLike", isLike: true), generator("RandomNormalLike", isLike: true),
            KernelDefinition("Bernoulli", isPure: false) { node in
                let (seeds, type) = (RandomSeeds(node), try node.elementTypeAttribute("dtype"))
                return FunctionKernel { try bernoulli($0, seeds.next(), type) }
            },
            KernelDefinition("Multinomial", isPure: false, widens: true) { node in
                let (seeds, type) = (RandomSeeds(node), try node.elementTypeAttribute("dtype") ?? .int32)
                let samples = node.attributes.int("sample_size") ?? 1
                guard samples >= 0 else { throw KernelFailure("\(samples) samples") }
                return FunctionKernel { try multinomial($0, seeds.next(), type, samples) }
            },
        ]
    }

    private static func generator(_ type: String, isLike: Bool) -> KernelDefinition {
        KernelDefinition(type, isPure: false) { node in
            let seeds = RandomSeeds(node)
            let given = try node.elementTypeAttribute("dtype")
            let shape = node.attributes.ints("shape")
            guard isLike || shape != nil else { throw KernelFailure("the attribute \"shape\" is missing") }
            let isNormal = type.hasPrefix("RandomNormal")
            let first = node.attributes.float(isNormal ? "mean" : "low") ?? 0
            let second = node.attributes.float(isNormal ? "scale" : "high") ?? 1
            return FunctionKernel { context in
                let like = isLike ? try context.value(0) : nil
                guard let type = given ?? (isLike ? like?.elementType : .float32), type.isFloatingPoint,
                    let shape = isLike ? like?.shape : shape
                else { throw KernelFailure("random numbers need a shape and a floating-point type") }
                try fill(context, type, shape) { count, target in
                    draw(count, seeds.next(), target, isNormal: isNormal, Double(first), Double(second))
                }
            }
        }
    }

    /// How many numbers one generator serves.
    private static let chunk = 4096

    /// Calls `body` for chunks in parallel, each with a generator of its own.
    @inline(__always)
    private static func forEachChunk(
        _ count: Int, _ seed: RandomSeeds.Seed, _ body: (Range<Int>, inout CounterRandom) -> Void
    ) {
        Parallel.forEachRange((count + chunk - 1) / chunk) { chunks in
            for part in chunks {
                var generator = CounterRandom(seed: seed.value, seed.draw, UInt64(part))
                body((part * chunk)..<min(count, (part + 1) * chunk), &generator)
            }
        }
    }

    private static func fill(
        _ context: KernelContext, _ type: ElementType, _ shape: [Int],
        _ body: (Int, UnsafeMutablePointer<Double>) -> Void
    ) throws {
        let wide = try context.temporary(.float64, shape)
        body(wide.count, wide.typed(Double.self))
        context.set(0, try context.cast(wide, type))
    }

    private static func draw(
        _ count: Int, _ seed: RandomSeeds.Seed, _ target: UnsafeMutablePointer<Double>, isNormal: Bool,
        _ first: Double, _ second: Double
    ) {
        forEachChunk(count, seed) { range, generator in
            if isNormal {
                for index in range {
                    let radius = (-2 * log(1 - generator.uniformDouble())).squareRoot()
                    target[index] = first + second * radius * cos(2 * Double.pi * generator.uniformDouble())
                }
            } else {
                for index in range { target[index] = first + (second - first) * generator.uniformDouble() }
            }
        }
    }

    private static func bernoulli(
        _ context: KernelContext, _ seed: RandomSeeds.Seed, _ given: ElementType?
    ) throws {
        let type = try given ?? context.input(0).elementType
        let chances = try context.cast(context.plain(0), .float64)
        let drawn = try context.temporary(.uint8, chances.shape)
        let (source, target) = (chances.typed(Double.self), drawn.typed(UInt8.self))
        forEachChunk(chances.count, seed) { range, generator in
            for index in range { target[index] = generator.uniformDouble() < source[index] ? 1 : 0 }
        }
        context.set(0, try context.cast(drawn, type))
    }

    /// Draws classes by their logarithmic weights.
    private static func multinomial(
        _ context: KernelContext, _ seed: RandomSeeds.Seed, _ type: ElementType, _ samples: Int
    ) throws {
        let x = try context.cast(context.plain(0), .float64)
        guard x.rank == 2, x.shape[1] > 0 || x.shape[0] == 0 else { throw KernelFailure("a shape of \(x.shape)") }
        guard type == .int32 || type == .int64 else { throw KernelFailure("classes of type \(type.name)") }
        let (rows, classes) = (x.shape[0], x.shape[1])
        let drawn = try context.temporary(.int64, [rows, samples])
        let sums = try context.temporary(.float64, x.shape).typed(Double.self)
        let (source, target) = (x.typed(Double.self), drawn.int64s)
        Parallel.forEachRange(rows, grain: max(1, 4096 / max(1, classes + samples))) { range in
            for row in range {
                let (weights, sum) = (source + row * classes, sums + row * classes)
                var largest = -Double.infinity
                for index in 0..<classes { largest = max(largest, weights[index]) }
                var total = 0.0
                for index in 0..<classes {
                    total += exp(weights[index] - largest)
                    sum[index] = total
                }
                var generator = CounterRandom(seed: seed.value, seed.draw, UInt64(row))
                for sample in 0..<samples {
                    let place = generator.uniformDouble() * total
                    var (low, high) = (0, classes - 1)
                    while low < high {
                        let middle = (low + high) / 2
                        if place < sum[middle] { high = middle } else { low = middle + 1 }
                    }
                    target[row * samples + sample] = Int64(low)
                }
            }
        }
        context.set(0, try context.cast(drawn, type))
    }
}

/// The seeds of a node: the same for every run where the node has one, otherwise a new one for each run.
final class RandomSeeds {
    struct Seed {
        let value: UInt64
        let draw: UInt64
    }

    private let value: UInt64
    private let isFixed: Bool
    private var runs: UInt64 = 0

    init(_ node: KernelNode) {
        let seed = node.attributes.float("seed").map { UInt64($0.bitPattern) }
        isFixed = seed != nil
        value = seed ?? node.options.seed ?? UInt64.random(in: .min ... .max)
    }

    func next() -> Seed {
        if !isFixed { runs &+= 1 }
        return Seed(value: value, draw: runs)
    }
}

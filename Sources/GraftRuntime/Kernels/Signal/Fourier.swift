import GraftCore
import GraftIR

/// DFT and STFT.
enum FourierKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("DFT", widens: true) { FourierKernel($0) },
            KernelDefinition("STFT", widens: true) { ShortTimeFourierKernel($0) },
        ]
    }
}

/// The plans of a node, one for each element type; made again where the length changes.
struct FourierPlans {
    private var single: FourierPlan<Float>?
    private var double: FourierPlan<Double>?

    mutating func plan(_ length: Int, _ type: Float.Type) -> FourierPlan<Float> {
        if let single, single.length == length { return single }
        let made = FourierPlan<Float>(length)
        single = made
        return made
    }

    mutating func plan(_ length: Int, _ type: Double.Type) -> FourierPlan<Double> {
        if let double, double.length == length { return double }
        let made = FourierPlan<Double>(length)
        double = made
        return made
    }
}

/// The Fourier transform along an axis; the last axis holds real numbers or pairs.
final class FourierKernel: Kernel {
    private let axisAttribute: Int?
    private let isInverse: Bool
    private let isOneSided: Bool
    private var plans = FourierPlans()

    init(_ node: KernelNode) {
        axisAttribute = node.opset < 20 ? node.attributes.int("axis") ?? 1 : nil
        isInverse = node.attributes.int("inverse") ?? 0 != 0
        isOneSided = node.attributes.int("onesided") ?? 0 != 0
    }

    func run(_ context: KernelContext) throws {
        let x = try context.plain(0)
        let given = try axisAttribute ?? (context.has(2) ? context.integer(2) : -2)
        guard x.rank >= 2, let parts = x.shape.last, parts == 1 || parts == 2 else {
            throw KernelFailure("the shape \(x.shape) ends with neither 1 nor 2")
        }
        let axis = try normalizedAxis(given, rank: x.rank)
        guard axis < x.rank - 1 else { throw KernelFailure("the last axis holds the parts of complex numbers") }
        let isReal = isInverse && isOneSided
        let length =
            try context.has(1) ? context.integer(1) : isReal ? 2 * (x.shape[axis] - 1) : x.shape[axis]
        guard length >= 1, length < 1 << 40 else { throw KernelFailure("a transform of \(length) points") }
        var shape = x.shape
        shape[axis] = isOneSided && !isInverse ? length / 2 + 1 : length
        shape[x.rank - 1] = isReal ? 1 : 2
        let y = try context.output(0, x.elementType, shape)
        switch x.elementType {
        case .float32: transform(plans.plan(length, Float.self), x, y, axis)
        case .float64: transform(plans.plan(length, Double.self), x, y, axis)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private func transform<T: BinaryFloatingPoint & BitwiseCopyable>(
        _ plan: FourierPlan<T>, _ x: RuntimeTensor, _ y: RuntimeTensor, _ axis: Int
    ) {
        let length = plan.length
        let (parts, outputParts) = (x.shape[x.rank - 1], y.shape[y.rank - 1])
        let inner = x.shape[(axis + 1)..<(x.rank - 1)].reduce(1, *)
        let outer = x.shape[..<axis].reduce(1, *)
        let (given, wanted) = (x.shape[axis], y.shape[axis])
        let (isInverse, isMirrored) = (isInverse, isInverse && isOneSided)
        let used = min(given, isMirrored ? length / 2 + 1 : length)
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        let scale = isInverse ? 1 / T(length) : 1
        Parallel.forEachRange(outer * inner, grain: max(1, 4096 / length)) { range in
            let line = UnsafeMutablePointer<Complex<T>>.allocate(capacity: length + plan.workLength)
            defer { line.deallocate() }
            for index in range {
                let from = source + (index / inner * given * inner + index % inner) * parts
                for point in 0..<used {
                    let place = from + point * inner * parts
                    line[point] = Complex(place[0], parts == 2 ? place[1] : 0)
                }
                (line + used).update(repeating: Complex(0, 0), count: length - used)
                if isMirrored {
                    // The second half of the spectrum of real numbers is the first, conjugate and backwards.
                    for point in (length / 2 + 1)..<max(length / 2 + 1, length) {
                        let twin = line[length - point]
                        line[point] = Complex(twin.real, -twin.imaginary)
                    }
                }
                if isInverse { for point in 0..<length { line[point] = line[point].swapped } }
                plan.transform(line, line + length)
                if parts == 1, !isInverse { plan.clearSelfConjugate(line) }
                let to = target + (index / inner * wanted * inner + index % inner) * outputParts
                for point in 0..<wanted {
                    let value = isInverse ? line[point].swapped : line[point]
                    let place = to + point * inner * outputParts
                    place[0] = value.real * scale
                    if outputParts == 2 { place[1] = value.imaginary * scale }
                }
            }
        }
    }
}

/// The Fourier transform of frames of a signal, each times a window.
final class ShortTimeFourierKernel: Kernel {
    private let isOneSided: Bool
    private var plans = FourierPlans()

    init(_ node: KernelNode) { isOneSided = node.attributes.int("onesided") ?? 1 != 0 }

    func run(_ context: KernelContext) throws {
        let x = try context.plain(0)
        guard x.rank == 2 || (x.rank == 3 && (x.shape[2] == 1 || x.shape[2] == 2)) else {
            throw KernelFailure("a signal of shape \(x.shape)")
        }
        let step = try context.integer(1)
        let window = context.has(2) ? try context.plain(2, x.elementType) : nil
        let length = try context.has(3) ? context.integer(3) : window?.count ?? x.shape[1]
        guard step >= 1, length >= 1, length <= x.shape[1], window?.count ?? length == length else {
            throw KernelFailure(
                "frames of \(length) points, \(step) apart, under a window of \(window?.count ?? length) points do not "
                    + "fit a signal of \(x.shape[1])")
        }
        let frames = (x.shape[1] - length) / step + 1
        let bins = isOneSided ? length / 2 + 1 : length
        let y = try context.output(0, x.elementType, [x.shape[0], frames, bins, 2])
        switch x.elementType {
        case .float32: transform(plans.plan(length, Float.self), x, window, y, step)
        case .float64: transform(plans.plan(length, Double.self), x, window, y, step)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private func transform<T: BinaryFloatingPoint & BitwiseCopyable>(
        _ plan: FourierPlan<T>, _ x: RuntimeTensor, _ window: RuntimeTensor?, _ y: RuntimeTensor,
        _ step: Int
    ) {
        let (length, parts) = (plan.length, x.rank == 3 ? x.shape[2] : 1)
        let (points, frames, bins) = (x.shape[1], y.shape[1], y.shape[2])
        let (source, target, weights) = (x.typed(T.self), y.typed(Complex<T>.self), window?.typed(T.self))
        Parallel.forEachRange(x.shape[0] * frames, grain: max(1, 4096 / length)) { range in
            let line = UnsafeMutablePointer<Complex<T>>.allocate(capacity: length + plan.workLength)
            defer { line.deallocate() }
            for index in range {
                let from = source + (index / frames * points + index % frames * step) * parts
                for point in 0..<length {
                    let weight = weights?[point] ?? 1
                    line[point] = Complex(
                        from[point * parts] * weight, parts == 2 ? from[point * 2 + 1] * weight : 0)
                }
                plan.transform(line, line + length)
                if parts == 1 { plan.clearSelfConjugate(line) }
                (target + index * bins).update(from: line, count: bins)
            }
        }
    }
}

import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// Convolutions and poolings of float64, computed directly; oneDNN has none.
enum WideWindow {
    /// What runs a Conv or ConvTranspose node; constant weights are held, since the other kernel may let them go.
    static func convolution(_ node: KernelNode, transposed: Bool) throws -> (KernelContext) throws -> Void {
        let attributes = try WindowAttributes(node.attributes)
        let group = node.attributes.int("group") ?? 1
        let (padding, wanted) = (node.attributes.ints("output_padding"), node.attributes.ints("output_shape"))
        let held = node.constant(1)
        return { context in
            let x = try context.plain(0, .float64)
            let w = try held ?? context.plain(1)
            guard w.elementType == .float64 else { throw KernelFailure("operands of different types") }
            let shape =
                transposed
                ? try ConvolutionShape.transposed(
                    x.shape, w.shape, group: group, attributes, outputPadding: padding, outputShape: wanted)
                : try ConvolutionShape.forward(x.shape, w.shape, group: group, attributes)
            let bias = context.has(2) ? try context.plain(2, .float64) : nil
            if let bias, bias.count != shape.target[1] { throw KernelFailure("a bias of shape \(bias.shape)") }
            let y = try context.output(0, .float64, shape.target)
            if transposed { scatter(x, w, bias, y, shape, group) } else { gather(x, w, bias, y, shape, group) }
        }
    }

    private static func gather(
        _ x: RuntimeTensor, _ w: RuntimeTensor, _ bias: RuntimeTensor?, _ y: RuntimeTensor, _ shape: ConvolutionShape,
        _ group: Int
    ) {
        // A walk over one plane; planes are moved by their offsets.
        let taps = WindowTaps(images: 1, shape.window)
        let (inputs, outputs) = (shape.source[1] / group, shape.target[1])
        let (sizeIn, sizeOut) = (x.spatialCount, y.spatialCount)
        let (source, weights, target) = (x.typed(Double.self), w.pointer, y.typed(Double.self))
        Parallel.forEachRange(shape.source[0] * outputs, grain: 1) { range in
            for plane in range {
                let (image, output) = (plane / outputs, plane % outputs)
                let first = image * inputs * group + output / (outputs / group) * inputs
                let filter = weights + output * inputs * taps.taps * 8
                let start = bias?.typed(Double.self)[output] ?? 0
                for point in 0..<sizeOut {
                    var sum = start
                    taps.forEachTap(point) { tap, place in
                        guard place >= 0 else { return }
                        for channel in 0..<inputs {
                            // Weights in a file may lie at any address.
                            let weight = filter.loadUnaligned(
                                fromByteOffset: (channel * taps.taps + tap) * 8, as: Double.self)
                            sum += source[(first + channel) * sizeIn + place] * weight
                        }
                    }
                    target[plane * sizeOut + point] = sum
                }
            }
        }
    }

    /// The window slides over the result: each input point adds to the points under it.
    private static func scatter(
        _ x: RuntimeTensor, _ w: RuntimeTensor, _ bias: RuntimeTensor?, _ y: RuntimeTensor, _ shape: ConvolutionShape,
        _ group: Int
    ) {
        let taps = WindowTaps(images: 1, shape.window)
        let (inputs, outputs) = (shape.source[1] / group, shape.target[1])
        let each = outputs / group
        let (sizeIn, sizeOut) = (x.spatialCount, y.spatialCount)
        let (source, weights, target) = (x.typed(Double.self), w.pointer, y.typed(Double.self))
        Parallel.forEachRange(shape.source[0] * outputs, grain: 1) { range in
            for plane in range {
                let (image, output) = (plane / outputs, plane % outputs)
                let out = target + plane * sizeOut
                out.update(repeating: bias?.typed(Double.self)[output] ?? 0, count: sizeOut)
                for channel in 0..<inputs {
                    let input = output / each * inputs + channel
                    let from = source + (image * inputs * group + input) * sizeIn
                    let filter = weights + (input * each + output % each) * taps.taps * 8
                    for point in 0..<sizeIn {
                        taps.forEachTap(point) { tap, place in
                            guard place >= 0 else { return }
                            out[place] += from[point] * filter.loadUnaligned(fromByteOffset: tap * 8, as: Double.self)
                        }
                    }
                }
            }
        }
    }

    // MARK: Pooling

    /// What runs AveragePool or LpPool.
    static func pool(_ node: KernelNode, isNorm: Bool) throws -> (KernelContext) throws -> Void {
        let attributes = try WindowAttributes(node.attributes)
        let countsPadding = node.attributes.int("count_include_pad") ?? 0 != 0
        let p = Double(node.attributes.int("p") ?? 2)
        return { context in
            let x = try context.plain(0, .float64)
            guard x.rank >= 3 else { throw KernelFailure("an input of shape \(x.shape)") }
            let window = try attributes.geometry(Array(x.shape[2...]))
            let walk = WindowWalk(window)
            let y = try context.output(0, .float64, Array(x.shape[..<2]) + window.output)
            let (source, target) = (x.typed(Double.self), y.typed(Double.self))
            let (sizeIn, sizeOut) = (walk.inputCount, walk.outputCount)
            Parallel.forEachRange(x.shape[0] * x.shape[1], grain: 1) { range in
                for plane in range {
                    let from = source + plane * sizeIn
                    for point in 0..<sizeOut {
                        var (sum, count) = (0.0, 0)
                        walk.forEachTap(point) { place, _ in
                            sum += isNorm ? pow(abs(from[place]), p) : from[place]
                            count += 1
                        }
                        let divisor = countsPadding ? walk.paddedTaps(point) : count
                        target[plane * sizeOut + point] = isNorm ? pow(sum, 1 / p) : sum / Double(divisor)
                    }
                }
            }
        }
    }

    /// GlobalAveragePool, GlobalMaxPool or GlobalLpPool.
    static func global(_ context: KernelContext, _ kind: PoolingKernels.Kind, p: Double) throws {
        let x = try context.plain(0, .float64)
        guard x.rank >= 2 else { throw KernelFailure("an input of shape \(x.shape)") }
        let points = x.spatialCount
        let y = try context.output(
            0, .float64, Array(x.shape[..<2]) + Array(repeating: 1, count: x.rank - 2))
        let (source, target) = (x.typed(Double.self), y.typed(Double.self))
        Parallel.forEachRange(y.count, grain: max(1, 8192 / max(1, points))) { range in
            for plane in range {
                let from = source + plane * points
                var result = kind == .maximum ? -Double.infinity : 0
                for point in 0..<points {
                    switch kind {
                    case .maximum: result = from[point] > result || from[point].isNaN ? from[point] : result
                    case .average: result += from[point]
                    case .norm: result += pow(abs(from[point]), p)
                    }
                }
                if kind == .average { result /= Double(points) }
                target[plane] = kind == .norm ? pow(result, 1 / p) : result
            }
        }
    }
}

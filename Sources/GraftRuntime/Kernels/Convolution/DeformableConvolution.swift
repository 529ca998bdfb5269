import GraftCore
import GraftIR

/// DeformConv: a convolution of images whose window's elements are displaced by an input.
enum DeformableConvolutionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("DeformConv", opsets: 19...KernelRegistry.newestOpset, widens: true) {
                try DeformableConvolutionKernel($0)
            }
        ]
    }
}

/// Gathers the displaced windows of a sample as rows, and multiplies them with the weights.
final class DeformableConvolutionKernel: Kernel {
    private let attributes: WindowAttributes
    private let groups: Int
    private let offsetGroups: Int
    private var products: [GateProduct] = []

    init(_ node: KernelNode) throws {
        attributes = try WindowAttributes(node.attributes)
        groups = node.attributes.int("group") ?? 1
        offsetGroups = node.attributes.int("offset_group") ?? 1
        guard groups > 0, offsetGroups > 0 else { throw KernelFailure("\(groups) groups, \(offsetGroups) of offsets") }
    }

    func run(_ context: KernelContext) throws {
        switch try context.input(0).elementType {
        case .float32: try run(Float.self, .float32, context)
        case .float64: try run(Double.self, .float64, context)
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    private func run<T: RealNumber>(_ type: T.Type, _ elementType: ElementType, _ context: KernelContext) throws {
        let (x, w) = (try context.plain(0, elementType), try context.plain(1, elementType))
        let offsets = try context.plain(2, elementType)
        guard x.rank == 4, w.rank == 4 else {
            throw KernelFailure("an input of shape \(x.shape); images with two spatial axes are needed")
        }
        let (channels, perGroup, results) = (x.shape[1], w.shape[1], w.shape[0])
        guard channels == perGroup * groups, results % groups == 0, channels % offsetGroups == 0 else {
            throw KernelFailure("a weight of shape \(w.shape) for \(channels) channels in \(groups) groups")
        }
        let window = try attributes.geometry(Array(x.shape[2...]), kernel: Array(w.shape[2...]))
        let taps = w.shape[2] * w.shape[3]
        let (batch, rows, columns) = (x.shape[0], window.output[0], window.output[1])
        guard offsets.shape == [batch, offsetGroups * taps * 2, rows, columns] else {
            throw KernelFailure("offsets of shape \(offsets.shape) for windows of \(taps) at \(window.output)")
        }
        let bias = context.has(3) ? try context.plain(3, elementType) : nil
        if let bias, bias.count != results { throw KernelFailure("a bias of \(bias.count) for \(results) channels") }
        let mask = context.has(4) ? try context.plain(4, elementType) : nil
        if let mask, mask.shape != [batch, offsetGroups * taps, rows, columns] {
            throw KernelFailure("a mask of shape \(mask.shape) for windows of \(taps) at \(window.output)")
        }
        let y = try context.output(0, elementType, [batch, results, rows, columns])
        let points = rows * columns
        guard y.count > 0 else { return }
        while products.count < groups { products.append(GateProduct()) }
        let (width, outputs) = (perGroup * taps, results / groups)
        let patches = try context.temporary(elementType, [points, width])
        let product = try context.temporary(elementType, [points, outputs])
        for group in 0..<groups {
            let weight = w.part(startingAt: group * outputs * width, [outputs, width])
            let multiply = try products[group].prepare(
                weight, version: context.version(1), rows: points, as: type, context)
            for sample in 0..<batch {
                let places = sample * offsetGroups * taps * points
                let planes = (sample * channels + group * perGroup) * x.spatialCount
                let weights: UnsafePointer<T>? = mask.map { UnsafePointer($0.typed(T.self) + places) }
                gather(
                    x.typed(T.self) + planes, offsets.typed(T.self) + 2 * places, weights, window,
                    firstChannel: group * perGroup, channels: perGroup, perOffset: channels / offsetGroups,
                    into: patches.typed(T.self))
                try multiply(patches.typed(T.self), product.typed(T.self))
                let target = y.typed(T.self) + (sample * results + group * outputs) * points
                let source = product.typed(T.self)
                Parallel.forEachRange(outputs, grain: max(1, 8192 / points)) { range in
                    for channel in range {
                        let shift = bias?.typed(T.self)[group * outputs + channel] ?? 0
                        for point in 0..<points {
                            target[channel * points + point] = source[point * outputs + channel] + shift
                        }
                    }
                }
            }
        }
    }

    /// The windows of one group's channels as rows.
    private func gather<T: RealNumber>(
        _ x: UnsafePointer<T>, _ offsets: UnsafePointer<T>, _ mask: UnsafePointer<T>?, _ window: WindowGeometry,
        firstChannel: Int, channels: Int, perOffset: Int, into patches: UnsafeMutablePointer<T>
    ) {
        let (height, width) = (window.input[0], window.input[1])
        let (rows, columns) = (window.output[0], window.output[1])
        let (kernelRows, kernelColumns) = (window.kernel[0], window.kernel[1])
        let (taps, points) = (kernelRows * kernelColumns, rows * columns)
        Parallel.forEachRange(points, grain: max(1, 4096 / max(1, channels * taps))) { range in
            for point in range {
                let (row, column) = (point / columns, point % columns)
                let to = patches + point * channels * taps
                for channel in 0..<channels {
                    let set = (firstChannel + channel) / perOffset
                    let plane = x + channel * height * width
                    for tap in 0..<taps {
                        let place = (set * taps + tap) * 2 * points + point
                        let top = row * window.strides[0] - window.begin[0]
                        let left = column * window.strides[1] - window.begin[1]
                        let i = T(top + tap / kernelColumns * window.dilations[0]) + offsets[place]
                        let j = T(left + tap % kernelColumns * window.dilations[1]) + offsets[place + points]
                        let weight = mask.map { $0[(set * taps + tap) * points + point] } ?? 1
                        to[channel * taps + tap] = weight * Self.sample(plane, i, j, height, width)
                    }
                }
            }
        }
    }

    /// The value between four elements; elements outside are zero.
    @inline(__always)
    private static func sample<T: RealNumber>(
        _ plane: UnsafePointer<T>, _ i: T, _ j: T, _ height: Int, _ width: Int
    ) -> T {
        // Also false for what is no number.
        guard i > -1, j > -1, i < T(height), j < T(width) else { return 0 }
        let (top, left) = (Int(i.rounded(.down)), Int(j.rounded(.down)))
        let (down, right) = (i - T(top), j - T(left))
        func at(_ row: Int, _ column: Int) -> T {
            row >= 0 && row < height && column >= 0 && column < width ? plane[row * width + column] : 0
        }
        let upper = at(top, left) * (1 - right) + at(top, left + 1) * right
        let lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
        return upper * (1 - down) + lower * down
    }
}

import GraftCore
import GraftIR

/// RoiAlign and MaxRoiPool: images of one size out of regions of any size.
enum RegionPoolingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "RoiAlign", opsets: 10...KernelRegistry.newestOpset, widens: true,
                prepare: { try AlignSettings($0) },
                run: { settings, context in
                    switch try context.input(0).elementType {
                    case .float32: try align(Float.self, context, settings)
                    case .float64: try align(Double.self, context, settings)
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                }),
            .function(
                "MaxRoiPool", widens: true, prepare: { try PoolSettings($0) },
                run: { settings, context in
                    switch try context.input(0).elementType {
                    case .float32: try pool(Float.self, context, settings)
                    case .float64: try pool(Double.self, context, settings)
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                }),
        ]
    }

    struct AlignSettings: Sendable {
        let takesLargest: Bool
        let height: Int
        let width: Int
        let ratio: Int
        let scale: Float
        let isHalfPixel: Bool

        init(_ node: KernelNode) throws {
            switch (node.attributes.string("mode") ?? "avg").lowercased() {
            case "avg": takesLargest = false
            case "max": takesLargest = true
            case let other: throw KernelFailure("the mode \"\(other)\" is not known")
            }
            height = node.attributes.int("output_height") ?? 1
            width = node.attributes.int("output_width") ?? 1
            ratio = node.attributes.int("sampling_ratio") ?? 0
            scale = node.attributes.float("spatial_scale") ?? 1
            switch (node.attributes.string("coordinate_transformation_mode") ?? "half_pixel").lowercased() {
            case "half_pixel": isHalfPixel = node.opset >= 16
            case "output_half_pixel": isHalfPixel = false
            case let other: throw KernelFailure("the coordinate_transformation_mode \"\(other)\" is not known")
            }
            guard height > 0, width > 0, ratio <= gridLimit else {
                throw KernelFailure("an output of \(height) x \(width) with a sampling ratio of \(ratio)")
            }
        }
    }

    /// The most sampling points along an edge of a bin.
    private static let gridLimit = 1 << 12

    /// A sampling point: four elements of a plane and their weights.
    private struct Tap<T> {
        var offsets: (Int, Int, Int, Int)
        var weights: (T, T, T, T)
    }

    private static func align<T: RealNumber>(
        _ type: T.Type, _ context: KernelContext, _ settings: AlignSettings
    ) throws {
        let x = try context.plain(0)
        let regions = try context.plain(1, x.elementType)
        let samples = try context.integers(2)
        guard x.rank == 4, regions.rank == 2, regions.shape[1] == 4, samples.count == regions.shape[0] else {
            throw KernelFailure(
                "an input of shape \(x.shape), regions of shape \(regions.shape), \(samples.count) batch indices")
        }
        for sample in samples where sample < 0 || sample >= x.shape[0] {
            throw KernelFailure("the batch index \(sample) is outside a batch of \(x.shape[0])")
        }
        let (channels, height, width) = (x.shape[1], x.shape[2], x.shape[3])
        let (rows, columns) = (settings.height, settings.width)
        let y = try context.output(0, x.elementType, [samples.count, channels, rows, columns])
        guard y.count > 0 else { return }
        guard height > 0, width > 0 else { throw KernelFailure("an input of shape \(x.shape)") }
        let (source, target, boxes) = (x.typed(T.self), y.typed(T.self), regions.typed(T.self))
        let offset: T = settings.isHalfPixel ? 0.5 : 0
        let scale = T(settings.scale)
        var bins: [Bin<T>] = []
        for index in samples.indices {
            let box = boxes + 4 * index
            let (left, top) = (box[0] * scale - offset, box[1] * scale - offset)
            var (w, h) = (box[2] * scale - offset - left, box[3] * scale - offset - top)
            // Regions without area are one element large.
            if !settings.isHalfPixel { (w, h) = (max(w, 1), max(h, 1)) }
            let (binWidth, binHeight) = (w / T(columns), h / T(rows))
            func points(_ extent: T) throws -> Int {
                if settings.ratio > 0 { return settings.ratio }
                let count = extent.rounded(.up)
                guard count <= T(gridLimit) else {
                    throw KernelFailure("the region \(index) is too large or no number")
                }
                return max(0, Int(count))
            }
            bins.append(
                Bin(
                    left: left, top: top, width: binWidth, height: binHeight, columns: try points(binWidth),
                    rows: try points(binHeight)))
        }
        Parallel.forEachRange(samples.count * rows * columns) { range in
            var taps: [Tap<T>] = []
            for index in range {
                let region = index / (rows * columns)
                let (row, column) = (index % (rows * columns) / columns, index % columns)
                bins[region].taps(row, column, height, width, into: &taps)
                let count = T(max(1, bins[region].columns * bins[region].rows))
                for channel in 0..<channels {
                    let from = source + (samples[region] * channels + channel) * height * width
                    var (sum, largest): (T, T?) = (0, nil)
                    for tap in taps {
                        let (o, w) = (tap.offsets, tap.weights)
                        let parts = (w.0 * from[o.0], w.1 * from[o.1], w.2 * from[o.2], w.3 * from[o.3])
                        if settings.takesLargest {
                            let most = max(max(parts.0, parts.1), max(parts.2, parts.3))
                            largest = largest.map { max($0, most) } ?? most
                        } else {
                            sum += parts.0 + parts.1 + parts.2 + parts.3
                        }
                    }
                    target[((region * channels + channel) * rows + row) * columns + column] =
                        settings.takesLargest ? largest ?? 0 : sum / count
                }
            }
        }
    }

    /// The bins of a region: where they start, how large they are, and how many points of each are sampled.
    private struct Bin<T: RealNumber> {
        let left: T
        let top: T
        let width: T
        let height: T
        let columns: Int
        let rows: Int

        func taps(_ row: Int, _ column: Int, _ imageHeight: Int, _ imageWidth: Int, into taps: inout [Tap<T>]) {
            taps.removeAll(keepingCapacity: true)
            for i in 0..<rows {
                let y = top + T(row) * height + (T(i) + 0.5) * height / T(rows)
                for j in 0..<columns {
                    let x = left + T(column) * width + (T(j) + 0.5) * width / T(columns)
                    // Also false for what is no number.
                    guard y >= -1, y <= T(imageHeight), x >= -1, x <= T(imageWidth) else {
                        taps.append(Tap(offsets: (0, 0, 0, 0), weights: (0, 0, 0, 0)))
                        continue
                    }
                    let (y0, y1, fy) = Self.neighbours(y, imageHeight)
                    let (x0, x1, fx) = Self.neighbours(x, imageWidth)
                    taps.append(
                        Tap(
                            offsets: (
                                y0 * imageWidth + x0, y0 * imageWidth + x1, y1 * imageWidth + x0, y1 * imageWidth + x1
                            ), weights: ((1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx)))
                }
            }
        }

        private static func neighbours(_ place: T, _ length: Int) -> (Int, Int, T) {
            let place = max(place, 0)
            let low = Int(place)
            if low >= length - 1 { return (length - 1, length - 1, 0) }
            return (low, low + 1, place - T(low))
        }
    }

    struct PoolSettings: Sendable {
        let height: Int
        let width: Int
        let scale: Float

        init(_ node: KernelNode) throws {
            let shape = node.attributes.ints("pooled_shape") ?? []
            guard shape.count == 2, shape[0] > 0, shape[1] > 0 else { throw KernelFailure("pooled_shape is \(shape)") }
            (height, width) = (shape[0], shape[1])
            scale = node.attributes.float("spatial_scale") ?? 1
        }
    }

    private static func pool<T: RealNumber>(
        _ type: T.Type, _ context: KernelContext, _ settings: PoolSettings
    ) throws {
        let x = try context.plain(0)
        let regions = try context.plain(1, x.elementType)
        guard x.rank == 4, regions.rank == 2, regions.shape[1] == 5 else {
            throw KernelFailure("an input of shape \(x.shape) and regions of shape \(regions.shape)")
        }
        let (channels, height, width) = (x.shape[1], x.shape[2], x.shape[3])
        let count = regions.shape[0]
        let boxes = regions.typed(T.self)
        // Whole numbers: sample, left, top, right, bottom.
        var whole: [Int] = []
        for index in 0..<5 * count {
            let value = index % 5 == 0 ? boxes[index] : (boxes[index] * T(settings.scale)).rounded()
            guard abs(value) < T(1 << 24), index % 5 != 0 || (value >= 0 && Int(value) < x.shape[0]) else {
                throw KernelFailure("the region \(index / 5) lies outside a batch of \(x.shape[0]) or is too large")
            }
            whole.append(Int(value))
        }
        let (rows, columns) = (settings.height, settings.width)
        let y = try context.output(0, x.elementType, [count, channels, rows, columns])
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        Parallel.forEachRange(count * channels, grain: max(1, 4096 / max(1, height * width))) { range in
            for index in range {
                let (region, channel) = (index / channels, index % channels)
                let box = whole[5 * region..<5 * region + 5]
                let (left, top) = (box[5 * region + 1], box[5 * region + 2])
                let binHeight = T(max(box[5 * region + 4] - top + 1, 1)) / T(rows)
                let binWidth = T(max(box[5 * region + 3] - left + 1, 1)) / T(columns)
                let from = source + (box[5 * region] * channels + channel) * height * width
                for row in 0..<rows {
                    let first = min(max(Int((T(row) * binHeight).rounded(.down)) + top, 0), height)
                    let last = min(max(Int((T(row + 1) * binHeight).rounded(.up)) + top, 0), height)
                    for column in 0..<columns {
                        let start = min(max(Int((T(column) * binWidth).rounded(.down)) + left, 0), width)
                        let end = min(max(Int((T(column + 1) * binWidth).rounded(.up)) + left, 0), width)
                        var largest: T = last <= first || end <= start ? 0 : -.infinity
                        for i in first..<max(first, last) {
                            for j in start..<max(start, end) { largest = max(largest, from[i * width + j]) }
                        }
                        target[(index * rows + row) * columns + column] = largest
                    }
                }
            }
        }
    }
}

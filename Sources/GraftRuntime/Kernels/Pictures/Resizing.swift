import GraftCore
import GraftIR

/// Resize and Upsample in all their modes, and the gradient of both.
enum ResizingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("Resize", widens: true, prepare: { try ResizeSettings($0) }, run: { try resize($1, $0) }),
            .function(
                "Upsample", opsets: 1...9, widens: true, prepare: { try ResizeSettings($0) },
                run: { try resize($1, $0) }),
            .function(
                "ResizeGrad", domain: graftDomain, prepare: { try ResizeSettings($0) },
                run: { try gradient($1, $0) }),
        ]
    }

    private static func resize(_ context: KernelContext, _ settings: ResizeSettings) throws {
        let shape = try context.input(0).shape
        let (axes, target, scales) = try settings.plan(shape, context)
        let chosen = axes.filter { target[$0] != shape[$0] || settings.isCropping || scales[$0] != 1 }
        guard !chosen.isEmpty else { return context.set(0, try context.input(0)) }
        guard target.allSatisfy({ $0 > 0 }), !shape.contains(0) else {
            try context.output(0, try context.input(0).elementType, target)
            return
        }
        var tables: [Int: ResampleTable] = [:]
        for axis in chosen {
            tables[axis] = try ResampleTable(
                settings, input: shape[axis], output: target[axis], scale: scales[axis],
                region: try settings.region(axis, axes, context))
        }
        let rank = shape.count
        let planes = PlaneResizing(
            shape, rows: rank >= 2 ? tables[rank - 2] : nil, columns: rank >= 2 ? tables[rank - 1] : nil)
        var x = try context.input(0)
        if x.isRowMajor, let planes {
            x = try context.plain(0)
            guard planes.onlyMoves || x.elementType == .float32 else {
                throw KernelFailure("elements of type \(x.elementType.name)")
            }
            for axis in chosen.reversed() where axis < rank - 2 {
                if let table = tables[axis] { x = try resample(x, axis, table, context) }
            }
            if planes.rows != nil || planes.columns != nil {
                let y = try context.temporary(x.elementType, target)
                if planes.onlyMoves { try planes.pick(x, y) } else { planes.resample(x, y) }
                x = y
            }
        } else {
            let spreads = rank >= 3 && chosen.allSatisfy { $0 >= 2 }
            x = spreads ? try context.channelsLast(0) : try context.plain(0)
            for axis in chosen.reversed() {
                if let table = tables[axis] { x = try resample(x, axis, table, context) }
            }
        }
        context.set(0, x)
    }

    /// Resamples one axis; the memory order stays.
    private static func resample(
        _ x: RuntimeTensor, _ axis: Int, _ table: ResampleTable, _ context: KernelContext
    ) throws -> RuntimeTensor {
        var shape = x.shape
        shape[axis] = table.output
        let y = try context.temporary(x.elementType, shape, layout: x.layout)
        let (outer, length, inner) = x.around(axis)
        if table.taps == 1, table.fill == nil {
            try gather(x, y, outer, length, inner, table)
        } else {
            guard x.elementType == .float32 else { throw KernelFailure("elements of type \(x.elementType.name)") }
            table.apply(x.floats, y.floats, outer: outer, length: length, inner: inner)
        }
        return y
    }

    private static func gather(
        _ x: RuntimeTensor, _ y: RuntimeTensor, _ outer: Int, _ length: Int, _ inner: Int, _ table: ResampleTable
    ) throws {
        switch x.elementType.byteWidth {
        case 1: gather(UInt8.self, x, y, outer, length, inner, table)
        case 2: gather(UInt16.self, x, y, outer, length, inner, table)
        case 4: gather(UInt32.self, x, y, outer, length, inner, table)
        case 8: gather(UInt64.self, x, y, outer, length, inner, table)
        default: throw KernelFailure("elements of type \(x.elementType.name)")
        }
    }

    private static func gather<T: BitwiseCopyable>(
        _ type: T.Type, _ x: RuntimeTensor, _ y: RuntimeTensor, _ outer: Int, _ length: Int, _ inner: Int,
        _ table: ResampleTable
    ) {
        let (source, target, count) = (x.typed(T.self), y.typed(T.self), table.output)
        table.indices.withUnsafeBufferPointer { indices in
            Parallel.forEachRange(outer, grain: max(1, 8192 / max(1, count * inner))) { range in
                for row in range {
                    let (from, to) = (source + row * length * inner, target + row * count * inner)
                    if inner == 1 {
                        for position in 0..<count { to[position] = from[indices[position]] }
                    } else {
                        for position in 0..<count {
                            (to + position * inner).update(from: from + indices[position] * inner, count: inner)
                        }
                    }
                }
            }
        }
    }

    /// Inputs dY, X, roi, scales, sizes.
    private static func gradient(_ context: KernelContext, _ settings: ResizeSettings) throws {
        let shape = try context.input(1).shape
        let (axes, target, scales) = try settings.plan(shape, context)
        var dy = shape.count >= 3 ? try context.channelsLast(0) : try context.plain(0)
        guard dy.shape == target, dy.elementType == .float32 else {
            throw KernelFailure("a gradient of shape \(dy.shape) for a result of shape \(target)")
        }
        for axis in axes where target[axis] != shape[axis] || settings.isCropping {
            let region = try settings.region(axis, axes, context)
            let table = try ResampleTable(
                settings, input: shape[axis], output: target[axis], scale: scales[axis], region: region)
            var next = dy.shape
            next[axis] = shape[axis]
            let dx = try context.temporary(.float32, next, layout: dy.layout)
            let (outer, _, inner) = dy.around(axis)
            table.applyTransposed(dy.floats, dx.floats, outer: outer, inner: inner)
            dy = dx
        }
        context.set(0, dy)
    }
}

/// The attributes of Resize and Upsample.
struct ResizeSettings: Sendable {
    enum Mode: Sendable { case nearest, linear, cubic }

    let mode: Mode
    let coordinates: String
    let nearest: String
    let cubicCoefficient: Double
    let excludesOutside: Bool
    let extrapolation: Float
    let isAntialiased: Bool
    let axes: [Int]?
    let aspectRatio: String
    let scales: [Float]?
    /// Where the region, the scales and the sizes are among the inputs.
    let (regionInput, scalesInput, sizesInput): (Int?, Int?, Int?)

    init(_ node: KernelNode) throws {
        switch node.attributes.string("mode") ?? "nearest" {
        case "nearest": mode = .nearest
        case "linear", "bilinear", "trilinear": mode = .linear
        case "cubic", "bicubic": mode = .cubic
        case let other: throw KernelFailure("the mode \"\(other)\"")
        }
        let isGradient = node.op.type == "ResizeGrad"
        let isOld = !isGradient && node.opset < 11
        coordinates =
            node.attributes.string("coordinate_transformation_mode") ?? (isOld ? "asymmetric" : "half_pixel")
        // Opset 10 and before round down.
        nearest = node.attributes.string("nearest_mode") ?? (isOld ? "floor" : "round_prefer_floor")
        cubicCoefficient = Double(node.attributes.float("cubic_coeff_a") ?? -0.75)
        excludesOutside = node.attributes.int("exclude_outside") ?? 0 != 0
        extrapolation = node.attributes.float("extrapolation_value") ?? 0
        isAntialiased = node.attributes.int("antialias") ?? 0 != 0
        axes = node.attributes.ints("axes")
        aspectRatio = node.attributes.string("keep_aspect_ratio_policy") ?? "stretch"
        if node.op.type == "Upsample", let height = node.attributes.float("height_scale"),
            let width = node.attributes.float("width_scale")
        {
            // The form of opset 1, for images only.
            scales = [1, 1, height, width]
        } else {
            scales = node.attributes.floats("scales")
        }
        if isGradient {
            (regionInput, scalesInput, sizesInput) = (2, 3, 4)
        } else if isOld {
            (regionInput, scalesInput, sizesInput) = (nil, scales == nil ? 1 : nil, nil)
        } else {
            (regionInput, scalesInput, sizesInput) = (1, 2, 3)
        }
        let known = [
            "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
            "tf_crop_and_resize", "tf_half_pixel_for_nn",
        ]
        guard known.contains(coordinates) else { throw KernelFailure("the coordinate mode \"\(coordinates)\"") }
    }

    var isCropping: Bool { coordinates == "tf_crop_and_resize" }

    /// The resized axes, the shape of the result, and the scale of each axis.
    func plan(_ shape: [Int], _ context: KernelContext) throws -> (axes: [Int], target: [Int], scales: [Double]) {
        let chosen = try axes.map { try normalizedAxes($0, rank: shape.count) } ?? Array(shape.indices)
        var target = shape
        var factors = [Double](repeating: 1, count: shape.count)
        if let sizesInput, context.has(sizesInput), case let sizes = try context.integers(sizesInput), !sizes.isEmpty {
            guard sizes.count == chosen.count, sizes.allSatisfy({ $0 >= 0 && $0 < 1 << 32 }) else {
                throw KernelFailure("sizes \(sizes) do not fit \(chosen.count) axes")
            }
            let ratios = zip(chosen, sizes).map { Double($1) / Double(max(1, shape[$0])) }
            let common = aspectRatio == "not_larger" ? ratios.min() : aspectRatio == "not_smaller" ? ratios.max() : nil
            for (index, axis) in chosen.enumerated() {
                factors[axis] = common ?? ratios[index]
                target[axis] =
                    try common.map { try length(($0 * Double(shape[axis]) + 0.5).rounded(.down)) } ?? sizes[index]
            }
            return (chosen, target, factors)
        }
        let given: [Float]
        if let scales {
            given = scales
        } else if let scalesInput, context.has(scalesInput) {
            given = try context.numbers(scalesInput)
        } else {
            throw KernelFailure("neither scales nor sizes are given")
        }
        guard given.count == chosen.count, given.allSatisfy({ $0 > 0 && $0 < 1e6 }) else {
            throw KernelFailure("scales \(given) do not fit \(chosen.count) axes")
        }
        for (index, axis) in chosen.enumerated() {
            factors[axis] = Double(given[index])
            // A region is cut out before it is scaled.
            let bounds = isCropping ? try region(axis, chosen, context) : nil
            let part = bounds.map { Double($0.end) - Double($0.start) } ?? 1
            target[axis] = max(0, try length((Double(shape[axis]) * part * factors[axis]).rounded(.down)))
        }
        return (chosen, target, factors)
    }

    private func length(_ number: Double) throws -> Int {
        guard number.magnitude < Double(1 << 32) else { throw KernelFailure("a length of \(number)") }
        return Int(number)
    }

    /// The part of an axis that tf_crop_and_resize reads, in fractions of its length.
    func region(_ axis: Int, _ axes: [Int], _ context: KernelContext) throws -> (start: Float, end: Float)? {
        guard isCropping, let index = axes.firstIndex(of: axis) else { return nil }
        guard let regionInput, context.has(regionInput) else { throw KernelFailure("roi is missing") }
        let values = try context.numbers(regionInput)
        guard values.count == 2 * axes.count else { throw KernelFailure("roi does not fit \(axes.count) axes") }
        return (values[index], values[index + axes.count])
    }
}

/// Which elements of an axis make up each element of the resized axis, and with what weights.
///
/// Source of the formulas: the Resize page of the ONNX operator reference.
struct ResampleTable {
    let input: Int
    let output: Int
    private(set) var taps: Int
    private(set) var indices: [Int]
    private(set) var weights: [Float]
    /// For each position whether it lies outside the input and takes a fixed value; nil where none does.
    private(set) var fill: (isOutside: [Bool], value: Float)?

    init(
        _ settings: ResizeSettings, input: Int, output: Int, scale: Double, region: (start: Float, end: Float)?
    ) throws {
        self.input = input
        self.output = output
        let narrow = settings.isAntialiased && settings.mode != .nearest ? min(scale, 1) : 1
        let reach: Double = settings.mode == .cubic ? 2 : 1
        let first = settings.mode == .nearest ? 0 : Int((-reach / narrow).rounded(.down)) + 1
        taps = settings.mode == .nearest ? 1 : 2 - 2 * first
        guard taps > 0, taps < 1 << 20, Checked.product([taps, output]) != nil else {
            throw KernelFailure("the scale \(scale) is out of range")
        }
        indices = []
        weights = []
        indices.reserveCapacity(output * taps)
        weights.reserveCapacity(output * taps)
        var outside: [Bool] = []
        for position in 0..<output {
            let x = Self.origin(settings.coordinates, Double(position), input, output, scale, region)
            if settings.isCropping { outside.append(x < 0 || x > Double(input - 1)) }
            if settings.mode == .nearest {
                let rounded: Double =
                    switch settings.nearest {
                    case "round_prefer_ceil": (x + 0.5).rounded(.down)
                    case "floor": x.rounded(.down)
                    case "ceil": x.rounded(.up)
                    default: (x - 0.5).rounded(.up)
                    }
                indices.append(max(0, min(input - 1, Int(max(-1e9, min(1e9, rounded))))))
                weights.append(1)
                continue
            }
            // The left neighbour; a position on an element counts as the right end of an interval.
            let base = Int(max(-1e9, min(1e9, x.rounded(.up)))) - 1
            let ratio = x - Double(base)
            var own = (0..<taps).map { tap -> Double in
                let distance = abs((Double(first + tap) - ratio) * narrow)
                return settings.mode == .linear ? max(0, 1 - distance) : Self.cubic(distance, settings.cubicCoefficient)
            }
            if settings.excludesOutside {
                for tap in 0..<taps where base + first + tap < 0 || base + first + tap >= input { own[tap] = 0 }
            }
            let total = own.reduce(0, +)
            if settings.excludesOutside || narrow < 1, total != 0 { own = own.map { $0 / total } }
            for tap in 0..<taps {
                indices.append(max(0, min(input - 1, base + first + tap)))
                weights.append(Float(own[tap]))
            }
        }
        if outside.contains(true) { fill = (outside, settings.extrapolation) }
    }

    private static func cubic(_ x: Double, _ a: Double) -> Double {
        if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        if x < 2 { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
        return 0
    }

    /// Where in the input an element of the result lies.
    private static func origin(
        _ mode: String, _ x: Double, _ input: Int, _ output: Int, _ scale: Double,
        _ region: (start: Float, end: Float)?
    ) -> Double {
        let (length, size) = (Double(input), Double(output))
        // The length before it is rounded down counts.
        let exact = scale * length
        switch mode {
        case "align_corners": return output <= 1 ? 0 : x * (length - 1) / (exact - 1)
        case "asymmetric": return x / scale
        case "pytorch_half_pixel": return output > 1 ? (x + 0.5) / scale - 0.5 : 0
        case "tf_half_pixel_for_nn": return (x + 0.5) / scale
        case "half_pixel_symmetric":
            let adjustment = size / (scale * length)
            return length / 2 * (1 - adjustment) + (x + 0.5) / scale - 0.5
        case "tf_crop_and_resize":
            let (start, end) = (Double(region?.start ?? 0), Double(region?.end ?? 1))
            return output > 1
                ? start * (length - 1) + x * (end - start) * (length - 1) / (size - 1)
                : 0.5 * (start + end) * (length - 1)
        default: return (x + 0.5) / scale - 0.5
        }
    }

    /// Resamples the middle axis of (outer, input, inner) to (outer, output, inner).
    func apply(
        _ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<Float>, outer: Int, length: Int, inner: Int
    ) {
        indices.withUnsafeBufferPointer { indices in
            weights.withUnsafeBufferPointer { weights in
                Parallel.forEachRange(outer * output, grain: max(1, 8192 / max(1, inner * taps))) { range in
                    for index in range {
                        let (row, position) = (index / output, index % output)
                        let from = source + row * length * inner
                        let to = target + index * inner
                        if let fill, fill.isOutside[position] {
                            to.update(repeating: fill.value, count: inner)
                            continue
                        }
                        let first = position * taps
                        let (a, w) = (from + indices[first] * inner, weights[first])
                        if taps == 2 {
                            let (b, v) = (from + indices[first + 1] * inner, weights[first + 1])
                            for column in 0..<inner { to[column] = a[column] * w + b[column] * v }
                            continue
                        }
                        for column in 0..<inner { to[column] = a[column] * w }
                        for tap in 1..<max(1, taps) {
                            let (b, v) = (from + indices[first + tap] * inner, weights[first + tap])
                            for column in 0..<inner { to[column] += b[column] * v }
                        }
                    }
                }
            }
        }
    }

    /// The transposed map: (outer, output, inner) to (outer, input, inner).
    func applyTransposed(
        _ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<Float>, outer: Int, inner: Int
    ) {
        let block = 64
        let blocks = (inner + block - 1) / block
        indices.withUnsafeBufferPointer { indices in
            weights.withUnsafeBufferPointer { weights in
                Parallel.forEachRange(outer * blocks) { range in
                    for index in range {
                        let (row, first) = (index / blocks, index % blocks * block)
                        let width = min(block, inner - first)
                        let to = target + row * input * inner + first
                        for position in 0..<input { (to + position * inner).update(repeating: 0, count: width) }
                        for position in 0..<output {
                            if let fill, fill.isOutside[position] { continue }
                            let from = source + (row * output + position) * inner + first
                            for tap in (position * taps)..<((position + 1) * taps) {
                                let (line, w) = (to + indices[tap] * inner, weights[tap])
                                for column in 0..<width { line[column] += from[column] * w }
                            }
                        }
                    }
                }
            }
        }
    }
}

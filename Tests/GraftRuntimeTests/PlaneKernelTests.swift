import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Kernels over the planes of row-major images, against plain loops over the definitions.
@Suite struct PlaneKernelTests {
    struct Window: Sendable {
        let kernel: [Int]
        var strides = [1, 1]
        var dilations = [1, 1]
        var pads = [0, 0, 0, 0]
        var ceils = false
    }

    @Test(arguments: [
        Window(kernel: [2, 2], strides: [2, 2]), Window(kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1]),
        Window(kernel: [3, 3], pads: [1, 1, 1, 1]), Window(kernel: [5, 5], pads: [2, 2, 2, 2]),
        Window(kernel: [1, 4], strides: [3, 3], pads: [0, 3, 0, 1]), Window(kernel: [4, 2], dilations: [2, 3]),
        Window(kernel: [2, 3], strides: [2, 2], dilations: [3, 2], pads: [1, 0, 2, 3], ceils: true),
    ])
    func theGreatestOfEachWindow(_ window: Window) throws {
        let shape = [2, 3, 13, 38]
        var x = numbers(shape.reduce(1, *), seed: 6)
        x[40] = .nan
        x[900] = .infinity
        let y = try run(
            "MaxPool", [Tensor(x, shape: shape)],
            [
                "kernel_shape": .ints(window.kernel), "strides": .ints(window.strides),
                "dilations": .ints(window.dilations), "pads": .ints(window.pads),
                "ceil_mode": .int(window.ceils ? 1 : 0),
            ])[0]
        let (height, width) = (y.shape[2], y.shape[3])
        let expected = (0..<y.count).map { place -> Float in
            let (plane, row, column) = (place / (height * width), place / width % height, place % width)
            var greatest = -Float.infinity
            for i in 0..<window.kernel[0] {
                for j in 0..<window.kernel[1] {
                    let v = row * window.strides[0] + i * window.dilations[0] - window.pads[0]
                    let u = column * window.strides[1] + j * window.dilations[1] - window.pads[1]
                    guard (0..<13).contains(v), (0..<38).contains(u) else { continue }
                    let value = x[(plane * 13 + v) * 38 + u]
                    if value > greatest { greatest = value }
                }
            }
            return greatest
        }
        let found = try y.elements(as: Float.self)
        #expect(found == expected)
    }

    @Test(arguments: [([2, 5, 6, 40], [1, 1, 2, 2]), ([1, 2, 9, 30], [1, 1, 0.5, 1.7]), ([3, 7, 8], [1, 3, 1])])
    func theNearestElementIsTaken(_ line: ([Int], [Float])) throws {
        let (shape, scales) = line
        let x = numbers(shape.reduce(1, *), seed: 7)
        let y = try run(
            "Resize", [Tensor(x, shape: shape), nil, Tensor(scales)],
            [
                "mode": .string("nearest"), "coordinate_transformation_mode": .string("asymmetric"),
                "nearest_mode": .string("floor"),
            ])[0]
        #expect(y.shape == zip(shape, scales).map { Int(Float($0) * $1) })
        let expected = (0..<y.count).map { place -> Float in
            var (rest, from, step) = (place, 0, 1)
            for axis in shape.indices.reversed() {
                from += Int(Double(rest % y.shape[axis]) / Double(scales[axis])) * step
                rest /= y.shape[axis]
                step *= shape[axis]
            }
            return x[from]
        }
        let found = try y.elements(as: Float.self)
        #expect(found == expected)
    }

    /// The weights of the elements of an axis in an element of the resized one.
    private static func weights(_ position: Int, _ input: Int, _ scale: Double, cubic: Bool) -> [Int: Double] {
        let place = (Double(position) + 0.5) / scale - 0.5
        let base = Int(place.rounded(.down))
        var result: [Int: Double] = [:]
        for tap in (cubic ? -1...2 : 0...1) {
            let d = abs(place - Double(base + tap))
            let weight: Double =
                if !cubic {
                    max(0, 1 - d)
                } else if d <= 1 {
                    (1.25 * d - 2.25) * d * d + 1
                } else {
                    d < 2 ? ((-0.75 * d + 3.75) * d - 6) * d + 3 : 0
                }
            result[max(0, min(input - 1, base + tap)), default: 0] += weight
        }
        return result
    }

    @Test(arguments: ["linear", "cubic"], [[2.0, 2.0], [1.0, 3.0], [2.5, 1.0], [0.5, 1.75]])
    func rowsAndColumnsAreInterpolated(_ mode: String, _ scales: [Double]) throws {
        let shape = [2, 3, 10, 36]
        let x = numbers(shape.reduce(1, *), seed: 8)
        let y = try run(
            "Resize", [Tensor(x, shape: shape), nil, Tensor([1, 1, Float(scales[0]), Float(scales[1])])],
            ["mode": .string(mode)])[0]
        let (height, width) = (y.shape[2], y.shape[3])
        #expect([height, width] == [Int(10 * scales[0]), Int(36 * scales[1])])
        let rows = (0..<height).map { Self.weights($0, 10, scales[0], cubic: mode == "cubic") }
        let columns = (0..<width).map { Self.weights($0, 36, scales[1], cubic: mode == "cubic") }
        for (place, found) in try y.elements(as: Float.self).enumerated() {
            let (plane, row, column) = (place / (height * width), place / width % height, place % width)
            var expected = 0.0
            for (v, weight) in rows[row] {
                for (u, other) in columns[column] { expected += weight * other * Double(x[(plane * 10 + v) * 36 + u]) }
            }
            guard abs(Double(found) - expected) < 1e-5 else {
                Issue.record("\(found), not \(expected), at \(plane), \(row), \(column)")
                return
            }
        }
    }

    @Test(arguments: ["zeros", "border"], [0, 1])
    func imagesAreSampledBetweenPixels(_ padding: String, _ aligns: Int) throws {
        let (samples, channels, height, width, points) = (2, 5, 7, 9, 100)
        let x = numbers(samples * channels * height * width, seed: 1)
        var grid = numbers(samples * points * 2, seed: 2).map { $0 * 0.7 }
        for (place, value) in [Float.nan, 0, 1e9, -1e9, .infinity, 0, 1, 1, -1, -1].enumerated() { grid[place] = value }
        let y = try run(
            "GridSample",
            [
                Tensor(x, shape: [samples, channels, height, width]),
                Tensor(grid, shape: [samples, 10, points / 10, 2]),
            ], ["mode": .string("linear"), "padding_mode": .string(padding), "align_corners": .int(aligns)], opset: 20)[
                0]
        func place(_ normal: Float, _ length: Int) -> Double {
            let place =
                aligns == 1
                ? Double(normal + 1) / 2 * Double(length - 1) : (Double(normal + 1) * Double(length) - 1) / 2
            return padding == "border" ? max(0, min(Double(length - 1), place)) : place
        }
        for (index, found) in try y.elements(as: Float.self).enumerated() {
            let (sample, channel, point) = (index / (channels * points), index / points % channels, index % points)
            let (u, v) = (grid[(sample * points + point) * 2], grid[(sample * points + point) * 2 + 1])
            // What no number says is nowhere.
            guard u.isFinite, v.isFinite, abs(u) < 100 || padding == "border" else {
                #expect(found == 0 || padding == "border")
                continue
            }
            let (column, row) = (place(u, width), place(v, height))
            var expected = 0.0
            for i in 0..<height {
                for j in 0..<width {
                    let weight = max(0, 1 - abs(row - Double(i))) * max(0, 1 - abs(column - Double(j)))
                    expected += weight * Double(x[((sample * channels + channel) * height + i) * width + j])
                }
            }
            guard abs(Double(found) - expected) < 1e-4 else {
                Issue.record("\(found), not \(expected), at \(sample), \(channel), (\(u), \(v))")
                return
            }
        }
    }
}

import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Kernels that do little more than move memory, against plain loops over the definitions.
@Suite struct MemoryBoundTests {
    @Test(arguments: [
        ([4, 5], [3, 1], 0), ([2, 4, 5], [2, 3, 1], 1), ([2, 4, 5], [2, 3, 5], 1), ([4, 5], [4, 2], 1),
    ])
    func elementsAreGatheredWhereTheIndicesAreNarrowerThanTheData(
        _ shape: [Int], _ indices: [Int], _ axis: Int
    ) throws {
        let (count, wanted) = (shape.reduce(1, *), indices.reduce(1, *))
        let x = (0..<count).map(Float.init)
        let places = integers(wanted, below: shape[axis], seed: 5)
        let y = try run(
            "GatherElements", [Tensor(x, shape: shape), Tensor(places, shape: indices)], ["axis": .int(axis)])
        let expected = (0..<wanted).map { index in
            var (rest, place, step) = (index, 0, 1)
            for k in shape.indices.reversed() {
                let coordinate = k == axis ? Int(places[index]) : rest % indices[k]
                place += coordinate * step
                rest /= indices[k]
                step *= shape[k]
            }
            return x[place]
        }
        #expect(try y[0].elements(as: Float.self) == expected)
    }

    // MARK: Running sums

    @Test(arguments: [([9, 70], 1), ([3, 50], 1), ([70, 9], 0), ([5, 700, 40], 1), ([6], 0)], [0, 1, 2, 3])
    func runningSumsAndProducts(_ line: ([Int], Int), _ way: Int) throws {
        let (shape, axis) = line
        let (isExclusive, isReversed) = (way & 1 != 0, way & 2 != 0)
        let x = integers(shape.reduce(1, *), below: 9, seed: 3).map { Float($0 - 4) }
        let y = try run(
            "CumSum", [Tensor(x, shape: shape), Tensor([Int64(axis)], shape: [])],
            ["exclusive": .int(isExclusive ? 1 : 0), "reverse": .int(isReversed ? 1 : 0)])
        let (length, inner) = (shape[axis], shape[(axis + 1)...].reduce(1, *))
        var expected = x
        for start in x.indices where start / inner % length == 0 {
            var total: Float = 0
            for step in 0..<length {
                let place = start + (isReversed ? length - 1 - step : step) * inner
                let next = total + x[place]
                expected[place] = isExclusive ? total : next
                total = next
            }
        }
        let found = try y[0].elements(as: Float.self)
        #expect(found == expected)
    }

    // MARK: Places of the greatest and least

    @Test(arguments: [([7, 1000], 1), ([2, 5000], 1), ([3, 64, 2500], 1), ([40, 3], 0), ([2, 3, 4], 2)])
    func placesOfTheGreatestAndLeast(_ line: ([Int], Int)) throws {
        let (shape, axis) = line
        var x = integers(shape.reduce(1, *), below: 50, seed: 5).map { Float($0) }
        x[x.count / 2] = .nan
        x[x.count - 1] = -.infinity
        let (length, inner) = (shape[axis], shape[(axis + 1)...].reduce(1, *))
        for (op, takesLast) in [("ArgMax", false), ("ArgMax", true), ("ArgMin", false), ("ArgMin", true)] {
            let y = try run(
                op, [Tensor(x, shape: shape)], ["axis": .int(axis), "select_last_index": .int(takesLast ? 1 : 0)])
            let expected = x.indices.filter { $0 / inner % length == 0 }.map { start -> Int64 in
                var best = 0
                for place in 1..<length {
                    let (new, old) = (x[start + place * inner], x[start + best * inner])
                    if op == "ArgMax" ? new > old : new < old { best = place }
                    if takesLast, new == old { best = place }
                }
                return Int64(best)
            }
            let found = try y[0].elements(as: Int64.self)
            #expect(found == expected, "\(op), last: \(takesLast)")
        }
    }

    @Test(arguments: [1, 5, 70], [true, false])
    func theBestOfLongRows(_ k: Int, _ isLargest: Bool) throws {
        let length = 1000
        var x = integers(3 * length, below: 300, seed: 8).map { Float($0) }
        x[length + 700] = .nan
        x[2 * length + 1] = .infinity
        let y = try run(
            "TopK", [Tensor(x, shape: [3, length]), Tensor([Int64(k)])], ["largest": .int(isLargest ? 1 : 0)],
            outputs: 2)
        let expected = (0..<3).flatMap { row in
            (0..<length).sorted { a, b in
                let (p, q) = (x[row * length + a], x[row * length + b])
                if p.isNaN != q.isNaN { return p.isNaN == isLargest }
                if p == q || p.isNaN { return a < b }
                return isLargest ? p > q : p < q
            }.prefix(k).map { Int64($0) }
        }
        let places = try y[1].elements(as: Int64.self)
        #expect(places == expected)
    }

    // MARK: What is not zero

    @Test(arguments: [[40_000], [300, 70], [7, 3, 900], [20_000, 2], [3, 0], [1, 1]])
    func positionsOfWhatIsNotZero(_ shape: [Int]) throws {
        var x = integers(shape.reduce(1, *), below: 3, seed: 4).map { Float($0) }
        if x.count > 1 { x[1] = -0.0 }
        let y = try run("NonZero", [Tensor(x, shape: shape)])[0]
        let places = x.indices.filter { x[$0] != 0 }
        let expected = shape.indices.flatMap { axis in
            places.map { Int64($0 / shape[(axis + 1)...].reduce(1, *) % shape[axis]) }
        }
        #expect(y.shape == [shape.count, places.count])
        let found = try y.elements(as: Int64.self)
        #expect(found == expected)
    }

    // MARK: Movement

    @Test(arguments: [
        ([2, 3, 4, 5], [3, 1, 0, 2]), ([2, 70, 3, 33], [0, 2, 1, 3]), ([2, 70, 3, 33], [0, 2, 3, 1]),
        ([5, 3, 40, 40], [0, 2, 3, 1]), ([4, 40, 40, 3], [0, 3, 1, 2]), ([1, 300, 70], [2, 1, 0]),
        ([64, 2, 2, 64], [3, 2, 1, 0]), ([9, 130, 2], [1, 2, 0]), ([200_000, 2], [1, 0]), ([3, 70_000], [1, 0]),
    ])
    func axesAreExchanged(_ shape: [Int], _ axes: [Int]) throws {
        func check<T: TensorElement & FixedWidthInteger>(_ type: T.Type) throws {
            let x = (0..<shape.reduce(1, *)).map { T(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
            let y = try run("Transpose", [Tensor(x, shape: shape)], ["perm": .ints(axes)])[0]
            let strides = shape.indices.map { shape[($0 + 1)...].reduce(1, *) }
            var expected: [T] = []
            var place = Array(repeating: 0, count: shape.count)
            for _ in x.indices {
                expected.append(x[axes.indices.reduce(0) { $0 + place[$1] * strides[axes[$1]] }])
                for axis in axes.indices.reversed() {
                    place[axis] += 1
                    if place[axis] < shape[axes[axis]] { break }
                    place[axis] = 0
                }
            }
            #expect(y.shape == axes.map { shape[$0] })
            let found = try y.elements(as: T.self)
            #expect(found == expected)
        }
        try check(UInt8.self)
        try check(UInt16.self)
        try check(Int32.self)
        try check(Int64.self)
    }

    @Test(arguments: [2, 3], ["DCR", "CRD"])
    func depthAndSpace(_ block: Int, _ mode: String) throws {
        let (n, c, h, w) = (2, 3, 5, 70)
        let x = numbers(n * c * block * block * h * w, seed: 1)
        let shape = [n, c * block * block, h, w]
        let y = try run(
            "DepthToSpace", [Tensor(x, shape: shape)], ["blocksize": .int(block), "mode": .string(mode)])[0]
        let found = try y.elements(as: Float.self)
        var place = 0
        for (sample, channel) in (0..<n).flatMap({ sample in (0..<c).map { (sample, $0) } }) {
            for (row, column) in (0..<(h * block)).flatMap({ row in (0..<(w * block)).map { (row, $0) } }) {
                let cell = row % block * block + column % block
                let depth = mode == "DCR" ? cell * c + channel : channel * block * block + cell
                let from = ((sample * shape[1] + depth) * h + row / block) * w + column / block
                if found[place] != x[from] {
                    Issue.record("\(sample), \(channel), \(row), \(column)")
                    return
                }
                place += 1
            }
        }
        guard mode == "DCR" else { return }
        let back = try run("SpaceToDepth", [y], ["blocksize": .int(block)])[0].elements(as: Float.self)
        #expect(back == x)
    }

    @Test func longRowsAreCopiedInParts() throws {
        let (a, b) = (numbers(150_001, seed: 1), numbers(200_003, seed: 2))
        let joined = try run("Concat", [Tensor(a), Tensor(b)], ["axis": .int(0)])[0].elements(as: Float.self)
        #expect(joined == a + b)
        let spread = try run("Expand", [Tensor([Float(3)]), Tensor([Int64(200_003)])])[0].elements(as: Float.self)
        #expect(spread == [Float](repeating: 3, count: 200_003))
        let every = try run(
            "Slice", [Tensor(b), Tensor([Int64(1)]), Tensor([Int64(200_003)]), Tensor([Int64(0)]), Tensor([Int64(2)])])
        let second = try every[0].elements(as: Float.self)
        #expect(second == stride(from: 1, to: 200_003, by: 2).map { b[$0] })
    }

    @Test(arguments: [
        [0, 0, 1, 2, 0, 0, 3, 1], [1, 0, 0, 0, 0, 2, 0, 0], [0, 1, -2, 3, 0, -1, 1, -4], [0, 0, 9, -9, 0, 0, -9, 9],
        [0, 0, 0, 0, 0, 0, 0, 5],
    ])
    func aConstantIsPutAround(_ pads: [Int]) throws {
        let shape = [2, 3, 8, 9]
        let x = numbers(shape.reduce(1, *), seed: 1)
        let y = try run(
            "Pad", [Tensor(x, shape: shape), Tensor(pads.map { Int64($0) }), Tensor([Float(7)], shape: [])])[0]
        #expect(y.shape == shape.indices.map { shape[$0] + pads[$0] + pads[$0 + 4] })
        let expected = (0..<y.count).map { position -> Float in
            var (rest, from, step) = (position, 0, 1)
            for axis in shape.indices.reversed() {
                let place = rest % y.shape[axis] - pads[axis]
                guard (0..<shape[axis]).contains(place) else { return 7 }
                rest /= y.shape[axis]
                from += place * step
                step *= shape[axis]
            }
            return x[from]
        }
        let found = try y.elements(as: Float.self)
        #expect(found == expected)
    }

    /// A result that is larger than the caches of common processors goes another way.
    @Test func largeResultsAreTheSame() throws {
        let (rows, columns) = (4096, 4112)
        let x = (0..<(rows * columns)).map { Float($0 & 0xFFFF) - 300 }
        let tensor = Tensor(x, shape: [rows, columns])
        let negated = try run("Neg", [tensor])[0].elements(as: Float.self)
        let sum = try run("Add", [tensor, Tensor([Float(2)])])[0].elements(as: Float.self)
        let turned = try run("Transpose", [tensor], ["perm": .ints([1, 0])])[0].elements(as: Float.self)
        for place in stride(from: 0, to: x.count, by: 97) {
            let (column, row) = place.quotientAndRemainder(dividingBy: rows)
            guard negated[place] == -x[place], sum[place] == x[place] + 2, turned[place] == x[row * columns + column]
            else {
                Issue.record("at \(place)")
                return
            }
        }
    }

    // MARK: Normalisation

    @Test(arguments: [18, 21], [[2, 6, 5, 7], [3, 12, 300]])
    func groupsAreNormalized(_ opset: Int, _ shape: [Int]) throws {
        let (groups, channels) = (3, shape[1])
        let points = shape[2...].reduce(1, *)
        let x = numbers(shape.reduce(1, *), seed: 2)
        let count = opset < 21 ? groups : channels
        let (scale, bias) = (numbers(count, seed: 3), numbers(count, seed: 4))
        let y = try run(
            "GroupNormalization", [Tensor(x, shape: shape), Tensor(scale), Tensor(bias)],
            ["num_groups": .int(groups), "epsilon": .float(1e-3)], opset: opset)[0].elements(as: Float.self)
        let length = channels / groups * points
        for (place, y) in y.enumerated() {
            let row = x[(place / length * length)..<((place / length + 1) * length)].map { Double($0) }
            let mean = row.reduce(0, +) / Double(length)
            let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(length)
            let own = place / points % channels / (opset < 21 ? channels / groups : 1)
            let normal = (Double(x[place]) - mean) / (variance + 1e-3).squareRoot()
            let expected = normal * Double(scale[own]) + Double(bias[own])
            guard abs(Double(y) - expected) < 1e-4 else {
                Issue.record("\(y), not \(expected), at \(place)")
                return
            }
        }
    }

    @Test func rowsAreDividedByTheirNorm() throws {
        var x = numbers(6 * 333, seed: 9)
        for place in 333..<666 { x[place] = 0 }
        let y = try run("LpNormalization", [Tensor(x, shape: [6, 333])])[0].elements(as: Float.self)
        for row in 0..<6 {
            let part = x[(row * 333)..<((row + 1) * 333)].map { Double($0) }
            let norm = part.reduce(0) { $0 + $1 * $1 }.squareRoot()
            for (place, x) in part.enumerated() {
                #expect(abs(Double(y[row * 333 + place]) - (norm == 0 ? 0 : x / norm)) < 1e-6)
            }
        }
    }
}

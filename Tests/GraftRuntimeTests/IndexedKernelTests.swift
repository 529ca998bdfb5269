import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Kernels that pick and write by index: large tensors against plain loops, texts, and indices that point nowhere.
@Suite struct IndexedKernelTests {
    /// Shapes whose lines go along the last axis, an inner one, and the first.
    static let lines = [([70, 900], 1), ([40, 30, 50], 1), ([900, 70], 0), ([3, 2, 4], -2)]

    private static func split(_ shape: [Int], _ axis: Int) -> (outer: Int, length: Int, inner: Int) {
        let place = axis < 0 ? axis + shape.count : axis
        return (shape[..<place].reduce(1, *), shape[place], shape[(place + 1)...].reduce(1, *))
    }

    @Test(arguments: lines) func gatherElementsReadsWhereTheIndicesPoint(_ shape: [Int], _ axis: Int) throws {
        let (outer, length, inner) = Self.split(shape, axis)
        let x = numbers(shape.reduce(1, *), seed: 1)
        let indices = integers(x.count, below: 2 * length, seed: 2).map { $0 - Int64(length) }
        let y = try run(
            "GatherElements", [Tensor(x, shape: shape), Tensor(indices, shape: shape)], ["axis": .int(axis)])
        let expected = x.indices.map { place -> Float in
            let index = Int(indices[place]) < 0 ? Int(indices[place]) + length : Int(indices[place])
            return x[(place / (length * inner) * length + index) * inner + place % inner]
        }
        #expect(outer * length * inner == x.count)
        #expect(try y[0].elements(as: Float.self) == expected)
    }

    @Test func gatherElementsReadsAPartOfTheData() throws {
        let x = Tensor((0..<24).map(Float.init), shape: [2, 3, 4])
        let y = try run("GatherElements", [x, Tensor([Int64]([2, 0]), shape: [1, 1, 2])], ["axis": .int(1)])
        #expect(y[0].shape == [1, 1, 2])
        #expect(try y[0].elements(as: Float.self) == [8, 1])
    }

    @Test(arguments: lines, ["none", "add", "mul", "max", "min"])
    func scatterElementsWritesInOrder(_ line: ([Int], Int), _ reduction: String) throws {
        let (shape, axis) = line
        let (_, length, inner) = Self.split(shape, axis)
        let (x, updates) = (numbers(shape.reduce(1, *), seed: 1), numbers(shape.reduce(1, *), seed: 3))
        let indices = integers(x.count, below: length, seed: 2)
        let y = try run(
            "ScatterElements",
            [Tensor(x, shape: shape), Tensor(indices, shape: shape), Tensor(updates, shape: shape)],
            ["axis": .int(axis), "reduction": .string(reduction)])
        var expected = x
        for place in x.indices {
            let to = (place / (length * inner) * length + Int(indices[place])) * inner + place % inner
            expected[to] = Self.combine(reduction, expected[to], updates[place])
        }
        #expect(try y[0].elements(as: Float.self) == expected)
    }

    @Test(arguments: [[400, 60], [8000, 3], [2, 9000]], ["none", "add", "max"])
    func scatterNDWritesInOrder(_ shape: [Int], _ reduction: String) throws {
        let (rows, inner) = (shape[0], shape[1])
        let count = rows * 3 / 2
        let (x, updates) = (numbers(rows * inner, seed: 1), numbers(count * inner, seed: 3))
        let indices = integers(count, below: rows, seed: 2)
        let y = try run(
            "ScatterND",
            [Tensor(x, shape: shape), Tensor(indices, shape: [count, 1]), Tensor(updates, shape: [count, inner])],
            ["reduction": .string(reduction)])
        var expected = x
        for row in 0..<count {
            for column in 0..<inner {
                let to = Int(indices[row]) * inner + column
                expected[to] = Self.combine(reduction, expected[to], updates[row * inner + column])
            }
        }
        #expect(try y[0].elements(as: Float.self) == expected)
    }

    private static func combine(_ reduction: String, _ a: Float, _ b: Float) -> Float {
        switch reduction {
        case "add": a + b
        case "mul": a * b
        case "max": max(a, b)
        case "min": min(a, b)
        default: b
        }
    }

    @Test(arguments: [true, false]) func topKSortsWithTheEarlierOfEquals(_ isLargest: Bool) throws {
        let (rows, length, k) = (20, 1000, 37)
        // Few values, so that many are equal.
        let x = integers(rows * length, below: 50, seed: 4).map(Float.init)
        let inputs: [Tensor?] = [Tensor(x, shape: [rows, length]), Tensor([Int64(k)])]
        let y = try run("TopK", inputs, ["largest": .int(isLargest ? 1 : 0)], outputs: 2)
        var places: [Int64] = []
        for row in 0..<rows {
            let line = Array(x[(row * length)..<((row + 1) * length)])
            let order = line.indices.sorted { a, b in
                line[a] != line[b] ? (line[a] > line[b]) == isLargest : a < b
            }
            places += order.prefix(k).map(Int64.init)
        }
        #expect(try y[1].elements(as: Int64.self) == places)
        let values = places.enumerated().map { x[$0 / k * length + Int($1)] }
        #expect(try y[0].elements(as: Float.self) == values)
    }

    @Test func uniqueSortsManyNumbers() throws {
        let x = integers(30_000, below: 700, seed: 5)
        let y = try run("Unique", [Tensor(x)], outputs: 4)
        let values = Set(x).sorted()
        #expect(try y[0].elements(as: Int64.self) == values)
        #expect(try y[1].elements(as: Int64.self) == values.map { Int64(x.firstIndex(of: $0) ?? -1) })
        let rank = Dictionary(uniqueKeysWithValues: values.enumerated().map { ($1, Int64($0)) })
        #expect(try y[2].elements(as: Int64.self) == x.map { rank[$0] ?? -1 })
        var counts: [Int64: Int64] = [:]
        for value in x { counts[value, default: 0] += 1 }
        #expect(try y[3].elements(as: Int64.self) == values.map { counts[$0] ?? 0 })
    }

    @Test func nonZeroListsPositionsInOrder() throws {
        let x = integers(120 * 300, below: 3, seed: 6).map { $0 == 0 ? Float(1) : -0.0 }
        let y = try run("NonZero", [Tensor(x, shape: [120, 300])])
        let places = x.indices.filter { x[$0] != 0 }
        #expect(y[0].shape == [2, places.count])
        #expect(
            try y[0].elements(as: Int64.self) == places.map { Int64($0 / 300) } + places.map { Int64($0 % 300) })
    }

    @Test(arguments: [(0, false), (1, false), (1, true), (2, true)])
    func sumsRunAlongAnyAxis(_ axis: Int, _ isReversed: Bool) throws {
        let shape = [20, 60, 30]
        let (_, length, inner) = Self.split(shape, axis)
        let x = integers(shape.reduce(1, *), below: 100, seed: 7)
        for isExclusive in [false, true] {
            let y = try run(
                "CumSum", [Tensor(x, shape: shape), Tensor(scalar: Int64(axis))],
                ["reverse": .int(isReversed ? 1 : 0), "exclusive": .int(isExclusive ? 1 : 0)])
            let expected = x.indices.map { place -> Int64 in
                let own = place / inner % length
                let start = place - own * inner
                let range = isReversed ? (own + (isExclusive ? 1 : 0))..<length : 0..<(own + (isExclusive ? 0 : 1))
                return range.reduce(0) { $0 + x[start + $1 * inner] }
            }
            #expect(try y[0].elements(as: Int64.self) == expected)
        }
    }

    // MARK: Texts

    private static func texts(_ elements: [String], _ shape: [Int]) throws -> Tensor {
        try Tensor(.string, shape: shape, storage: .strings(elements.map { Array($0.utf8) }))
    }

    @Test func textsMoveLikeNumbers() throws {
        let x = try Self.texts(["b", "a", "c", "b", "", "é"], [2, 3])
        func check(_ found: Tensor, _ elements: [String], _ shape: [Int]) throws {
            #expect(try found.isIdentical(to: Self.texts(elements, shape)))
        }
        try check(
            run("GatherElements", [x, Tensor([Int64]([2, 0]), shape: [1, 2])], ["axis": .int(1)])[0], ["c", "b"],
            [1, 2])
        try check(run("GatherND", [x, Tensor([Int64]([1, 2]), shape: [1, 2])])[0], ["é"], [1])
        try check(
            run("Compress", [x, Tensor([true, false, true])], ["axis": .int(1)])[0], ["b", "c", "b", "é"], [2, 2])
        try check(run("Trilu", [x, nil])[0], ["b", "a", "c", "", "", "é"], [2, 3])
        try check(run("Unique", [x])[0], ["", "a", "b", "c", "é"], [5])
        try check(
            run("ScatterND", [x, Tensor([Int64]([0]), shape: [1, 1]), Self.texts(["x", "y", "z"], [1, 3])])[0],
            ["x", "y", "z", "b", "", "é"], [2, 3])
        try check(
            run("OneHot", [Tensor([Int64(1)]), Tensor(scalar: Int64(2)), Self.texts(["off", "on"], [2])])[0],
            ["off", "on"], [1, 2])
    }

    // MARK: What files may ask for

    private static let square = Tensor([Float](repeating: 1, count: 6), shape: [2, 3])
    private static func int64(_ values: Int64..., shape: [Int]) -> Tensor { Tensor(values, shape: shape) }

    static let hostile = [
        HostileNode(type: "GatherElements", inputs: [square, int64(2, shape: [1, 1])], message: "index 2"),
        HostileNode(type: "GatherElements", inputs: [square, int64(-3, shape: [1, 1])], message: "index -3"),
        HostileNode(type: "GatherElements", inputs: [square, int64(.min, shape: [1, 1])], message: "index"),
        HostileNode(
            type: "GatherElements", inputs: [square, int64(0, 0, 0, 0, shape: [1, 4])], message: "do not fit"),
        HostileNode(type: "GatherND", inputs: [square, int64(1, 3, shape: [1, 2])], message: "index 3"),
        HostileNode(
            type: "GatherND", inputs: [square, int64(1, shape: [1, 1])], attributes: ["batch_dims": .int(Int.max)],
            message: "do not fit"),
        HostileNode(
            type: "ScatterElements", inputs: [square, int64(0, 9, shape: [1, 2]), Tensor([Float](), shape: [0, 2])],
            message: "updates"),
        HostileNode(
            type: "ScatterElements",
            inputs: [square, int64(0, 9, shape: [1, 2]), Tensor([Float]([1, 2]), shape: [1, 2])],
            message: "index 9"),
        HostileNode(
            type: "ScatterND",
            inputs: [square, int64(-9, shape: [1, 1]), Tensor([Float]([1, 2, 3]), shape: [1, 3])],
            message: "index -9"),
        HostileNode(
            type: "TensorScatter",
            inputs: [
                Tensor([Float](repeating: 0, count: 8), shape: [2, 4, 1]), Tensor([Float]([1, 2]), shape: [2, 1, 1]),
                int64(4, 0, shape: [2]),
            ],
            message: "write indices"),
        HostileNode(type: "TopK", inputs: [square, int64(4, shape: [1])], outputs: 2, message: "k is 4"),
        HostileNode(type: "TopK", inputs: [square, int64(-1, shape: [1])], outputs: 2, message: "k is -1"),
        HostileNode(
            type: "Compress", inputs: [square, Tensor([false, false, false, true])], attributes: ["axis": .int(1)],
            message: "length 3"),
        HostileNode(
            type: "OneHot", inputs: [int64(0, shape: [1]), int64(-1, shape: [1]), Tensor([Float]([0, 1]))],
            message: "depth of -1"),
        HostileNode(
            type: "OneHot", inputs: [int64(0, shape: [1]), int64(.max, shape: [1]), Tensor([Float]([0, 1]))],
            message: "not possible"),
        HostileNode(
            type: "ReverseSequence", inputs: [square, int64(0, 3, 1, shape: [3])], message: "do not fit"),
        HostileNode(
            type: "CenterCropPad", inputs: [square, int64(.max, .max, shape: [2])], message: "not possible"),
        HostileNode(
            type: "Range", inputs: [int64(.min, shape: []), int64(.max, shape: []), int64(1, shape: [])],
            message: "a range from"),
        HostileNode(type: "CumSum", inputs: [square, int64(2, shape: [])], message: "axis 2"),
        HostileNode(
            type: "MaxUnpool", inputs: [Tensor([Float(1)], shape: [1, 1, 1]), int64(2, shape: [1, 1, 1])],
            attributes: ["kernel_shape": .ints([2])], message: "index 2"),
        HostileNode(
            type: "Col2Im",
            inputs: [Tensor([Float(1)], shape: [1, 1, 1]), int64(.max, .max, shape: [2]), int64(1, 1, shape: [2])],
            message: "length"),
    ]

    @Test(arguments: hostile) func whatPointsNowhereIsRefused(_ node: HostileNode) throws {
        try node.expectRefusal(opset: 24)
    }
}

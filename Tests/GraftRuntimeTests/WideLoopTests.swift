import GraftCore
import GraftIR
import GraftRuntime
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Loops that are cut into vectors and threads give what one number after the other gives, at every length.
@Suite struct WideLoopTests {
    private static let counts = [1, 31, 32, 63, 65, 513, 70_001]

    @Test func theErrorFunctionIsExactToAFewUnits() throws {
        var x = (0...60_000).map { Float($0 - 30_000) / 5000 }
        x += [0, -0.0, 1e-38, -0x1p-140, 1, -1, 4, .infinity, -.infinity, 1e30]
        let y = try #require(try run("Erf", [Tensor(x)]).first).elements(as: Float.self)
        for (x, y) in zip(x, y) {
            let expected = Float(erf(Double(x)))
            #expect(abs(y - expected) <= 4 * expected.ulp, "erf(\(x)) is \(expected), not \(y)")
        }
        #expect(try run("Erf", [Tensor([Float.nan])])[0].elements(as: Float.self)[0].isNaN)
    }

    @Test(arguments: ["Floor", "Ceil", "Round", "Reciprocal"])
    func wholeNumbersAndReciprocals(_ op: String) throws {
        let x = numbers(777, seed: 3).map { $0 * 5 } + [0.5, 1.5, -0.5, -2.5, .infinity, 3e9, -1e-9]
        let y = try run(op, [Tensor(x)])[0].elements(as: Float.self)
        let expected = x.map { x -> Float in
            switch op {
            case "Floor": x.rounded(.down)
            case "Ceil": x.rounded(.up)
            case "Round": x.rounded(.toNearestOrEven)
            default: 1 / x
            }
        }
        #expect(y == expected)
    }

    /// Numbers at the edges of types, one of which is far from the others.
    private static func edges(_ count: Int, far: Bool) -> [Float] {
        var x = numbers(count, seed: 7).map { $0 * 1000 }
        for (index, value) in [Float(0), -0.0, 0.99, -0.99, 127, 128, 255.5, 256, -1, -129, 2e9, -2.1e9].enumerated()
        where index < count { x[index] = value }
        if far { x[count - 1] = 3e9 }
        return x
    }

    @Test(arguments: counts, [true, false])
    func castsTakeWholePartsAndLowBits(_ count: Int, far: Bool) throws {
        let x = Self.edges(count, far: far)
        func cast(_ type: ElementType) throws -> Tensor {
            try run("Cast", [Tensor(x)], ["to": .int(Int(type.rawValue))])[0]
        }
        let long = try cast(.int64).elements(as: Int64.self)
        #expect(long == x.map { Int64($0) })
        let int = try cast(.int32).elements(as: Int32.self)
        #expect(int == x.map { Int32(truncatingIfNeeded: Int64($0)) })
        let byte = try cast(.int8).elements(as: Int8.self)
        #expect(byte == x.map { Int8(truncatingIfNeeded: Int64($0)) })
        let unsigned = try cast(.uint8).elements(as: UInt8.self)
        #expect(unsigned == x.map { UInt8(truncatingIfNeeded: Int64($0)) })
        let truth = try cast(.bool).elements(as: Bool.self)
        #expect(truth == x.map { $0 != 0 })
        let double = try cast(.float64).elements(as: Double.self)
        #expect(double == x.map { Double($0) })
    }

    @Test func castsOfWhatNoIntegerIs() throws {
        let x: [Float] = [.nan, .infinity, -.infinity, 1e19, -1e19]
        let y = try run("Cast", [Tensor(x)], ["to": .int(Int(ElementType.int64.rawValue))])[0]
        let found = try y.elements(as: Int64.self)
        #expect(found == [0, .max, .min, .max, .min])
    }

    @Test(arguments: counts)
    func castsBetweenIntegers(_ count: Int) throws {
        let x = integers(count, below: 1 << 40, seed: 5).map { $0 - 1 << 39 }
        func cast(_ tensor: Tensor, _ type: ElementType) throws -> Tensor {
            try run("Cast", [tensor], ["to": .int(Int(type.rawValue))])[0]
        }
        let narrow = try cast(Tensor(x), .int32)
        let low = try narrow.elements(as: Int32.self)
        #expect(low == x.map { Int32(truncatingIfNeeded: $0) })
        let back = try cast(narrow, .int64).elements(as: Int64.self)
        #expect(back == x.map { Int64(Int32(truncatingIfNeeded: $0)) })
        let float = try cast(Tensor(x), .float32).elements(as: Float.self)
        #expect(float == x.map { Float($0) })
        let byte = try cast(Tensor(x), .uint8).elements(as: UInt8.self)
        #expect(byte == x.map { UInt8(truncatingIfNeeded: $0) })
    }

    @Test(
        arguments: [[1, 70_001], [3, 65], [2, 33, 5], [1, 4000, 40], [5, 7, 4100]],
        ["ReduceMax", "ReduceL2", "ReduceSum"])
    func rowsAndColumnsAreReduced(_ shape: [Int], _ op: String) throws {
        let values = numbers(shape.reduce(1, *), seed: 11)
        let inner = shape.dropFirst(2).reduce(1, *)
        let y = try run(op, [Tensor(values, shape: shape), Tensor([Int64(1)])], ["keepdims": .int(0)])[0]
        let found = try y.elements(as: Float.self)
        var expected = [Double](repeating: op == "ReduceMax" ? -.infinity : 0, count: shape[0] * inner)
        for (index, value) in values.enumerated() {
            let place = index / (shape[1] * inner) * inner + index % inner
            switch op {
            case "ReduceMax": expected[place] = max(expected[place], Double(value))
            case "ReduceL2": expected[place] += Double(value) * Double(value)
            default: expected[place] += Double(value)
            }
        }
        if op == "ReduceL2" { expected = expected.map { $0.squareRoot() } }
        let scale = Double(shape[1]).squareRoot()
        for (a, b) in zip(found, expected) { #expect(abs(Double(a) - b) < 1e-5 * scale) }
    }

    @Test(arguments: [0, 40, 4095])
    func aNaNIsTheLargestNumberOfItsRow(_ place: Int) throws {
        var values = numbers(2 * 4096, seed: 2)
        values[4096 + place] = .nan
        let y = try run("ReduceMax", [Tensor(values, shape: [2, 4096]), Tensor([Int64(1)])], ["keepdims": .int(0)])[0]
        let found = try y.elements(as: Float.self)
        #expect(found[0] == values[..<4096].max())
        #expect(found[1].isNaN)
    }

    @Test(arguments: [
        ([3, 40_000], [3, 40_000], [3, 40_000]), ([3, 40_000], [3, 40_000], []), ([3, 40_000], [], [40_000]),
        ([3, 1], [3, 50], [50]), ([50], [3, 1], [3, 50]), ([2, 1, 4], [3, 1], [1, 3, 4]),
    ])
    func whereChoosesAlongAllAxes(_ condition: [Int], _ first: [Int], _ second: [Int]) throws {
        let sizes = [condition, first, second].map { $0.reduce(1, *) }
        let truths = integers(sizes[0], below: 2, seed: 1).map { $0 == 1 }
        let (a, b) = (numbers(sizes[1], seed: 2), numbers(sizes[2], seed: 3))
        let y = try run(
            "Where", [Tensor(truths, shape: condition), Tensor(a, shape: first), Tensor(b, shape: second)])[0]
        let rank = max(condition.count, first.count, second.count)
        func index(_ position: Int, _ shape: [Int]) -> Int {
            var (rest, result, step) = (position, 0, 1)
            for axis in (0..<rank).reversed() {
                let place = rest % y.shape[axis]
                rest /= y.shape[axis]
                let own = axis - (rank - shape.count)
                guard own >= 0 else { continue }
                if shape[own] != 1 { result += place * step }
                step *= shape[own]
            }
            return result
        }
        let expected = (0..<y.count).map {
            truths[index($0, condition)] ? a[index($0, first)] : b[index($0, second)]
        }
        let found = try y.elements(as: Float.self)
        #expect(found == expected)
    }

    @Test(arguments: [16, 31, 32, 100, 4097], ["Softmax", "LogSoftmax"])
    func softmaxOfRowsOfAnyLength(_ length: Int, _ op: String) throws {
        var values = numbers(3 * length, seed: 8).map { $0 * 20 }
        values[length] = -.infinity
        for index in 0..<length { values[2 * length + index] = index == 3 ? .nan : 1 }
        let y = try run(op, [Tensor(values, shape: [3, length])], ["axis": .int(-1)])[0].elements(as: Float.self)
        for row in 0..<2 {
            let x = values[row * length..<(row + 1) * length].map { Double($0) }
            let largest = try #require(x.max())
            let sum = x.reduce(0) { $0 + exp($1 - largest) }
            for (index, x) in x.enumerated() {
                let expected = op == "Softmax" ? exp(x - largest) / sum : x - largest - log(sum)
                let found = Double(y[row * length + index])
                #expect(found == expected || abs(found - expected) <= 1e-5 * max(abs(expected), 1e-30))
            }
        }
        #expect(y[(2 * length)...].allSatisfy { $0.isNaN })
    }

    @Test(arguments: [2, 4], [(5, 3), (32, 32), (70, 33), (257, 64)])
    func matricesAreTransposed(_ width: Int, _ extents: (rows: Int, columns: Int)) throws {
        func check<T: TensorElement & FixedWidthInteger>(_ type: T.Type) throws {
            let values = (0..<2 * extents.rows * extents.columns).map { T(truncatingIfNeeded: $0) }
            let x = Tensor(values, shape: [2, extents.rows, extents.columns])
            let y = try run("Transpose", [x], ["perm": .ints([0, 2, 1])])[0]
            let expected = (0..<values.count).map { position in
                let (matrix, rest) = position.quotientAndRemainder(dividingBy: extents.rows * extents.columns)
                let (column, row) = rest.quotientAndRemainder(dividingBy: extents.rows)
                return values[(matrix * extents.rows + row) * extents.columns + column]
            }
            let found = try y.elements(as: T.self)
            #expect(found == expected)
        }
        if width == 2 { try check(UInt16.self) } else { try check(UInt32.self) }
    }

    @Test func singleElementsAreGathered() throws {
        let values = numbers(700 * 60, seed: 4)
        let places = integers(50, below: 60, seed: 6)
        let y = try run("Gather", [Tensor(values, shape: [700, 60]), Tensor(places)], ["axis": .int(1)])[0]
        let found = try y.elements(as: Float.self)
        #expect(found == (0..<700).flatMap { row in places.map { values[row * 60 + Int($0)] } })
    }

    @Test func aLargeResultStaysWhatItIsInLaterRunsAndAfterThem() throws {
        let count = 1 << 19
        var kept: [Tensor] = []
        do {
            let runner = try NodeRunner("Neg", [Tensor([Float](repeating: 0, count: count))], opset: 21)
            for round in 1...3 { kept += try runner([Tensor([Float](repeating: Float(round), count: count))]) }
        }
        for (round, tensor) in kept.enumerated() {
            let found = try tensor.elements(as: Float.self)
            #expect(found == [Float](repeating: -Float(round + 1), count: count))
        }
    }
}

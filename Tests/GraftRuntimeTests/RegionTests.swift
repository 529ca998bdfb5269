import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Operators on images whose places come from data: no place makes them read outside or end the process.
@Suite struct RegionTests {
    static let places: [Float] = [.nan, .infinity, -.infinity, 3e38, -1e20, 0, 1]

    @Test(arguments: ["nearest", "linear", "cubic"], ["zeros", "border", "reflection"])
    func samplesAtAnyPlace(_ mode: String, padding: String) throws {
        let x = spreadNumbers([1, 1, 4, 5], 1)
        let pairs = Self.places.flatMap { a in Self.places.flatMap { [a, $0] } }
        let grid = Tensor(pairs, shape: [1, 7, 7, 2])
        let y = try runNode(
            "GridSample", [("x", x), ("grid", grid)],
            ["mode": .string(mode), "padding_mode": .string(padding)], opset: 20)[0]
        let bound = (try x.floats().map { abs($0) }.max() ?? 0) * 4
        for value in try y.floats() { #expect(abs(value) <= bound) }
    }

    @Test func samplesWholeNumbersAtTheNearest() throws {
        let x = Tensor([Int64]([10, 20, 30, 40]), shape: [1, 1, 2, 2])
        let grid = Tensor([Float]([-1, -1, 1, -1, -1, 1, 1, 1, 5, 5]), shape: [1, 1, 5, 2])
        let attributes: Attributes = ["mode": .string("nearest"), "align_corners": .int(1)]
        let y = try runNode("GridSample", [("x", x), ("grid", grid)], attributes, opset: 20)[0]
        #expect(try y.integers() == [10, 20, 30, 40, 0])
        #expect(throws: (any Error).self) {
            try runNode("GridSample", [("x", x), ("grid", grid)], ["mode": .string("linear")], opset: 20)
        }
    }

    @Test(arguments: places)
    func displacesToAnyPlace(_ place: Float) throws {
        let offsets = Tensor([Float](repeating: place, count: 8 * 9), shape: [1, 8, 3, 3])
        let y = try runNode(
            "DeformConv",
            [("x", spreadNumbers([1, 1, 4, 4], 1)), ("w", spreadNumbers([1, 1, 2, 2], 2)), ("offset", offsets)],
            opset: 22)[0]
        for value in try y.floats() { #expect(value.isFinite) }
        if !place.isFinite { #expect(try y.floats().allSatisfy { $0 == 0 }) }
    }

    @Test(arguments: [[0, 0, Float.nan, 2], [0, 0, .infinity, 2], [0, 0, 1e9, 1e9]])
    func refusesRegionsWithoutASize(_ region: [Float]) {
        #expect(throws: (any Error).self) {
            try runNode(
                "RoiAlign",
                [
                    ("x", spreadNumbers([1, 1, 4, 4], 1)), ("rois", Tensor(region, shape: [1, 4])),
                    ("batch", Tensor([Int64(0)])),
                ], ["output_height": .int(2), "output_width": .int(2)], opset: 22)
        }
    }

    @Test(arguments: [Int64(-1), 1, .max, .min])
    func refusesRegionsOfOtherImages(_ sample: Int64) {
        #expect(throws: (any Error).self) {
            try runNode(
                "RoiAlign",
                [
                    ("x", spreadNumbers([1, 1, 4, 4], 1)), ("rois", spreadNumbers([1, 4], 2)),
                    ("batch", Tensor([sample])),
                ], opset: 22)
        }
        #expect(throws: (any Error).self) {
            try runNode(
                "MaxRoiPool",
                [
                    ("x", spreadNumbers([1, 1, 4, 4], 1)),
                    ("rois", Tensor([Float(sample), 0, 0, 2, 2], shape: [1, 5])),
                ], ["pooled_shape": .ints([2, 2])], opset: 22)
        }
    }

    @Test func suppressesBoxesWithoutOrder() throws {
        let boxes = Tensor(
            Self.places.flatMap { a in Self.places.flatMap { [a, $0, 1, 1] } }, shape: [1, 49, 4])
        let scores = Tensor((0..<49).map { Self.places[$0 % 7] }, shape: [1, 1, 49])
        let found = try runNode(
            "NonMaxSuppression", [("boxes", boxes), ("scores", scores), ("limit", Tensor([Int64.max]))], opset: 11)[0]
        #expect(found.shape[1] == 3)
        #expect(try found.integers()?.allSatisfy { $0 >= 0 && $0 < 49 } == true)
    }

    @Test(arguments: [[2, 3, 0, 4], [2, 3, -1, 4], [2, 3, 4], [1 << 40, 1, 1 << 40, 1 << 40]] as [[Int64]])
    func gridsOfImpossibleSizes(_ size: [Int64]) throws {
        let theta = spreadNumbers([2, 2, 3], 1)
        if size == [2, 3, 0, 4] {
            let grid = try runNode("AffineGrid", [("theta", theta), ("size", Tensor(size))], opset: 20)[0]
            #expect(grid.shape == [2, 0, 4, 2])
        } else {
            #expect(throws: (any Error).self) {
                try runNode("AffineGrid", [("theta", theta), ("size", Tensor(size))], opset: 20)
            }
        }
    }
}

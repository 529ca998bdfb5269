import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Attention against loops over single queries, at sizes that the cases of ONNX do not have.
@Suite struct AttentionTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let batch: Int
        let heads: Int
        let groups: Int
        let queries: Int
        let keys: Int
        let size: Int
        var isFlat = false
        var past = 0
        var isCausal = false
        var left: Int?
        var softcap: Float = 0
        var maskRank: Int?
        var lengths: [Int]?
        var testDescription: String { name }
    }

    static let cases: [Case] = [
        Case(name: "long", batch: 1, heads: 2, groups: 2, queries: 700, keys: 900, size: 16),
        Case(
            name: "long, causal, rows", batch: 2, heads: 4, groups: 4, queries: 513, keys: 513, size: 8, isFlat: true,
            isCausal: true),
        Case(
            name: "many heads in blocks", batch: 1, heads: 8, groups: 2, queries: 300, keys: 640, size: 8,
            isCausal: true),
        Case(
            name: "rows that share keys, in blocks", batch: 1, heads: 8, groups: 2, queries: 300, keys: 640, size: 8,
            isFlat: true),
        Case(
            name: "one step with a cache", batch: 3, heads: 6, groups: 2, queries: 1, keys: 1, size: 8, past: 333,
            isCausal: true),
        Case(
            name: "one step of rows", batch: 3, heads: 6, groups: 3, queries: 1, keys: 1, size: 8, isFlat: true,
            past: 40),
        Case(name: "window", batch: 1, heads: 2, groups: 1, queries: 400, keys: 400, size: 8, isCausal: true, left: 17),
        Case(
            name: "soft cap and mask", batch: 2, heads: 4, groups: 2, queries: 65, keys: 130, size: 8, softcap: 2,
            maskRank: 4),
        Case(
            name: "mask of keys", batch: 2, heads: 2, groups: 2, queries: 70, keys: 70, size: 8, isCausal: true,
            maskRank: 1),
        Case(
            name: "lengths, some queries see nothing", batch: 2, heads: 2, groups: 2, queries: 9, keys: 20, size: 8,
            isCausal: true, lengths: [4, 20]),
        Case(
            name: "lengths, some of many queries see nothing", batch: 2, heads: 2, groups: 1, queries: 40, keys: 53,
            size: 7, isCausal: true, lengths: [14, 53]),
        Case(
            name: "a head that is too large for a core's cache", batch: 1, heads: 1, groups: 1, queries: 20, keys: 1500,
            size: 80, maskRank: 4),
        Case(name: "wide heads", batch: 1, heads: 3, groups: 3, queries: 49, keys: 49, size: 131, maskRank: 4),
    ]  // swift-format-ignore

    @Test(arguments: cases)
    func agreesWithLoops(_ test: Case) throws {
        let full = [test.batch, test.heads, test.queries, test.past + test.keys]
        func operand(_ heads: Int, _ rows: Int, _ seed: Int) -> Tensor {
            test.isFlat
                ? Self.numbers([test.batch, rows, heads * test.size], seed)
                : Self.numbers([test.batch, heads, rows, test.size], seed)
        }
        var inputs: [(String, Tensor)?] = [
            ("q", operand(test.heads, test.queries, 1)), ("k", operand(test.groups, test.keys, 2)),
            ("v", operand(test.groups, test.keys, 3)), nil, nil, nil, nil,
        ]
        if let rank = test.maskRank {
            let mask = Self.numbers(Array(full.suffix(rank)), 4)
            inputs[3] = ("mask", Tensor(try mask.floats().map { $0 > 1 ? -.infinity : $0 }, shape: mask.shape))
        }
        if test.past > 0 {
            inputs[4] = ("pastKey", Self.numbers([test.batch, test.groups, test.past, test.size], 5))
            inputs[5] = ("pastValue", Self.numbers([test.batch, test.groups, test.past, test.size], 6))
        }
        if let lengths = test.lengths { inputs[6] = ("lengths", Tensor(lengths.map { Int64($0) })) }
        var attributes: Attributes = ["is_causal": .int(test.isCausal ? 1 : 0), "softcap": .float(test.softcap)]
        if test.isFlat {
            attributes["q_num_heads"] = .int(Int64(test.heads))
            attributes["kv_num_heads"] = .int(Int64(test.groups))
        }
        if let left = test.left { attributes["left_window_size"] = .int(Int64(left)) }
        let found = try runNode("Attention", inputs, attributes, opset: 25)[0].floats()

        var named: [String: [Float]] = [:]
        for case let (name, tensor)? in inputs where name != "lengths" { named[name] = try tensor.floats() }
        var worst: Float = 0
        for sample in 0..<test.batch {
            for head in 0..<test.heads {
                // Some queries of each block, and the last.
                for query in Set(stride(from: 0, to: test.queries, by: 1 + test.queries / 12) + [test.queries - 1]) {
                    let expected = try Self.attend(test, named, sample, head, query)
                    let start =
                        test.isFlat
                        ? ((sample * test.queries + query) * test.heads + head) * test.size
                        : ((sample * test.heads + head) * test.queries + query) * test.size
                    for index in 0..<test.size { worst = max(worst, abs(found[start + index] - expected[index])) }
                }
            }
        }
        #expect(worst < 2e-5)
    }

    /// One row of the result, in double precision.
    private static func attend(
        _ test: Case, _ arrays: [String: [Float]], _ sample: Int, _ head: Int, _ query: Int
    ) throws -> [Float] {
        let group = head / (test.heads / test.groups)
        let total = test.past + test.keys
        func element(_ name: String, _ heads: Int, _ rows: Int, _ head: Int, _ row: Int, _ index: Int) throws -> Double
        {
            let place =
                test.isFlat
                ? ((sample * rows + row) * heads + head) * test.size + index
                : ((sample * heads + head) * rows + row) * test.size + index
            return Double(try #require(arrays[name])[place])
        }
        func stored(_ name: String, _ pastName: String, _ row: Int, _ index: Int) throws -> Double {
            if row >= test.past { return try element(name, test.groups, test.keys, group, row - test.past, index) }
            let place = ((sample * test.groups + group) * test.past + row) * test.size + index
            return Double(try #require(arrays[pastName])[place])
        }
        var scores: [Double] = []
        let length = test.lengths?[sample] ?? total
        let place = query + (test.lengths == nil ? test.past : length - test.queries)
        for key in 0..<total {
            var sum = 0.0
            for index in 0..<test.size {
                sum +=
                    try element("q", test.heads, test.queries, head, query, index)
                    * stored("k", "pastKey", key, index)
            }
            sum /= Double(test.size).squareRoot()
            if test.softcap > 0 {
                let ratio = 2 * sum / Double(test.softcap)
                sum = Double(test.softcap) * (1 - 2 / (exponential(ratio) + 1))
            }
            if let mask = arrays["mask"] {
                let row = test.maskRank == 1 ? 0 : ((sample * test.heads + head) * test.queries + query)
                sum += Double(mask[row * total + key])
            }
            let isSeen =
                (!test.isCausal || key <= place) && key < length && (test.left.map { key >= place - $0 } ?? true)
            scores.append(isSeen ? sum : -.infinity)
        }
        let largest = scores.max() ?? 0
        guard largest > -.infinity else { return Array(repeating: 0, count: test.size) }
        let weights = scores.map { exponential($0 - largest) }
        let all = weights.reduce(0, +)
        return try (0..<test.size).map { index in
            var sum = 0.0
            for key in 0..<total where weights[key] > 0 {
                sum += try weights[key] / all * stored("v", "pastValue", key, index)
            }
            return Float(sum)
        }
    }

    /// What shapes of operands a file may not have; each is refused, none ends the process.
    static let hostile: [(String, [Tensor?], Attributes)] = [
        ("ranks that differ", [numbers([1, 2, 3, 4], 1), numbers([1, 3, 8], 2), numbers([1, 3, 8], 3)], [:]),
        ("no heads", [numbers([1, 3, 8], 1), numbers([1, 3, 8], 2), numbers([1, 3, 8], 3)], [:]),
        (
            "heads that do not divide", [numbers([1, 3, 8], 1), numbers([1, 3, 8], 2), numbers([1, 3, 8], 3)],
            ["q_num_heads": .int(3), "kv_num_heads": .int(3)]
        ),
        (
            "negative heads", [numbers([1, 3, 8], 1), numbers([1, 3, 8], 2), numbers([1, 3, 8], 3)],
            ["q_num_heads": .int(-4), "kv_num_heads": .int(-4)]
        ),
        (
            "a mask that is too wide",
            [numbers([1, 1, 2, 4], 1), numbers([1, 1, 2, 4], 2), numbers([1, 1, 2, 4], 3), numbers([2, 9], 4)], [:]
        ),
        (
            "a cache of other heads",
            [
                numbers([1, 1, 2, 4], 1), numbers([1, 1, 2, 4], 2), numbers([1, 1, 2, 4], 3), nil,
                numbers([1, 2, 3, 4], 4), numbers([1, 2, 3, 4], 5),
            ], [:]
        ),
        (
            "an unknown stage of scores",
            [numbers([1, 1, 2, 4], 1), numbers([1, 1, 2, 4], 2), numbers([1, 1, 2, 4], 3)],
            ["qk_matmul_output_mode": .int(9)]
        ),
    ]

    @Test(arguments: hostile.indices)
    func refusesShapesThatDoNotFit(_ index: Int) {
        let (_, operands, attributes) = Self.hostile[index]
        let inputs = operands.enumerated().map { index, tensor in tensor.map { ("x\(index)", $0) } }
        #expect(throws: (any Error).self) { try runNode("Attention", inputs, attributes, opset: 25) }
    }

    static func numbers(_ shape: [Int], _ seed: Int) -> Tensor { spreadNumbers(shape, seed) }
}

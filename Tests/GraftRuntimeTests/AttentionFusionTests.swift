import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Attention that is written as products and a softmax runs as one kernel and gives the same.
@Suite struct AttentionFusionTests {
    /// Where exporters put the scale.
    enum Scale: CaseIterable {
        case none, multiplied, divided, atQuery, atKeySource, atBoth
    }

    /// `Softmax(scale Q K' + masks) V` of operands that are there.
    private static func scores(
        _ w: inout GraphWriter, _ q: ValueID, _ k: ValueID, scale: Scale = .multiplied, perm: [Int64] = [0, 1, 3, 2]
    ) -> ValueID {
        var (q, k) = (q, k)
        let root = w.number(0.6)
        if scale == .atQuery || scale == .atBoth { q = w.add("Mul", q, root) }
        if scale == .atKeySource { k = w.add("Mul", root, k) }
        k = w.transposed(k, perm)
        if scale == .atBoth { k = w.add("Mul", k, root) }
        let product = w.add("MatMul", q, k)
        switch scale {
        case .multiplied: return w.add("Mul", product, root)
        case .divided: return w.add("Div", product, root)
        default: return product
        }
    }

    private static func softmax(_ w: inout GraphWriter, _ scores: ValueID, axis: Int = -1) -> ValueID {
        w.add("Softmax", scores, attributes: ["axis": .int(axis)])
    }

    @Test(arguments: Scale.allCases)
    func everyPlaceOfTheScaleIsFused(_ scale: Scale) throws {
        var w = GraphWriter()
        let (q, k, v) = (w.input("q", [2, 3, 5, 4]), w.input("k", [2, 3, 7, 4]), w.input("v", [2, 3, 7, 6]))
        let weights = Self.softmax(&w, Self.scores(&w, q, k, scale: scale))
        #expect(try w.finish(w.add("MatMul", weights, v)) == ["FusedAttention"])
    }

    @Test(arguments: [
        [[2, 3, 5, 7]], [[2, 1, 1, 7]], [[5, 7]], [[1]], [[3, 1, 7]], [[2, 1, 5, 1]], [[1, 3, 5, 7], [2, 1, 1, 7]],
    ])
    func masksThatBroadcastAreFused(_ shapes: [[Int]]) throws {
        var w = GraphWriter()
        let (q, k, v) = (w.input("q", [2, 3, 5, 4]), w.input("k", [2, 3, 7, 4]), w.input("v", [2, 3, 7, 6]))
        var scores = Self.scores(&w, q, k)
        for (index, shape) in shapes.enumerated() {
            let mask = w.input("mask\(index)", shape)
            scores = index == 0 ? w.add("Add", scores, mask) : w.add("Add", mask, scores)
        }
        let weights = Self.softmax(&w, scores, axis: 3)
        #expect(try w.finish(w.add("MatMul", weights, v)) == ["FusedAttention"])
    }

    @Test(arguments: [
        ([1, 1, 5, 4], [2, 3, 7, 4], [2, 3, 7, 6], [1]), ([2, 3, 5, 4], [1, 1, 7, 4], [1, 1, 7, 6], [1]),
        ([2, 3, 5, 4], [2, 1, 7, 4], [1, 3, 7, 6], [1]), ([1, 1, 1, 4], [1, 1, 7, 4], [1, 1, 7, 6], [2, 3, 5, 7]),
    ])
    func operandsThatBroadcastGiveTheSame(_ q: [Int], _ k: [Int], _ v: [Int], _ mask: [Int]) throws {
        var w = GraphWriter()
        let (q, k, v, mask) = (w.input("q", q), w.input("k", k), w.input("v", v), w.input("mask", mask))
        let weights = Self.softmax(&w, w.add("Add", Self.scores(&w, q, k), mask))
        #expect(try w.finish(w.add("MatMul", weights, v)) == ["FusedAttention"])
    }

    @Test func samplesThatAreTooManyToBeComputedAtOnceGiveTheSame() throws {
        var w = GraphWriter()
        let (q, k, v) = (w.input("q", [3, 1, 600, 8]), w.input("k", [3, 1, 600, 8]), w.input("v", [3, 1, 600, 8]))
        let mask = w.input("mask", [3, 1, 1, 600])
        let weights = Self.softmax(&w, w.add("Add", Self.scores(&w, q, k), mask))
        #expect(try w.finish(w.add("MatMul", weights, v)) == ["FusedAttention"])
    }

    @Test func headsInsideRowsNeedNoTranspose() throws {
        var w = GraphWriter()
        var heads: [ValueID] = []
        for name in ["q", "k", "v"] {
            let rows = w.input(name, [2, 5, 12], declared: ["N", 5, 12])
            heads.append(w.add("Reshape", rows, w.integers([0, 5, 3, 4])))
        }
        let (q, v) = (w.transposed(heads[0], [0, 2, 1, 3]), w.transposed(heads[2], [0, 2, 1, 3]))
        let weights = Self.softmax(&w, Self.scores(&w, q, heads[1], perm: [0, 2, 3, 1]))
        let result = w.transposed(w.add("MatMul", weights, v), [0, 2, 1, 3])
        let ops = try w.finish(w.add("Reshape", result, w.integers([0, 5, 12])))
        #expect(ops == ["Reshape", "Reshape", "Reshape", "FusedAttention", "Reshape"])
    }

    /// How exporters take Q, K and V from what one product has made.
    enum Parting: CaseIterable {
        case gathered, split
    }

    @Test(arguments: Parting.allCases, [[3, 20, 2, 5], [1, 7, 3, 4]])
    func queriesKeysAndValuesThatLieTogetherAreReadWhereTheyAre(_ parting: Parting, _ sizes: [Int]) throws {
        let (batch, rows, heads, size) = (sizes[0], sizes[1], sizes[2], sizes[3])
        var w = GraphWriter(opset: 18)
        let together = w.input("qkv", [batch, rows, 3, heads, size])
        let stack = w.transposed(together, [2, 0, 3, 1, 4])
        let parts: [ValueID]
        switch parting {
        case .gathered:
            parts = (0..<3).map { w.add("Gather", stack, w.constant(Tensor([Int64($0)], shape: []))) }
        case .split:
            let lengths = w.integers([1, 1, 1])
            let pieces = (0..<3).map { w.model.graph.addValue("piece\($0)") }
            w.model.graph.addNode("Split", inputs: [stack, lengths], outputs: pieces, attributes: ["axis": .int(0)])
            parts = pieces.map { w.add("Squeeze", $0, w.integers([0])) }
        }
        let weights = Self.softmax(&w, Self.scores(&w, parts[0], parts[1]))
        let result = w.transposed(w.add("MatMul", weights, parts[2]), [0, 2, 1, 3])
        #expect(try w.finish(result) == ["FusedAttention"])
    }

    @Test func stacksOfMatricesAreFused() throws {
        var w = GraphWriter()
        let (q, k, v) = (w.input("q", [6, 5, 4]), w.input("k", [6, 7, 4]), w.input("v", [6, 7, 3]))
        let mask = w.input("mask", [5, 7])
        let scores = w.add("Add", Self.scores(&w, q, k, perm: [0, 2, 1]), mask)
        #expect(try w.finish(w.add("MatMul", Self.softmax(&w, scores), v)) == ["FusedAttention"])
    }

    @Test(arguments: [["N", 7, 4], [6, 7, 4]] as [SymbolicShape])
    func keysThatAreTransposedBeforeTheyAreRegroupedAreFused(_ declared: SymbolicShape) throws {
        var w = GraphWriter(opset: 18)
        let (q, k) = (w.input("q", [2, 3, 5, 4]), w.input("k", [6, 7, 4], declared: declared))
        let keys = w.add("Reshape", w.transposed(k, [0, 2, 1]), w.integers([-1, 3, 4, 7]))
        let weights = Self.softmax(&w, w.add("MatMul", w.add("Mul", q, w.number(0.5)), keys))
        let v = w.input("v", [2, 3, 7, 6])
        #expect(try w.finish(w.add("MatMul", weights, v)) == ["Reshape", "FusedAttention"])
    }

    @Test func aScaleComputedFromAShapeIsFused() throws {
        var w = GraphWriter()
        let shape: SymbolicShape = ["N", 3, 7, 4]
        let q = w.input("q", [2, 3, 7, 4], declared: shape)
        let (k, v) = (w.input("k", [2, 3, 7, 4], declared: shape), w.input("v", [2, 3, 7, 4], declared: shape))
        let size = w.add("Slice", w.add("Shape", q), w.integers([-1]), w.integers([1 << 40]))
        let root = w.add("Sqrt", w.add("Cast", size, attributes: ["to": .int(1)]))
        let scale = w.add("Sqrt", w.add("Cast", w.add("Div", w.number(1), root), attributes: ["to": .int(1)]))
        let product = w.add("MatMul", w.add("Mul", q, scale), w.add("Mul", w.transposed(k, [0, 1, 3, 2]), scale))
        #expect(try w.finish(w.add("MatMul", Self.softmax(&w, product), v)) == ["FusedAttention"])
    }

    @Test func rowsThatAreMaskedThroughoutStayNotANumber() throws {
        var w = GraphWriter()
        let (q, k, v) = (w.input("q", [1, 1, 2, 4]), w.input("k", [1, 1, 3, 4]), w.input("v", [1, 1, 3, 4]))
        let mask = w.constant(
            Tensor([-Float.infinity, -.infinity, -.infinity, 0, -.infinity, 0], shape: [1, 1, 2, 3]))
        let weights = Self.softmax(&w, w.add("Add", Self.scores(&w, q, k), mask))
        #expect(try w.finish(w.add("MatMul", weights, v)) == ["FusedAttention"])
    }

    /// What keeps the nodes apart.
    enum Obstacle: CaseIterable {
        case weightsAreAnOutput, scoresAreReadTwice, otherAxis, otherPermutation, scaledAfterTheMask, negativeScale
        case unknownRank, weightsAreTheSecondOperand
    }

    @Test(arguments: Obstacle.allCases)
    func whatIsNoAttentionStays(_ obstacle: Obstacle) throws {
        var w = GraphWriter()
        let shape = [2, 3, 4, 4]
        let q = w.input("q", shape)
        let (k, v, mask) = (w.input("k", shape), w.input("v", shape), w.input("mask", [4, 4]))
        if obstacle == .unknownRank {
            for id in w.model.graph.inputs { w.model.graph[id].type = .tensor(.float32, nil) }
        }
        var scores = Self.scores(
            &w, q, k, scale: .none, perm: obstacle == .otherPermutation ? [0, 1, 2, 3] : [0, 1, 3, 2])
        let product = scores
        if obstacle == .negativeScale { scores = w.add("Mul", scores, w.number(-1)) }
        scores = w.add("Add", scores, mask)
        if obstacle == .scaledAfterTheMask { scores = w.add("Mul", scores, w.number(0.5)) }
        let weights = Self.softmax(&w, scores, axis: obstacle == .otherAxis ? 2 : -1)
        let result =
            obstacle == .weightsAreTheSecondOperand ? w.add("MatMul", v, weights) : w.add("MatMul", weights, v)
        let ops: [String]
        switch obstacle {
        case .weightsAreAnOutput: ops = try w.finish(result, weights)
        case .scoresAreReadTwice: ops = try w.finish(result, w.add("Neg", product))
        default: ops = try w.finish(result)
        }
        #expect(!ops.contains("FusedAttention") && ops.contains("Softmax"))
    }
}

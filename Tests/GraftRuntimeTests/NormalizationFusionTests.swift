import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Normalizations and Gelu that are written as several nodes run as one kernel and give the same.
@Suite struct NormalizationFusionTests {
    /// How exporters write a square, and a division by a root.
    enum Square: CaseIterable { case power, product }
    enum Division: CaseIterable { case divided, reciprocal, oneDividedBy, power }

    /// `d / sqrt(mean(d^2) + eps)`.
    private static func divided(
        _ w: inout GraphWriter, _ d: ValueID, by base: ValueID? = nil, axes: [Int64] = [-1],
        _ square: Square = .power, _ division: Division = .divided, epsilon: ValueID? = nil
    ) -> ValueID {
        let base = base ?? d
        let squares = square == .power ? w.add("Pow", base, w.number(2)) : w.add("Mul", base, base)
        let sum = w.add("Add", w.mean(squares, axes), epsilon ?? w.number(1e-3))
        switch division {
        case .divided: return w.add("Div", d, w.add("Sqrt", sum))
        case .reciprocal: return w.add("Mul", d, w.add("Reciprocal", w.add("Sqrt", sum)))
        case .oneDividedBy: return w.add("Mul", w.add("Div", w.number(1), w.add("Sqrt", sum)), d)
        case .power: return w.add("Mul", d, w.add("Pow", sum, w.number(-0.5)))
        }
    }

    @Test(arguments: Square.allCases, Division.allCases)
    func everySpellingOfLayerNormalizationIsFused(_ square: Square, _ division: Division) throws {
        for opset in [13, 17, 18, 21] {
            var w = GraphWriter(opset: opset)
            let x = w.input("x", [2, 5, 24], declared: ["N", 5, 24])
            let normalized = Self.divided(&w, w.add("Sub", x, w.mean(x)), square, division)
            let scaled = w.add("Mul", w.constant(spreadNumbers([24], 7)), normalized)
            let y = w.add("Add", scaled, w.constant(spreadNumbers([24], 8)))
            #expect(try w.finish(y) == ["LayerNormalization"])
        }
    }

    @Test(
        arguments: [[-1], [2], [1, 2], [-1, -2]] as [[Int64]],
        [(true, true), (true, false), (false, true), (false, false)])
    func scaleAndBiasMayBeLeftOut(_ axes: [Int64], _ parts: (scale: Bool, bias: Bool)) throws {
        var w = GraphWriter()
        let inner = axes.count == 1 ? [6] : [5, 6]
        let x = w.input("x", [2, 5, 6])
        var y = Self.divided(&w, w.add("Sub", x, w.mean(x, axes)), axes: axes)
        if parts.scale { y = w.add("Mul", y, w.constant(spreadNumbers(inner, 7))) }
        if parts.bias { y = w.add("Add", y, w.constant(spreadNumbers(inner, 8))) }
        #expect(try w.finish(y) == ["LayerNormalization"])
    }

    @Test func aDifferenceThatIsWrittenTwiceIsFused() throws {
        var w = GraphWriter()
        let x = w.input("x", [2, 5, 6])
        let mean = w.mean(x)
        let y = Self.divided(&w, w.add("Sub", x, mean), by: w.add("Sub", x, mean))
        #expect(try w.finish(y) == ["LayerNormalization"])
    }

    /// How exporters take the mean away from a product.
    enum Shift: CaseIterable { case biasLessMean, negatedMeanAndBias, lessMean, negatedMean }

    private static func aroundMoments(
        _ w: inout GraphWriter, _ x: ValueID, _ shift: Shift, hasScale: Bool
    ) -> (y: ValueID, factor: ValueID) {
        let mean = w.mean(x)
        let distance = w.add("Sub", x, mean)
        let variance = w.mean(w.add("Mul", distance, distance))
        var r = w.add("Reciprocal", w.add("Sqrt", w.add("Add", variance, w.number(1e-3))))
        if hasScale { r = w.add("Mul", r, w.constant(spreadNumbers([24], 7))) }
        let bias = w.constant(spreadNumbers([24], 8))
        let product = w.add("Mul", x, r)
        switch shift {
        case .biasLessMean: return (w.add("Add", product, w.add("Sub", bias, w.add("Mul", mean, r))), r)
        case .negatedMeanAndBias:
            return (w.add("Add", product, w.add("Add", w.add("Mul", w.add("Neg", mean), r), bias)), r)
        case .lessMean: return (w.add("Sub", product, w.add("Mul", mean, r)), r)
        case .negatedMean: return (w.add("Add", product, w.add("Mul", w.add("Neg", mean), r)), r)
        }
    }

    @Test(arguments: Shift.allCases, [true, false])
    func layerNormalizationAroundMomentsIsFused(_ shift: Shift, hasScale: Bool) throws {
        var w = GraphWriter(opset: 15)
        let x = w.input("x", [2, 5, 24], declared: ["N", 5, 24])
        #expect(try w.finish(Self.aroundMoments(&w, x, shift, hasScale: hasScale).y) == ["LayerNormalization"])
    }

    @Test func momentsThatAreReadElsewhereStay() throws {
        var w = GraphWriter(opset: 15)
        let (y, factor) = Self.aroundMoments(&w, w.input("x", [2, 24]), .biasLessMean, hasScale: true)
        #expect(try !w.finish(y, factor).contains("LayerNormalization"))
    }

    @Test(arguments: Square.allCases, Division.allCases)
    func everySpellingOfRMSNormalizationIsFused(_ square: Square, _ division: Division) throws {
        var w = GraphWriter()
        let x = w.input("x", [2, 5, 24], declared: ["N", "L", 24])
        let y = w.add("Mul", w.constant(spreadNumbers([24], 7)), Self.divided(&w, x, square, division))
        #expect(try w.finish(y) == ["RMSNormalization"])
    }

    @Test func castsToTheSameTypeDoNotHinder() throws {
        var w = GraphWriter()
        let x = w.add("Cast", w.input("x", [2, 24]), attributes: ["to": .int(1)])
        let normalized = w.add("Cast", Self.divided(&w, x), attributes: ["to": .int(1)])
        #expect(try w.finish(w.add("Mul", w.constant(spreadNumbers([24], 7)), normalized)) == ["RMSNormalization"])
    }

    /// What keeps the nodes apart.
    enum Obstacle: CaseIterable {
        case otherAxis, differentAxes, axisIsDropped, vectorOfEpsilons, varianceIsAnOutput, squaresAreReadTwice, cubes
        case otherSource
    }

    @Test(arguments: Obstacle.allCases)
    func whatIsNoNormalizationStays(_ obstacle: Obstacle) throws {
        var w = GraphWriter()
        let x = w.input("x", [6, 6, 6])
        let axes: [Int64] = obstacle == .otherAxis ? [1] : [-1]
        let d = w.add("Sub", x, w.mean(x, obstacle == .differentAxes ? [-2] : axes))
        let base = obstacle == .otherSource ? w.add("Abs", x) : d
        let squares = w.add("Pow", base, w.number(obstacle == .cubes ? 4 : 2))
        let variance = w.mean(squares, axes, keeps: obstacle != .axisIsDropped)
        let epsilon =
            obstacle == .vectorOfEpsilons
            ? w.constant(Tensor([Float(1), 2, 3, 4, 5, 6], shape: [6, 1])) : w.number(1e-3)
        let y = w.add("Div", d, w.add("Sqrt", w.add("Add", variance, epsilon)))
        let ops: [String]
        switch obstacle {
        case .varianceIsAnOutput: ops = try w.finish(y, variance)
        case .squaresAreReadTwice: ops = try w.finish(y, w.add("Neg", squares))
        default: ops = try w.finish(y)
        }
        if obstacle == .differentAxes {
            // The difference is then only what is normalized.
            #expect(ops.contains("Sub") && ops.last == "RMSNormalization")
        } else {
            #expect(ops.contains("Sqrt") && ops.allSatisfy { !$0.hasSuffix("Normalization") })
        }
    }

    // MARK: Gelu

    enum Tail: CaseIterable { case halfFirst, halfLast, halfOfSum }
    enum Cube: CaseIterable { case power, products, factoredOut }

    private static func gelu(
        _ w: inout GraphWriter, _ x: ValueID, _ cube: Cube, _ tail: Tail, factor: Float = 0.044715
    ) -> (y: ValueID, sum: ValueID) {
        let (small, root, one, half) = (w.number(factor), w.number(0.797_884_56), w.number(1), w.number(0.5))
        let argument: ValueID
        switch cube {
        case .power:
            argument = w.add("Mul", w.add("Add", x, w.add("Mul", w.add("Pow", x, w.number(3)), small)), root)
        case .products:
            let cubed = w.add("Mul", x, w.add("Mul", x, x))
            argument = w.add("Mul", root, w.add("Add", w.add("Mul", small, cubed), x))
        case .factoredOut:
            let square = w.add("Mul", w.add("Mul", small, x), x)
            argument = w.add("Mul", w.add("Mul", x, root), w.add("Add", one, square))
        }
        let sum = w.add("Add", one, w.add("Tanh", argument))
        switch tail {
        case .halfFirst: return (w.add("Mul", w.add("Mul", half, x), sum), sum)
        case .halfLast: return (w.add("Mul", w.add("Mul", x, sum), half), sum)
        case .halfOfSum: return (w.add("Mul", x, w.add("Mul", half, sum)), sum)
        }
    }

    @Test(arguments: Cube.allCases, Tail.allCases)
    func everySpellingOfGeluIsFused(_ cube: Cube, _ tail: Tail) throws {
        var w = GraphWriter()
        // A product in front must not be taken for a part of it.
        let x = w.add("Mul", w.input("a", [3, 40]), w.input("b", [3, 40]))
        #expect(try w.finish(Self.gelu(&w, x, cube, tail).y) == ["Mul", "Gelu"])
    }

    @Test(arguments: [true, false])
    func whatIsNoGeluStays(isReadTwice: Bool) throws {
        var w = GraphWriter()
        let x = w.input("x", [3, 40])
        let (y, sum) = Self.gelu(&w, x, .power, .halfFirst, factor: isReadTwice ? 0.044715 : 0.05)
        let ops = isReadTwice ? try w.finish(y, w.add("Neg", sum)) : try w.finish(y)
        #expect(ops.contains("Tanh") && !ops.contains("Gelu"))
    }
}

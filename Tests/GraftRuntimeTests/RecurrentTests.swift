import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Recurrent layers on long sequences against loops, and what they refuse.
@Suite struct RecurrentTests {
    @Test(arguments: ["forward", "reverse"])
    func longLSTMAgreesWithLoops(_ direction: String) throws {
        let (length, batch, features, hidden) = (200, 3, 5, 7)
        let x = spreadNumbers([length, batch, features], 1)
        let w = spreadNumbers([1, 4 * hidden, features], 2, scale: 0.5)
        let r = spreadNumbers([1, 4 * hidden, hidden], 3, scale: 0.3)
        let b = spreadNumbers([1, 8 * hidden], 4, scale: 0.2)
        let lengths = [200, 1, 77]
        let found = try runNode(
            "LSTM",
            [("x", x), ("w", w), ("r", r), ("b", b), ("lengths", Tensor(lengths.map { Int32($0) }))],
            ["hidden_size": .int(Int64(hidden)), "direction": .string(direction)], opset: 22, outputs: 3)
        let (y, last, cells) = (try found[0].floats(), try found[1].floats(), try found[2].floats())
        let (xs, ws, rs, bs) = (try x.floats(), try w.floats(), try r.floats(), try b.floats())
        func sigmoid(_ x: Double) -> Double { 1 / (1 + exponential(-x)) }
        func tangent(_ x: Double) -> Double { 2 * sigmoid(2 * x) - 1 }
        var worst = 0.0
        for sample in 0..<batch {
            var h = [Double](repeating: 0, count: hidden)
            var c = h
            for step in 0..<lengths[sample] {
                let time = direction == "reverse" ? lengths[sample] - 1 - step : step
                let gates = (0..<4 * hidden).map { gate -> Double in
                    var sum = Double(bs[gate] + bs[4 * hidden + gate])
                    for index in 0..<features {
                        sum += Double(xs[(time * batch + sample) * features + index] * ws[gate * features + index])
                    }
                    for index in 0..<hidden { sum += h[index] * Double(rs[gate * hidden + index]) }
                    return sum
                }
                for unit in 0..<hidden {
                    let fresh = sigmoid(gates[unit]) * tangent(gates[3 * hidden + unit])
                    c[unit] = sigmoid(gates[2 * hidden + unit]) * c[unit] + fresh
                    h[unit] = sigmoid(gates[hidden + unit]) * tangent(c[unit])
                    worst = max(worst, abs(Double(y[(time * batch + sample) * hidden + unit]) - h[unit]))
                }
            }
            for time in lengths[sample]..<length {
                for unit in 0..<hidden { #expect(y[(time * batch + sample) * hidden + unit] == 0) }
            }
            for unit in 0..<hidden {
                worst = max(worst, abs(Double(last[sample * hidden + unit]) - h[unit]))
                worst = max(worst, abs(Double(cells[sample * hidden + unit]) - c[unit]))
            }
        }
        #expect(worst < 1e-5)
    }

    /// Both precisions come from one source, so that the products by loops and by oneDNN check each other.
    @Test(arguments: ["RNN", "GRU", "LSTM"], [0, 1])
    func precisionsAgree(_ type: String, layout: Int) throws {
        let (length, batch, features, hidden) = (9, 4, 6, 5)
        let gates = type == "RNN" ? 1 : type == "GRU" ? 3 : 4
        let tensors = [
            spreadNumbers(layout == 1 ? [batch, length, features] : [length, batch, features], 1),
            spreadNumbers([2, gates * hidden, features], 2, scale: 0.5),
            spreadNumbers([2, gates * hidden, hidden], 3, scale: 0.5), spreadNumbers([2, 2 * gates * hidden], 4),
        ]
        let attributes: Attributes = [
            "hidden_size": .int(Int64(hidden)), "direction": .string("bidirectional"), "layout": .int(Int64(layout)),
        ]
        let names = ["x", "w", "r", "b"]
        let single = try runNode(type, zip(names, tensors).map { ($0, $1) }, attributes, opset: 22, outputs: 2)
        let wide = try tensors.map { Tensor(try $0.floats().map { Double($0) }, shape: $0.shape) }
        let double = try runNode(type, zip(names, wide).map { ($0, $1) }, attributes, opset: 22, outputs: 2)
        for (a, b) in zip(single, double) {
            let rounded = Tensor(try b.elements(as: Double.self).map { Float($0) }, shape: b.shape)
            #expect(try relativeDifference(a, rounded) < 1e-5)
        }
    }

    @Test(arguments: [
        ("weights of other features", [4, 2, 3], [1, 20, 7], [1, 20, 5]),
        ("gates that do not fit", [4, 2, 3], [1, 19, 3], [1, 20, 5]),
        ("two directions", [4, 2, 3], [2, 20, 3], [2, 20, 5]), ("no axes", [4], [1, 20, 3], [1, 20, 5]),
    ])
    func refusesWeightsThatDoNotFit(_ what: String, x: [Int], w: [Int], r: [Int]) {
        #expect(throws: (any Error).self) {
            try runNode(
                "LSTM", [("x", spreadNumbers(x, 1)), ("w", spreadNumbers(w, 2)), ("r", spreadNumbers(r, 3))],
                opset: 22)
        }
    }

    @Test(arguments: [[5, 1], [-1, 2], [2]])
    func refusesLengthsThatDoNotFit(_ lengths: [Int32]) {
        #expect(throws: (any Error).self) {
            try runNode(
                "RNN",
                [
                    ("x", spreadNumbers([4, 2, 3], 1)), ("w", spreadNumbers([1, 5, 3], 2)),
                    ("r", spreadNumbers([1, 5, 5], 3)), nil, ("lengths", Tensor(lengths)),
                ], opset: 22)
        }
    }
}

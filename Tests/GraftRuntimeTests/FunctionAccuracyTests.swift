import GraftCore
import GraftIR
import GraftRuntime
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Functions of many numbers are exact to a few units in the last place wherever the result is a number.
@Suite struct FunctionAccuracyTests {
    /// Numbers of every size and both signs, and what is no number.
    private static let everywhere: [Float] = {
        var result: [Float] = stride(from: UInt32(0), to: 0x7F80_0000, by: 40_961).flatMap {
            [Float(bitPattern: $0), -Float(bitPattern: $0)]
        }
        // Near multiples of pi / 2, where little is left of a large number.
        for count in 1...3000 {
            let (near, far) = (Double(count) * Double.pi / 2, Double(count * 217) * Double.pi / 2)
            result += [Float(near), -Float(far)]
        }
        result += (-900...900).map { Float($0) / 9 }
        return result
    }()

    @Test(arguments: ["Sin", "Cos", "Exp", "Sigmoid", "Tanh"])
    func everyNumberHasAnAccurateResult(_ op: String) throws {
        let y = try run(op, [Tensor(Self.everywhere)])[0].elements(as: Float.self)
        for (x, y) in zip(Self.everywhere, y) {
            let wide = Double(x)
            let exact: Double =
                switch op {
                case "Sin": sin(wide)
                case "Cos": cos(wide)
                case "Exp": exp(wide)
                case "Sigmoid": 1 / (1 + exp(-wide))
                default: tanh(wide)
                }
            let expected = Float(exact)
            let isClose = abs(y - expected) <= 3 * max(expected.ulp, Float.leastNormalMagnitude.ulp)
            guard y == expected || isClose else {
                Issue.record("\(op)(\(x)) is \(expected), not \(y)")
                return
            }
        }
    }

    @Test func theEndsOfTheRange() throws {
        let ends: [Float] = [.infinity, -.infinity, .nan, -0.0]
        func values(_ op: String) throws -> [Float] { try run(op, [Tensor(ends)])[0].elements(as: Float.self) }
        for op in ["Sin", "Cos"] {
            let y = try values(op)
            #expect(y[0].isNaN && y[1].isNaN && y[2].isNaN)
            #expect(op == "Cos" ? y[3] == 1 : y[3] == 0 && y[3].sign == .minus)
        }
        let exponential = try values("Exp")
        #expect(exponential[0] == .infinity && exponential[1] == 0 && exponential[2].isNaN && exponential[3] == 1)
        let sigmoid = try values("Sigmoid")
        #expect(sigmoid[0] == 1 && sigmoid[1] == 0 && sigmoid[2].isNaN && sigmoid[3] == 0.5)
        let tangent = try values("Tanh")
        #expect(tangent[0] == 1 && tangent[1] == -1 && tangent[2].isNaN && tangent[3] == 0 && tangent[3].sign == .minus)
    }

    @Test func negativeNumbersAreScaled() throws {
        let x: [Float] = [-2, -0.0, 0, 3, .infinity, -.infinity]
        let relu = try run("Relu", [Tensor(x)])[0].elements(as: Float.self)
        #expect(relu == [0, 0, 0, 3, .infinity, 0])
        let leaky = try run("LeakyRelu", [Tensor(x)], ["alpha": .float(0.5)])[0].elements(as: Float.self)
        #expect(leaky == [-1, 0, 0, 3, .infinity, -.infinity])
        #expect(try run("Relu", [Tensor([Float.nan])])[0].elements(as: Float.self)[0].isNaN)
    }
}

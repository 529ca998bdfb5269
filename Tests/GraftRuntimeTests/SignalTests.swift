import GraftCore
import GraftIR
import GraftRuntime
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Fourier transforms of every kind of length, and random numbers.
@Suite struct SignalTests {
    /// One point, powers of two, small factors, larger primes, and primes that need Bluestein's way.
    static let lengths = [1, 2, 3, 4, 5, 7, 8, 12, 16, 23, 29, 31, 45, 64, 97, 100, 121, 128, 210, 251, 256, 360, 1009]

    @Test(arguments: lengths) func transformsAgreeWithTheDefinition(_ length: Int) throws {
        var generator = CounterRandom(seed: 11)
        let x = (0..<(2 * length)).map { _ in generator.uniformDouble() - 0.5 }
        let signal = Tensor(x, shape: [1, length, 2])
        for isInverse in [false, true] {
            let found = try run("DFT", [signal], ["inverse": .int(isInverse ? 1 : 0)])[0].elements(as: Double.self)
            for bin in 0..<length {
                var (real, imaginary) = (0.0, 0.0)
                for point in 0..<length {
                    let angle = (isInverse ? 2 : -2) * Double.pi * Double(bin * point % length) / Double(length)
                    real += x[2 * point] * cos(angle) - x[2 * point + 1] * sin(angle)
                    imaginary += x[2 * point] * sin(angle) + x[2 * point + 1] * cos(angle)
                }
                let scale = isInverse ? 1 / Double(length) : 1
                #expect(abs(found[2 * bin] - real * scale) < 1e-10)
                #expect(abs(found[2 * bin + 1] - imaginary * scale) < 1e-10)
            }
        }
    }

    @Test(arguments: [6, 7, 58, 96]) func oneSidedSpectraComeBack(_ length: Int) throws {
        let x = Tensor(numbers(3 * length * 2, seed: 8), shape: [3, length, 2, 1])
        let axis = Tensor(scalar: Int64(1))
        let spectrum = try run("DFT", [x, nil, axis], ["onesided": .int(1)])[0]
        #expect(spectrum.shape == [3, length / 2 + 1, 2, 2])
        let back = try run(
            "DFT", [spectrum, Tensor(scalar: Int64(length)), axis], ["onesided": .int(1), "inverse": .int(1)])[0]
        #expect(back.shape == x.shape)
        #expect(try relativeDifference(back, x) < 1e-6)
    }

    @Test func anotherLengthCutsOrPads() throws {
        let x = Tensor(numbers(10, seed: 9), shape: [1, 10, 1])
        for length in [6, 15] {
            let values = try x.elements(as: Float.self) + [Float](repeating: 0, count: 5)
            let cut = Tensor(Array(values.prefix(length)), shape: [1, length, 1])
            let found = try run("DFT", [x, Tensor(scalar: Int64(length))])[0]
            #expect(try relativeDifference(found, try run("DFT", [cut])[0]) < 1e-6)
        }
    }

    @Test(arguments: [0, -4, Int64.max]) func impossibleLengthsAreRefused(_ length: Int64) {
        #expect(throws: (any Error).self) {
            _ = try run("DFT", [Tensor(numbers(4, seed: 1), shape: [1, 4, 1]), Tensor(scalar: length)])
        }
    }

    // MARK: Random numbers

    @Test(arguments: ["RandomUniform", "RandomNormal"]) func aSeedRepeatsTheDraws(_ type: String) throws {
        let shape: AttributeValue = .ints([200, 100])
        let seeded = try NodeRunner(type, [], ["shape": shape, "seed": .float(3)], opset: 21)
        let first = try seeded([])[0]
        #expect(try first.isIdentical(to: seeded([])[0]))
        let other = try NodeRunner(type, [], ["shape": shape, "seed": .float(4)], opset: 21)
        #expect(try !first.isIdentical(to: other([])[0]))
        let free = try NodeRunner(type, [], ["shape": shape], opset: 21)
        #expect(try !free([])[0].isIdentical(to: free([])[0]))
    }

    @Test func drawsHaveTheirDistribution() throws {
        func moments(_ values: [Float]) -> (mean: Double, variance: Double) {
            let mean = values.reduce(0) { $0 + Double($1) } / Double(values.count)
            return (mean, values.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(values.count))
        }
        let shape: AttributeValue = .ints([20_000])
        let uniform = try run(
            "RandomUniform", [], ["shape": shape, "seed": .float(1), "low": .float(-2), "high": .float(4)])[0]
        let flat = moments(try uniform.elements(as: Float.self))
        #expect(abs(flat.mean - 1) < 0.05 && abs(flat.variance - 3) < 0.1)
        let normal = try run(
            "RandomNormal", [], ["shape": shape, "seed": .float(1), "mean": .float(5), "scale": .float(3)])[0]
        let bell = moments(try normal.elements(as: Float.self))
        #expect(abs(bell.mean - 5) < 0.1 && abs(bell.variance - 9) < 0.4)

        let weights = Tensor([Float]([0, 1, 2]).map { $0 == 0 ? -.infinity : log($0) }, shape: [1, 3])
        let drawn = try run(
            "Multinomial", [weights], ["sample_size": .int(9000), "seed": .float(2), "dtype": .int(7)])[0]
        let classes = try drawn.elements(as: Int64.self)
        #expect(!classes.contains(0) && abs(classes.filter { $0 == 1 }.count - 3000) < 200)

        let chances = Tensor([Float](repeating: 0.25, count: 10_000))
        let coins = try run("Bernoulli", [chances], ["seed": .float(2), "dtype": .int(9)])[0]
        let heads = try coins.withBytes { $0.reduce(0) { $0 + Int($1) } }
        #expect(abs(heads - 2500) < 200)
    }
}

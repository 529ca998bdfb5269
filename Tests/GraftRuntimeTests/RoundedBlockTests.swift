import CNumerics
import COneDNN
import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Tensors in blocks of numbers of bfloat16, and what computes with them.
@Suite struct RoundedBlockTests {
    /// A number of bfloat16, and the one nearest to a number.
    private static func widened(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }
    private static func rounded(_ value: Float) -> UInt16 {
        if value.isNaN { return UInt16(value.bitPattern >> 16) | 0x40 }
        return UInt16(truncatingIfNeeded: (value.bitPattern &+ 0x7FFF &+ (value.bitPattern >> 16 & 1)) >> 16)
    }

    /// Bits of every kind: zeros, tiny and huge numbers, infinities and what is no number.
    private static let patterns: [UInt16] = (0..<4096).map { UInt16(truncatingIfNeeded: $0 &* 40_503) }

    private static func isSame(_ a: UInt16, _ b: UInt16) -> Bool { a == b || widened(a).isNaN && widened(b).isNaN }

    @Test(arguments: [CELEMENTWISE_ADD, CELEMENTWISE_MULTIPLY])
    func sumsAndProductsAreRoundedOnce(_ operation: celementwise_operation) {
        let (a, b) = (Self.patterns, Self.patterns.reversed().map { $0 ^ 0x1234 })
        func exact(_ x: Float, _ y: Float) -> Float { operation == CELEMENTWISE_ADD ? x + y : x * y }
        var found = [UInt16](repeating: 0, count: a.count)
        celementwise_rounded_binary(operation, a, b, &found, a.count)
        for i in a.indices {
            #expect(Self.isSame(found[i], Self.rounded(exact(Self.widened(a[i]), Self.widened(b[i])))), "\(i)")
        }
        let row = numbers(16, seed: 3)
        celementwise_rounded_rows(operation, a, row, &found, a.count / 16)
        for i in a.indices {
            #expect(Self.isSame(found[i], Self.rounded(exact(Self.widened(a[i]), row[i % 16]))), "\(i)")
        }
    }

    @Test func columnsAreSummedInThirtyTwoBits() {
        let values = numbers(16 * 131, seed: 4).map(Self.rounded)
        var sums = [Float](repeating: 0, count: 16)
        celementwise_sum_rounded_rows(values, &sums, 131)
        for lane in 0..<16 {
            let wanted = stride(from: lane, to: values.count, by: 16).reduce(0.0) {
                $0 + Double(Self.widened(values[$1]))
            }
            #expect(abs(Double(sums[lane]) - wanted) < 1e-4)
        }
    }

    /// Chains of convolutions that end in different ways.
    private func chain(_ activation: String?) -> Model {
        var model = Model(opset: 24)
        var value = model.graph.addInput("x", type: .tensor(.float32, ["N", 3, "H", "W"]))
        var width = 3
        for (index, next) in [64, 64, 96, 64, 64].enumerated() {
            let scale = 1 / Float(width * 9).squareRoot()
            let weights = numbers(next * width * 9, seed: UInt64(index)).map { $0 * scale }
            let filters = model.graph.addInitializer("w\(index)", Tensor(weights, shape: [next, width, 3, 3]))
            value = model.graph.add("Conv", [value, filters], attributes: ["pads": .ints([1, 1, 1, 1])])
            if let activation { value = model.graph.add(OperatorName(activation), [value]) }
            width = next
        }
        model.graph.addOutput(value)
        return model
    }

    private func results(_ model: Model, _ x: Tensor, bf16: Bool) throws -> [Float] {
        var options = PlanOptions()
        options.allowsBF16 = bf16
        let session = try Session(Plan(model, options: options))
        let name = try #require(session.plan.outputs.first?.name)
        return try #require(try session.run(["x": x])[name]).floats()
    }

    @Test func resultsOfTheModelAreNotRounded() throws {
        let x = Tensor(numbers(3 * 24 * 24, seed: 7), shape: [1, 3, 24, 24])
        let found = try results(chain("Relu"), x, bf16: true)
        let whole = found.filter { $0 != 0 && $0.bitPattern & 0xFFFF != 0 }
        #expect(whole.count > found.count / 4)
        // The numbers inside were rounded, where the processor computes with such.
        #expect((try results(chain("Relu"), x, bf16: false) != found) == (gdnn_has_bf16() != 0))
    }

    @Test func whatIsNotANumberReachesTheResult() throws {
        var pixels = numbers(3 * 60 * 60, seed: 8)
        pixels[60 * 9 + 11] = .nan
        pixels[60 * 60 + 60 * 12 + 3] = .infinity
        let x = Tensor(pixels, shape: [1, 3, 60, 60])
        let (found, wanted) = (try results(chain(nil), x, bf16: true), try results(chain(nil), x, bf16: false))
        #expect(wanted.contains { $0.isNaN } && wanted.contains { $0.isFinite })
        #expect(zip(found, wanted).allSatisfy { !$0.isFinite || $1.isFinite })
        #expect(found.contains { $0.isFinite })
    }

    /// Windows of 3 by 3 over an image with padding, by definition.
    private func convolution(_ image: [Float], _ filters: [Float], size: Int, channels: Int) -> [Double] {
        let lanes = 16
        var result = [Double](repeating: 0, count: lanes * size * size)
        for point in 0..<size * size {
            for (i, j) in (0..<9).map({ ($0 / 3, $0 % 3) }) {
                let (row, column) = (point / size + i - 1, point % size + j - 1)
                guard (0..<size).contains(row), (0..<size).contains(column) else { continue }
                for c in 0..<channels {
                    let pixel = image[(c / lanes * size * size + row * size + column) * lanes + c % lanes]
                    for lane in 0..<lanes {
                        result[point * lanes + lane] +=
                            Double(pixel) * Double(filters[(c * 9 + i * 3 + j) * lanes + lane])
                    }
                }
            }
        }
        return result
    }

    @Test(.enabled(if: cwinograd_has_integers() != 0), arguments: [1, 2, 3, 8])
    func integersAddLessThanTheErrorOfRoundingTheOperands(blocks: Int) {
        let (size, lanes, count) = (10, 16, 9)
        var geometry = cwinograd_geometry(
            height: size, width: size, top: 1, left: 1, output_height: size, output_width: size, rows: 3, columns: 3,
            input_blocks: blocks, output_blocks: 1)
        let channels = blocks * lanes
        let image = numbers(channels * size * size, seed: 11).map { max($0, 0) }
        let filters = numbers(channels * 9 * lanes, seed: 12)
        let (source, weights) = (image.map(Self.rounded), filters.map(Self.rounded))
        let chunks = (channels + Int(CWINOGRAD_CHUNK) - 1) / Int(CWINOGRAD_CHUNK)
        let (inputStep, weightStep) = (cwinograd_step(blocks * count), cwinograd_step(channels))
        var input = [Int16](repeating: 0, count: 36 * inputStep)
        var transformed = [Int16](repeating: 0, count: 36 * weightStep)
        var inputScales = [Float](repeating: 0, count: chunks * count)
        var weightScales = [Float](repeating: 0, count: chunks * lanes)
        var products = [Float](repeating: 0, count: 36 * cwinograd_step(count))
        var results = [Float](repeating: 0, count: lanes * size * size)
        cwinograd_integer_weights(weights, channels, 0, 1, 0, channels, &transformed, weightStep, &weightScales)
        cwinograd_integer_input(source, &geometry, 0, count, 0, chunks, &input, inputStep, &inputScales)
        cwinograd_integer_multiply(
            input, inputStep, inputScales, transformed, weightStep, weightScales, blocks, count, 1, 0, &products,
            cwinograd_step(count), cwinograd_ahead())
        cwinograd_integer_output(
            products, cwinograd_step(count), &geometry, 0, count, 0, 1, nil, nil, -.infinity, .infinity, 0, &results)
        let exact = convolution(image, filters, size: size, channels: channels)
        let direct = convolution(
            source.map(Self.widened), weights.map(Self.widened), size: size, channels: channels)
        func distance(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) } }
        let (added, rounding) = (distance(results.map(Double.init), direct), distance(direct, exact))
        #expect(rounding > 0 && added < rounding, "\(added) beside \(rounding)")
    }
}

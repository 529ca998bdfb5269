import GraftCore
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

/// Types of at most 8 bits have the codes that ml_dtypes gives them.
@Suite struct SmallElementTests {
    static let floats: [ElementType] = [
        .float8e4m3fn, .float8e4m3fnuz, .float8e5m2, .float8e5m2fnuz, .float4e2m1, .float6e2m3, .float6e3m2,
    ]
    static let all: [ElementType] = floats + [.float8e8m0, .int4, .uint4, .int2, .uint2]

    static func golden() throws -> OrderedDictionary<String, Tensor> {
        try NPZ.read(path: Fixtures.path("types/codes.npz"))
    }

    @Test(arguments: all) func everyCodeStandsForItsNumber(_ type: ElementType) throws {
        let expected = try #require(Self.golden()["\(type.name).numbers"]).elements(as: Float.self)
        let numbers = try #require(SmallElements.numbers(type))
        #expect(expected.count == 1 << type.bitWidth)
        for (code, value) in expected.enumerated() {
            let found = numbers[code]
            #expect(value.isNaN ? found.isNaN : found.bitPattern == value.bitPattern, "\(type.name) \(code)")
        }
    }

    @Test(arguments: floats, [true, false])
    func numbersRoundToTheNearestCode(_ type: ElementType, saturates: Bool) throws {
        let golden = try Self.golden()
        let given = try #require(golden["\(type.name).given"]).elements(as: Float.self)
        let expected = try #require(golden["\(type.name).\(saturates ? "saturated" : "codes")"])
            .elements(as: UInt8.self)
        let format = try #require(SmallFloat(type))
        #expect(given.count > 60)
        for (value, code) in zip(given, expected) {
            #expect(format.encode(Double(value), saturates: saturates) == code, "\(type.name) of \(value)")
        }
    }

    @Test(arguments: floats) func everyNumberKeepsItsCode(_ type: ElementType) throws {
        let format = try #require(SmallFloat(type))
        for code in 0..<(1 << type.bitWidth) {
            let number = format.decode(UInt8(code))
            guard number.isFinite else { continue }
            #expect(format.encode(Double(number), saturates: true) == UInt8(code), "\(type.name) \(code)")
        }
    }

    @Test(arguments: [PowerOfTwoScale.Rounding.up, .down, .nearest])
    func scalesRoundAsAsked(_ rounding: PowerOfTwoScale.Rounding) throws {
        let golden = try Self.golden()
        let given = try #require(golden["float8e8m0.given"]).elements(as: Float.self)
        let expected = try #require(golden["float8e8m0.\(rounding.rawValue)"]).elements(as: UInt8.self)
        for (value, code) in zip(given, expected) {
            #expect(
                PowerOfTwoScale.encode(Double(value), saturates: true, rounding: rounding) == code, "\(value)")
        }
    }

    @Test func scalesOutsideTheRangeSaturateOrAreNaN() {
        // Source: the table of special values on the Cast page of the ONNX reference.
        for value in [0, 1e-60] {
            #expect(PowerOfTwoScale.encode(value, saturates: true, rounding: .up) == 0)
            #expect(PowerOfTwoScale.encode(value, saturates: false, rounding: .nearest) == 0xFF)
        }
        for value in [1e60, .infinity] {
            #expect(PowerOfTwoScale.encode(value, saturates: true, rounding: .up) == 0xFE)
            #expect(PowerOfTwoScale.encode(value, saturates: false, rounding: .nearest) == 0xFF)
        }
        #expect(PowerOfTwoScale.encode(.nan, saturates: true, rounding: .up) == 0xFF)
    }

    @Test(arguments: [2, 4, 6], [1, 2, 3, 4, 5, 11])
    func codesPackWithoutGaps(_ bits: Int, _ count: Int) throws {
        let golden = try Self.golden()
        let codes = try #require(golden["pack\(bits).\(count).codes"]).elements(as: UInt8.self)
        let bytes = try #require(golden["pack\(bits).\(count).bytes"]).elements(as: UInt8.self)
        var packed = [UInt8](repeating: 0xAA, count: bytes.count)
        packed.withUnsafeMutableBytes { SmallElements.pack(codes, bitWidth: bits, 0..<count, into: $0) }
        #expect(packed == bytes)
        var unpacked = [UInt8](repeating: 0xAA, count: count)
        bytes.withUnsafeBytes { SmallElements.unpack($0, bitWidth: bits, 0..<count, into: &unpacked) }
        #expect(unpacked == codes)
    }

    @Test func tensorsOfPackedTypesReadAsNumbers() throws {
        let buffer = [UInt8]([0xF1, 0x08]).withUnsafeBytes { ByteBuffer(copying: $0) }
        let tensor = try Tensor(.int4, shape: [3], storage: .owned(buffer))
        #expect(try tensor.integers() == [1, -1, -8])
        #expect(try tensor.floats() == [1, -1, -8])
    }
}

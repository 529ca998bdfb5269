import GraftCore
import Testing

@Suite struct TensorTests {
    @Test(arguments: [
        (ElementType.float32, 10, 40), (.int4, 3, 2), (.uint2, 5, 2), (.float6e2m3, 3, 3), (.complex128, 2, 32),
        (.bool, 0, 0),
    ])
    func elementsTakeTheirPackedSize(_ type: ElementType, _ count: Int, _ bytes: Int) {
        #expect(type.byteCount(elements: count) == bytes)
    }

    @Test func storageMustHoldExactlyTheShapesBytes() {
        let buffer = TensorStorage.owned(ByteBuffer(count: 12, zeroed: true))
        #expect(throws: Never.self) { try Tensor(.float32, shape: [3], storage: buffer) }
        #expect(throws: TensorError.self) { try Tensor(.float32, shape: [4], storage: buffer) }
        #expect(throws: TensorError.self) { try Tensor(.float32, shape: [Int.max, Int.max], storage: buffer) }
        #expect(throws: TensorError.self) { try Tensor(.float32, shape: [-1], storage: buffer) }
        #expect(throws: TensorError.self) { try Tensor(.string, shape: [3], storage: buffer) }
    }

    @Test func narrowTypesReadAsFloats() throws {
        func stored(_ type: ElementType, _ bytes: [UInt8]) throws -> [Float] {
            let buffer = bytes.withUnsafeBytes { ByteBuffer(copying: $0) }
            let count = bytes.count * 8 / type.bitWidth
            return try Tensor(type, shape: [count], storage: .owned(buffer)).floats()
        }
        #expect(try stored(.float16, [0x00, 0x3C, 0x00, 0xC0, 0x01, 0x00]) == [1, -2, 0x1p-24])
        #expect(try stored(.bfloat16, [0x80, 0x3F, 0x40, 0xC0]) == [1, -3])
        #expect(try stored(.int8, [0xFF, 0x7F]) == [-1, 127])
    }

    @Test func productsRefuseToOverflow() {
        #expect(Checked.product([3, 4, 5]) == 60)
        #expect(Checked.product([1 << 40, 1 << 40]) == nil)
        #expect(Checked.product([1 << 40, 1 << 40, 0]) == 0)
        #expect(Checked.range(offset: 8, count: 8, within: 15) == nil)
        #expect(Checked.range(offset: 8, count: Int.max, within: 15) == nil)
        #expect(Checked.range(offset: 8, count: 7, within: 15) == 8..<15)
    }
}

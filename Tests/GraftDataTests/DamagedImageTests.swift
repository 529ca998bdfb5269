import GraftCore
import GraftData
import GraftTestSupport
import Testing

@Suite struct DamagedImageTests {
    private func bytes(_ file: String) throws -> [UInt8] {
        let file = try MappedFile(path: Fixtures.path("pillow/\(file)"))
        return withExtendedLifetime(file) { Array(file.bytes) }
    }

    private func decode(_ bytes: [UInt8], limits: Limits = Limits()) throws(ImageError) -> Image {
        // A copy of exactly the right size, so that a sanitizer sees every read beyond it.
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(ImageError) in try Image(decoding: bytes, source: "picture", limits: limits) }
        }
        return try result.get()
    }

    @Test(arguments: [
        "tiny.jpg", "tiny_progressive.jpg", "tiny.png", "tiny.webp", "tiny_interlaced.png", "gray.jpg", "palette_5.png",
        "orientation_6.jpg",
    ])
    func everyTruncationIsAnErrorOrTheWholePicture(file: String) throws {
        let whole = try bytes(file)
        let image = try decode(whole)
        for count in 0..<whole.count {
            do {
                let cut = try decode(Array(whole[..<count]))
                // Only what lies behind the last pixel may be missing.
                #expect(cut == image, "\(file) cut to \(count) bytes of \(whole.count)")
                #expect(count >= whole.count - 16, "\(file) cut to \(count) bytes of \(whole.count)")
            } catch { #expect(error.description.hasPrefix("picture: ")) }
        }
    }

    @Test(arguments: ["tiny.jpg", "tiny_progressive.jpg", "tiny.png", "tiny.webp", "tiny_interlaced.png"])
    func everyBitFlipIsSurvived(file: String) throws {
        var limits = Limits()
        limits.imagePixels = 1 << 20
        let whole = try bytes(file)
        for bit in 0..<(whole.count * 8) {
            var damaged = whole
            damaged[bit / 8] ^= 1 << (bit % 8)
            if let image = try? decode(damaged, limits: limits) {
                #expect(image.pixels.count == image.width * image.height * image.channels)
            }
        }
    }

    @Test func aJPEGWithoutItsEndIsTruncated() throws {
        let whole = try bytes("rgb_420.jpg")
        #expect(throws: ImageError.truncated(source: "picture", format: "JPEG")) {
            try decode(Array(whole.dropLast(2)))
        }
    }

    @Test func theDeclaredSizeIsCheckedBeforeMemoryIsReserved() throws {
        var limits = Limits()
        limits.imagePixels = 98
        for file in ["tiny.jpg", "tiny.png", "tiny.webp"] {
            let expected = ImageError.tooLarge(source: "picture", width: 11, height: 9, limit: 98)
            #expect(throws: expected) { try decode(bytes(file), limits: limits) }
        }
        // A header that declares 2^31 - 1 pixels a side.
        var huge = try bytes("tiny.png")
        huge.replaceSubrange(16..<24, with: [0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF])
        #expect(throws: ImageError.self) { try decode(huge) }
    }

    @Test(arguments: ["refused.gif": "GIF", "refused.bmp": "BMP", "animated.webp": "animated", "make.py": "JPEG, PNG"])
    func whatIsNotReadIsNamed(file: String, word: String) throws {
        let path = Fixtures.path("pillow/\(file)")
        let error = #expect(throws: ImageError.self) { try Image(path: path) }
        #expect(error?.description.contains(word) == true)
        #expect(error?.description.hasPrefix(path) == true)
    }

    @Test func theFormatIsToldByContent() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/really_a_png.jpg"
            try AtomicFile.write(bytes("tiny.png"), to: path)
            #expect(try Image(path: path) == Image(path: Fixtures.path("pillow/tiny.png")))
        }
        #expect(throws: FileError.notFound(path: "nowhere.png")) { try Image(path: "nowhere.png") }
    }
}

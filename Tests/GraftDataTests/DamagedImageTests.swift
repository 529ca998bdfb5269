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
        "orientation_6.jpg", "tiny.bmp", "tiny_runs.bmp", "bits.bmp", "core.bmp", "six_bits.bmp", "tiny.ppm",
        "bits.pbm",
        "gray_16.pgm", "tiny.tif", "tiny_jpeg.tif", "tiny_group4.tif", "large_offsets.tif", "tiny.jp2", "tiny.j2k",
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

    @Test(arguments: [
        "tiny.jpg", "tiny_progressive.jpg", "tiny.png", "tiny.webp", "tiny_interlaced.png", "tiny.bmp", "tiny_runs.bmp",
        "tiny.ppm", "tiny_text.pgm", "tiny.tif", "tiny_jpeg.tif", "tiny_group4.tif", "tiny.jp2", "tiny.j2k",
    ])
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

    @Test(arguments: ["rgb.bmp", "gray.pgm", "rgb.tif", "rgb_tiff_lzw.tif", "tiles.tif", "rgb.jp2", "bare.j2k"])
    func aWholeFileIsToldFromHalfOfOneWithoutDecoding(file: String) throws {
        try Image.check(path: Fixtures.path("pillow/\(file)"))
        try Fixtures.withTemporaryFolder { folder in
            let whole = try bytes(file)
            // Behind the headers, in the middle of the pixels.
            try AtomicFile.write(whole[..<(whole.count / 2)], to: "\(folder)/half")
            #expect(throws: ImageError.self) { try Image.check(path: "\(folder)/half") }
        }
    }

    @Test func runsThatLeaveTheirRowAreCut() throws {
        // 3 x 2 pixels; a run of 200, a stretch of 4, a jump far away and another run.
        let palette: [UInt8] = [0, 0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0]
        let runs: [UInt8] = [200, 1, 0, 0, 0, 4, 1, 2, 3, 2, 0, 2, 250, 250, 9, 3, 0, 1]
        var file: [UInt8] = Array("BM".utf8) + [0, 0, 0, 0, 0, 0, 0, 0, 70, 0, 0, 0, 40, 0, 0, 0]
        file += [3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 8, 0, 1, 0, 0, 0] + [UInt8](repeating: 0, count: 12)
        file += [4, 0, 0, 0, 0, 0, 0, 0] + palette + runs
        let image = try decode(file)
        #expect(image.pixels.enumerated().filter { $0.offset % 3 == 2 }.map(\.element) == [10, 20, 30, 10, 10, 10])
    }

    @Test(arguments: [
        "P5\n# only a comment", "P6\n4000000000 4000000000 255\n", "P5 0 3 255\n", "P5 3 3 65536\n", "P5 3 3 0\n",
        "P5 3 -3 255\n", "P2 2 1 9 10 3", "P1 2 1 1 2", "P3 70000 70000 255 1 2 3", "P5 99999999999 1 255\n",
    ])
    func impossiblePNMFilesAreErrors(text: String) {
        let error = #expect(throws: ImageError.self) { try decode(Array(text.utf8)) }
        #expect(error?.description.hasPrefix("picture: ") == true)
    }

    @Test func samplesThatAreNotReadAreNamed() throws {
        // 7 bits in the place of 8, in the tag 258.
        var file = try bytes("gray.tif")
        let tag: [UInt8] = [2, 1, 3, 0, 1, 0, 0, 0, 8, 0]
        let place = try #require((0..<(file.count - tag.count)).first { Array(file[$0..<($0 + tag.count)]) == tag })
        file[place + 8] = 7
        let error = #expect(throws: ImageError.self) { try decode(file) }
        #expect(error?.description.contains("TIFF with colours or samples of this kind") == true)
    }

    @Test func textThatStartsLikePNMIsNone() {
        #expect(throws: ImageError.unknownFormat(source: "picture")) { try decode(Array("P2 is a place.".utf8)) }
        #expect(throws: ImageError.unknownFormat(source: "picture")) { try decode(Array("BMW and others".utf8)) }
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
        for file in ["jpg", "png", "webp", "bmp", "ppm", "tif", "jp2", "j2k"].map({ "tiny.\($0)" }) {
            let expected = ImageError.tooLarge(source: "picture", width: 11, height: 9, limit: 98)
            #expect(throws: expected) { try decode(bytes(file), limits: limits) }
        }
        // A header that declares 2^31 - 1 pixels a side.
        var huge = try bytes("tiny.png")
        huge.replaceSubrange(16..<24, with: [0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF])
        #expect(throws: ImageError.self) { try decode(huge) }
    }

    @Test(arguments: [
        "refused.gif": "GIF", "refused_float.tif": "floating point", "animated.webp": "animated",
        "make.py": "JPEG, PNG",
    ])
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

import GraftCore
import GraftData
import GraftTestSupport
import GraftTraining
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Reports show samples as files that browsers know.
@Suite struct SamplePictureTests {
    private func bytes(_ file: String) throws -> [UInt8] {
        let file = try MappedFile(path: Fixtures.path("pillow/\(file)"))
        return file.withBytes { Array($0) }
    }

    @Test(arguments: ["tif", "jp2", "ppm"]) func whatBrowsersDoNotShowIsAPNGFile(ending: String) throws {
        let picture = try #require(try self.picture("tiny.\(ending)"))
        #expect(picture.mediaType == "image/png" && picture.name == "tiny.\(ending)")
        let decoded = try picture.bytes.withUnsafeBytes { try Image(decoding: $0, source: "report") }
        #expect(try decoded == Image(path: Fixtures.path("pillow/tiny.png")))
    }

    @Test(arguments: ["jpg": "jpeg", "png": "png", "webp": "webp", "bmp": "bmp"])
    func whatBrowsersShowStaysAsItIs(ending: String, type: String) throws {
        let picture = try #require(try self.picture("tiny.\(ending)"))
        #expect(picture.mediaType == "image/\(type)")
        #expect(try picture.bytes == bytes("tiny.\(ending)"))
    }

    /// The picture of the first sample of a folder that holds one file.
    private func picture(_ file: String) throws -> (bytes: [UInt8], mediaType: String, name: String)? {
        try Fixtures.withTemporaryFolder { folder in
            for name in ["a", "b"] {
                mkdir("\(folder)/\(name)", 0o755)
                try AtomicFile.write(bytes(file), to: "\(folder)/\(name)/\(file)")
            }
            let samples = DataSetSamples(
                try ImageFolder.open(path: folder), preprocessing: try Preprocessing(height: 9, width: 11),
                inputName: "x")
            return samples.picture(of: 0)
        }
    }
}

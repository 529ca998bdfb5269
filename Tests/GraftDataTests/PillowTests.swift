import GraftCore
import GraftData
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

/// Decoding and resizing against Pillow's own pixels; see fixtures/pillow/make.py.
@Suite struct PillowTests {
    private static let files: [String] =
        ((try? NPZ.read(path: Fixtures.path("pillow/expected.npz")))?.keys.filter { !$0.hasPrefix("gray/") }) ?? []

    @Test func theFixturesAreThere() { #expect(Self.files.count > 105) }

    @Test(arguments: files) func aFileHasPillowsPixels(file: String) throws {
        let expected = try NPZ.read(path: Fixtures.path("pillow/expected.npz"))
        let image = try Image(path: Fixtures.path("pillow/\(file)"))
        let pixels = try #require(expected[file])
        #expect(pixels.shape == [image.height, image.width, 3])
        let difference = zip(image.rgb.pixels, try pixels.elements(as: UInt8.self))
            .map { abs(Int($0) - Int($1)) }.max()
        #expect(difference == 0, "\(file)")
        if let gray = expected["gray/\(file)"] { #expect(try image.gray.pixels == gray.elements()) }
    }

    @Test(arguments: ResamplingFilter.allCases) func resizingIsPillowsBitForBit(filter: ResamplingFilter) throws {
        let arrays = try NPZ.read(path: Fixtures.path("pillow/resized.npz"))
        var compared = 0
        for (key, expected) in arrays {
            let parts = key.split(separator: "/").map(String.init)
            guard parts.count == 4, parts[1] == filter.rawValue else { continue }
            let source = try #require(arrays["source/\(parts[0])"])
            let image = Image(
                width: source.shape[1], height: source.shape[0], channels: source.shape.count == 3 ? 3 : 1,
                pixels: try source.elements())
            let size = parts[2].split(separator: "x").compactMap { Int($0) }
            let sides = parts[3].split(separator: ",").compactMap { Float($0) }
            let box = ImageBox(left: sides[0], top: sides[1], right: sides[2], bottom: sides[3])
            let result = image.resized(width: size[0], height: size[1], filter: filter, box: box)
            let pixels: [UInt8] = try expected.elements()
            #expect(result.pixels == pixels, "\(key)")
            if box == ImageBox(x: 0, y: 0, width: image.width, height: image.height) {
                #expect(image.resized(width: size[0], height: size[1], filter: filter).pixels == pixels)
            }
            compared += 1
        }
        #expect(compared > 50)
    }

    @Test func aRowByHandIsPillows() throws {
        let row = Image(width: 8, height: 1, channels: 1, pixels: [0, 10, 20, 40, 80, 120, 200, 255])
        #expect(row.resized(width: 3, height: 1, filter: .bilinear).pixels == [12, 65, 188])
        #expect(row.resized(width: 3, height: 1, filter: .bicubic).pixels == [7, 61, 197])
        #expect(row.resized(width: 3, height: 1, filter: .lanczos).pixels == [5, 59, 202])
        #expect(
            row.resized(width: 12, height: 1, filter: .bilinear).pixels
                == [0, 5, 12, 18, 30, 47, 73, 100, 133, 187, 228, 255])
    }

    @Test(arguments: [
        "datasets/sign_language_digits/Dataset", "datasets/ort_animals4/images", "datasets/bccd/BCCD/JPEGImages",
        "images", "datasets/dsb2018_nuclei/semantic_masks_derived",
    ])
    func realPhotographsHavePillowsPixels(folder: String) throws {
        guard let path = Fixtures.shared("models/\(folder)") else {
            return Fixtures.sharedIsMissing(for: "realPhotographsHavePillowsPixels")
        }
        let file = try MappedFile(path: Fixtures.path("pillow/digests.json"))
        let expected = try #require(try withExtendedLifetime(file) { try JSON(parsing: file.bytes) }[folder])
        let filter = try #require(expected["filter"]?.string.flatMap(ResamplingFilter.init(rawValue:)))
        let names = try Self.pictures(below: path)
        #expect(names.count == expected["count"]?.int)
        let hasher = ContentHash.Hasher()
        for name in names {
            let image = try Image(path: name).rgb
            image.pixels.withUnsafeBytes { hasher.update($0) }
            image.resized(width: 96, height: 64, filter: filter).pixels.withUnsafeBytes { hasher.update($0) }
        }
        #expect(hasher.finish().description == expected["sha256"]?.string)
    }

    /// The files below a folder that are pictures by name, in order of their bytes.
    private static func pictures(below path: String) throws -> [String] {
        try Folder.files(below: path, limits: Limits())
            .filter { name in [".jpg", ".jpeg", ".png"].contains { name.lowercased().hasSuffix($0) } }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}

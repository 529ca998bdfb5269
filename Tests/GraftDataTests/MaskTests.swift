import GraftCore
import GraftData
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct MaskTests {
    private func image(_ width: Int, _ height: Int, channels: Int = 1, _ value: (Int) -> Int) -> Image {
        Image(
            width: width, height: height, channels: channels,
            pixels: (0..<(width * height * channels)).map { UInt8(value($0)) })
    }

    private func withFolder(
        _ pairs: [(name: String, picture: Image, mask: Image?)], classes: String? = nil, _ body: (String) throws -> Void
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            mkdir("\(folder)/images", 0o755)
            mkdir("\(folder)/masks", 0o755)
            for pair in pairs {
                try pair.picture.writePNG(to: "\(folder)/images/\(pair.name).png")
                try pair.mask?.writePNG(to: "\(folder)/masks/\(pair.name).png", hasPalette: true)
            }
            if let classes { try AtomicFile.write(text: classes, to: "\(folder)/classes.txt") }
            try body(folder)
        }
    }

    @Test func writtenPicturesReadBackAsTheyWere() throws {
        try Fixtures.withTemporaryFolder { folder in
            let colour = image(5, 3, channels: 3) { $0 * 5 }
            try colour.writePNG(to: "\(folder)/a.png")
            #expect(try Image(path: "\(folder)/a.png") == colour)
            let mask = image(7, 4) { $0 * 9 }
            try mask.writePNG(to: "\(folder)/b.png", hasPalette: true)
            #expect(try Mask.read(path: "\(folder)/b.png") == mask)
            // Seen as a picture it has the palette's colours.
            let seen = try Image(path: "\(folder)/b.png")
            #expect(seen.channels == 3 && Array(seen.pixels[3..<6]) == ClassPalette.colour(of: 9))
            try mask.writePNG(to: "\(folder)/c.png")
            #expect(try Mask.read(path: "\(folder)/c.png") == mask)
        }
        #expect(ClassPalette.colour(of: 1) == [128, 0, 0] && ClassPalette.colour(of: 15) == [192, 128, 128])
        #expect(throws: ImageError.self) { try Mask.read(path: Fixtures.path("pillow/tiny.png")) }
        #expect(throws: ImageError.self) { try Mask.read(path: Fixtures.path("pillow/tiny.jpg")) }
    }

    @Test func picturesAndMasksGoTogetherByName() throws {
        let pairs = ["b", "a"].map { name in
            (name, image(8, 8, channels: 3) { $0 % 256 }, Optional(image(8, 8) { name == "a" && $0 < 32 ? 2 : 0 }))
        }
        try withFolder(pairs) { (folder: String) throws -> Void in
            let set = try ImageFolder.open(path: folder)
            #expect(set.targetKind == .pixels && set.count == 2 && set.classNames == ["0", "1", "2"])
            #expect(set.labels == [2, 0])
            let view = SampleView(preprocessing: try Preprocessing(height: 4, width: 4))
            let target = try set.target(at: 0, as: view)
            #expect(target.shape == [4, 4])
            #expect(try target.elements(as: Int64.self).filter { $0 == 2 }.isEmpty == false)
            #expect(try ImageFolder.open(path: folder, modelClasses: ["x", "y", "z"]).classNames == ["x", "y", "z"])
            let error = #expect(throws: DataSetError.self) {
                try ImageFolder.open(path: folder, modelClasses: ["x", "y"])
            }
            #expect(error?.description.contains("class 2") == true)
        }
        try withFolder(pairs, classes: "sky\nsea\nland\n") { (folder: String) throws -> Void in
            #expect(try ImageFolder.open(path: folder).classNames == ["sky", "sea", "land"])
        }
    }

    @Test func whatDoesNotFitIsNamed() throws {
        let picture = image(8, 8, channels: 3) { $0 % 256 }
        try withFolder([("a", picture, image(8, 8) { $0 % 2 }), ("lonely", picture, nil)]) {
            (folder: String) throws -> Void in
            let error = #expect(throws: DataSetError.self) { try ImageFolder.open(path: folder) }
            #expect(error?.description.contains("lonely.png") == true)
            #expect(try ImageFolder.open(path: folder, skippingUnusable: true).count == 1)
        }
        try withFolder([("a", picture, image(8, 8) { $0 % 2 * 255 })]) { (folder: String) throws -> Void in
            let error = #expect(throws: DataSetError.self) { try ImageFolder.open(path: folder) }
            #expect(error?.description.contains("0 and 255") == true)
        }
        try withFolder([("a", picture, image(8, 7) { $0 % 2 })]) { (folder: String) throws -> Void in
            let set = try ImageFolder.open(path: folder)
            let view = SampleView(preprocessing: try Preprocessing(height: 8, width: 8))
            #expect(throws: DataSetError.self) { try set.target(at: 0, as: view) }
        }
    }

    @Test func masksFollowTheirPictures() throws {
        // A picture that is its own mask stays so, but for what comes in from outside.
        let mask = image(16, 16) { $0 / 16 < 8 ? 1 : 3 }
        let names: JSON = ["flip", "shift", ["name": "rotate", "degrees": 180]]
        try withFolder([("a", mask, mask)]) { (folder: String) throws -> Void in
            let set = try ImageFolder.open(path: folder)
            let pipeline = try AugmentationPipeline(json: names)
            var contract = try Preprocessing(height: 16, width: 16, channels: .gray)
            contract.filter = .nearest
            for epoch in 0..<20 {
                let view = SampleView(preprocessing: contract, augmentation: pipeline, seed: 5, epoch: epoch)
                let picture = try set.sample(0, as: view)[0].elements(as: Float.self)
                let target = try set.target(at: 0, as: view).elements(as: Int64.self)
                let wrong = zip(picture, target).filter { $1 != 255 && abs($0 - Float($1)) > 2 }
                #expect(wrong.isEmpty)
                // Where the picture is not mixed of two classes the mask says the same.
                let sharp = zip(picture, target).filter { ($0 == 1 || $0 == 3) && $1 != 255 }
                #expect(sharp.filter { Int64($0) != $1 }.count <= 8)
            }
        }
    }

    @Test func aMaskComesBackToThePicturesSize() throws {
        let stretch = try Preprocessing(height: 4, width: 4)
        let mask = image(4, 4) { $0 % 4 < 2 ? 1 : 2 }
        let back = stretch.restored(mask: mask, width: 8, height: 2)
        #expect(back.pixels == [1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2])
        let crop = try Preprocessing(height: 4, width: 4, resize: .crop(shortSide: 4))
        let part = crop.restored(mask: mask, width: 8, height: 4)
        #expect(Array(part.pixels[0..<8]) == [255, 255, 1, 1, 2, 2, 255, 255])
        let over = image(8, 4, channels: 3) { _ in 100 }.overlaid(with: part)
        #expect(Array(over.pixels[0..<3]) == [100, 100, 100] && Array(over.pixels[6..<9]) == [114, 50, 50])
    }

    @Test func arraysSayWhatTheirShapeSays() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/a.npz"
            let x = Tensor.zeros(.float32, shape: [3, 2])
            func open(_ key: String, _ y: Tensor, classes: [String]? = nil) throws -> ArrayDataSet {
                try NPZ.write(["x": x, key: y], to: path)
                return try ArrayDataSet(path: path, modelClasses: classes)
            }
            let maps = try open("y", Tensor([Int64](repeating: 2, count: 12), shape: [3, 2, 2, 1]))
            #expect(maps.targetKind == .pixels && maps.classNames.count == 3)
            #expect(try maps.target(at: 1, as: SampleView()).shape == [2, 2])
            let marks = try open("labels", Tensor([UInt8]([1, 0, 0, 0, 1, 0]), shape: [3, 2]))
            #expect(marks.targetKind == .labels && marks.labels == [0, 1, 0])
            #expect(try marks.target(at: 2, as: SampleView()).elements(as: Float.self) == [1, 0])
            #expect(try open("labels", Tensor([Int64]([1, 0, 2]), shape: [3, 1])).targetKind == .classes)
            #expect(throws: DataSetError.self) { try open("y", Tensor([Int64]([1, 0, 2, 0, 1, 0]), shape: [3, 2])) }
            #expect(throws: DataSetError.self) {
                try open("y", Tensor([Int64](repeating: -1, count: 12), shape: [3, 2, 2]))
            }
            #expect(throws: DataSetError.self) {
                try open("y", Tensor([Int64](repeating: 2, count: 12), shape: [3, 2, 2]), classes: ["a", "b"])
            }
        }
    }

    @Test func aTableHasAColumnForEachClass() throws {
        try withFolder([("a", image(4, 4, channels: 3) { $0 }, nil), ("b", image(4, 4, channels: 3) { $0 + 9 }, nil)]) {
            (folder: String) throws -> Void in
            let path = "\(folder)/t.csv"
            try AtomicFile.write(text: "path,Cat,dog\nimages/a.png,1,0\nimages/b.png,1,1\n", to: path)
            let set = try TableFile.open(path: path)
            #expect(set.targetKind == .labels && set.classNames == ["Cat", "dog"])
            #expect(try set.target(at: 1, as: SampleView()).elements(as: Float.self) == [1, 1])
            let turned = try TableFile.open(path: path, modelClasses: ["dog", "cat"])
            #expect(try turned.target(at: 0, as: SampleView()).elements(as: Float.self) == [0, 1])
            #expect(throws: DataSetError.self) { try TableFile.open(path: path, modelClasses: ["dog", "cow"]) }
        }
    }
}

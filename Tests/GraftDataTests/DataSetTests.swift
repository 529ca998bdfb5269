import GraftCore
import GraftData
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct DataSetTests {
    /// A folder of pictures: `files` maps a path below it to the fixture that lies there.
    private func withFolder(_ files: [(String, String)], _ body: (String) throws -> Void) throws {
        try Fixtures.withTemporaryFolder { folder in
            for (name, fixture) in files {
                var parent = folder
                for part in name.split(separator: "/").dropLast() {
                    parent += "/\(part)"
                    mkdir(parent, 0o755)
                }
                try AtomicFile.write(bytes(Fixtures.path("pillow/\(fixture)")), to: "\(folder)/\(name)")
            }
            try body(folder)
        }
    }

    private func bytes(_ path: String) throws -> [UInt8] {
        let file = try MappedFile(path: path)
        return withExtendedLifetime(file) { Array(file.bytes) }
    }

    private let roses: [(String, String)] = [
        ("tulip/b.png", "tiny.png"), ("rose/a.jpg", "tiny.jpg"), ("rose/deep/c.webp", "tiny.webp"),
        ("rose/.hidden.jpg", "tiny.jpg"), (".git/x.jpg", "tiny.jpg"), ("rose/notes.txt", "make.py"),
        ("rose/without_extension", "gray.jpg"),
    ]

    @Test func aFolderIsASetOfPictures() throws {
        try withFolder(roses) { folder in
            let set = try ImageFolder.open(path: folder)
            #expect(set.classNames == ["rose", "tulip"])
            #expect(set.labels == [0, 0, 0, 1])
            let names = (0..<set.count).map { set.name(at: $0).dropFirst(folder.count + 1) }
            #expect(names == ["rose/a.jpg", "rose/deep/c.webp", "rose/without_extension", "tulip/b.png"])
            let contract = try Preprocessing(height: 9, width: 11)
            let sample = try set.sample(3, as: SampleView(preprocessing: contract))
            #expect(sample[0].shape == [3, 9, 11])
            let image = try Image(path: Fixtures.path("pillow/tiny.png"))
            #expect(try sample[0].elements(as: Float.self) == contract.apply(image))
            #expect(throws: DataSetError.noPreprocessing) {
                try set.load(0, as: SampleView(), into: [])
            }
        }
    }

    @Test(arguments: ["bmp", "ppm", "tif", "jp2", "j2k"])
    func everyFormatIsAPictureByNameAndByContent(ending: String) throws {
        try withFolder([
            ("a/1.\(ending)", "tiny.\(ending)"), ("a/without_extension", "tiny.\(ending)"), ("b/2.png", "tiny.png"),
        ]) { folder in
            let set = try ImageFolder.open(path: folder)
            #expect(set.labels == [0, 0, 1])
            let contract = try Preprocessing(height: 9, width: 11)
            let samples = try (0..<3).map { try set.sample($0, as: SampleView(preprocessing: contract))[0] }
            #expect(try samples[0].elements(as: Float.self) == samples[2].elements(as: Float.self))
            #expect(try samples[1].elements(as: Float.self) == samples[2].elements(as: Float.self))
        }
    }

    @Test func aModelsClassesGiveTheLabels() throws {
        try withFolder(roses) { folder in
            let set = try ImageFolder.open(path: folder, modelClasses: ["daisy", "tulip", "rose"])
            #expect(set.labels == [2, 2, 2, 1])
            let error = #expect(throws: DataSetError.self) {
                try ImageFolder.open(path: folder, modelClasses: ["daisy", "tulips", "rose"])
            }
            #expect(error?.description.contains("\"tulips\"") == true)
        }
    }

    @Test func numberedClassesAreInOrderOfNumbers() throws {
        try withFolder([("10/a.png", "tiny.png"), ("9/b.png", "tiny.png")]) { folder in
            let set = try ImageFolder.open(path: folder)
            #expect(set.classNames == ["9", "10"])
        }
    }

    @Test func unusableFilesAreNamedOrSkipped() throws {
        try withFolder(roses + [("rose/z.gif", "refused.gif"), ("tulip/y.jpg", "make.py")]) { folder in
            let jpeg = try bytes(Fixtures.path("pillow/tiny.jpg"))
            try AtomicFile.write(jpeg[..<(jpeg.count / 2)], to: "\(folder)/tulip/cut.jpg")
            let error = #expect(throws: DataSetError.self) { try ImageFolder.open(path: folder) }
            let text = error?.description ?? ""
            for file in ["rose/z.gif", "tulip/cut.jpg", "tulip/y.jpg", "3 files"] {
                #expect(text.contains(file), "\(text)")
            }
            let set = try ImageFolder.open(path: folder, skippingUnusable: true)
            #expect(set.count == 4 && set.skipped.count == 3)
        }
    }

    @Test func whatIsNoDataSetIsRefused() throws {
        try withFolder([("a.png", "tiny.png")]) { folder in
            #expect(throws: DataSetError.self) { try ImageFolder.open(path: folder) }
            mkdir("\(folder)/empty", 0o755)
            #expect(throws: DataSetError.emptyClass(path: folder, className: "empty")) {
                try ImageFolder.open(path: folder)
            }
            #expect(throws: FileError.notFound(path: "\(folder)/nowhere")) {
                try ImageFolder.open(path: "\(folder)/nowhere")
            }
        }
    }

    @Test func aTableOfPathsIsASetOfPictures() throws {
        try withFolder([("pictures/a.png", "tiny.png"), ("pictures/b.jpg", "tiny.jpg")]) { folder in
            let path = "\(folder)/list.csv"
            try AtomicFile.write(
                text: "\u{FEFF}path,label\r\npictures/a.png,\"red, \"\"deep\"\"\"\r\npictures/b.jpg,blue\r\n", to: path)
            let set = try TableFile.open(path: path)
            #expect(set.classNames == ["blue", "red, \"deep\""])
            #expect(set.labels == [1, 0])
            try AtomicFile.write(text: "pictures/a.png;x\npictures/b.jpg;y", to: path)
            #expect(try TableFile.open(path: path).classNames == ["x", "y"])
            try AtomicFile.write(text: "path,label\npictures/missing.png,x\n", to: path)
            #expect(throws: DataSetError.self) { try TableFile.open(path: path) }
        }
    }

    @Test func aTableOfNumbersIsASetOfRows() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/t.csv"
            try AtomicFile.write(text: "width,height,class\n1,2.5,cat\n3,4,dog\n\n5,6,cat\n", to: path)
            let set = try TableFile.open(path: path)
            #expect(set.classNames == ["cat", "dog"] && set.labels == [0, 1, 0])
            #expect(try set.sample(0, as: SampleView())[0].elements(as: Float.self) == [1, 2.5])
            #expect(set.name(at: 2) == "\(path):5")
            try AtomicFile.write(text: "2,0.5,0.25\n0,0.125,3\n", to: path)
            let numbers = try TableFile.open(path: path, modelClasses: ["a", "b", "c"])
            #expect(numbers.classNames == ["a", "b", "c"] && numbers.labels == [2, 0])
            #expect(try TableFile.open(path: path, labelColumn: "3").labels == [0, 1])
            let bad = [
                "1,2\n3\n", "a,label\n1,x\nq,y\n", "1,2\n3,4\n", "", "label,x\n", "label,x\n\"a,1\n",
                "label,x\na,nan\n",
            ]
            for text in bad {
                try AtomicFile.write(text: text, to: path)
                #expect(throws: DataSetError.self, "\(text)") { try TableFile.open(path: path) }
            }
        }
    }

    @Test func arraysAreASetOfSamples() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/d.npz"
            let pixels = Tensor((0..<24).map { UInt8($0) }, shape: [4, 2, 3])
            try NPZ.write(["x": pixels, "labels": Tensor([2, 0, 1, 2] as [Int32])], to: path)
            let set = try ArrayDataSet(path: path)
            #expect(set.labels == [2, 0, 1, 2] && set.classNames == ["0", "1", "2"])
            #expect(try set.sample(1, as: SampleView())[0].elements(as: UInt8.self) == Array(6..<12))
            let converted = try ArrayDataSet(
                path: path, inputs: [.init(name: "input:0", elementType: .float32, shape: [nil, 3])],
                modelClasses: ["a", "b", "c"])
            #expect(try converted.sample(1, as: SampleView())[0].elements(as: Float.self) == (6..<12).map { Float($0) })
            #expect(converted.classNames == ["a", "b", "c"])
            #expect(throws: DataSetError.self) {
                try ArrayDataSet(path: path, inputs: [.init(name: "x", elementType: .float32, shape: [2, 4])])
            }
            #expect(throws: DataSetError.self) { try ArrayDataSet(path: path, modelClasses: ["a", "b"]) }
            try NPZ.write(["x": pixels, "labels": Tensor([1, 2, 3] as [Int64])], to: path)
            #expect(throws: DataSetError.self) { try ArrayDataSet(path: path) }
            try NPZ.write(["x": pixels], to: path)
            #expect(throws: DataSetError.self) { try ArrayDataSet(path: path) }
            let texts = try Tensor(.string, shape: [4], storage: .strings(["b", "a", "b", "c"].map { Array($0.utf8) }))
            try NPZ.write(["x": Tensor([1.5, 2, 3, 4] as [Double]), "labels": texts], to: path)
            #expect(try ArrayDataSet(path: path).labels == [1, 0, 1, 2])
            #expect(throws: DataSetError.self) {
                try ArrayDataSet(path: path, inputs: [.init(name: "x", elementType: .int64, shape: [])])
            }
        }
    }

    @Test func copiesBetweenTheSplitsAreFound() throws {
        let files = [
            ("a/1.png", "tiny.png"), ("a/2.jpg", "tiny.jpg"), ("a/3.png", "tiny.png"), ("b/4.webp", "tiny.webp"),
            ("b/5.png", "tiny.png"),
        ]
        try withFolder(files) { folder in
            let set = try ImageFolder.open(path: folder)
            let check = try LeakCheck(set, split: Split(training: [0, 1, 4], validation: [2, 3]))
            #expect(check.leaks.map(\.training) == [0] && check.leaks.map(\.validation) == [2])
            #expect(check.duplicates == [[0, 4]] && check.conflicts == [[0, 4]])
            #expect(try LeakCheck(set, split: Split(training: [0, 1], validation: [3])).isClean)
        }
    }

    @Test func realTablesAreRead() throws {
        guard let table = Fixtures.shared("models/datasets/hand_gesture/keypoint.csv") else {
            return Fixtures.sharedIsMissing(for: "realTablesAreRead")
        }
        let set = try TableFile.open(path: table, modelClasses: ["Open", "Close", "Pointer"])
        #expect(set.count == 4450 && Set(set.labels) == [0, 1, 2])
        #expect(set.inputs(as: SampleView())[0].shape == [42])
    }
}

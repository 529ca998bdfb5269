import GraftCore
import GraftHDF5
import GraftTestSupport
import OrderedCollections
import Testing

@Suite struct HDF5WritingTests {
    private func roundTrip<R>(_ root: HDF5Group, _ body: (HDF5File) throws -> R) throws -> R {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/written.h5"
            try HDF5Writer.write(root, to: path)
            return try body(HDF5File.open(path: path))
        }
    }

    @Test(arguments: ["strings.h5", "compressed.h5", "chunked_names.h5", "keras_like.h5", "latest.h5"])
    func whatIsReadIsWrittenTheSame(name: String) throws {
        let original = try HDF5File.open(path: Fixtures.path("hdf5/\(name)"))
        let expected = try HDF5Description.lines(of: original)
        try roundTrip(original.root) { (copy: HDF5File) throws in
            let lines = try HDF5Description.lines(of: copy)
            #expect(lines == expected)
            for (name, value) in original.root.attributes {
                guard case .strings(let before) = value, case .strings(let after)? = copy.root.attributes[name] else {
                    continue
                }
                #expect(after == before, "\(name) is stored in another form")
            }
        }
    }

    @Test func sharedModelsAreWrittenTheSame() throws {
        guard let path = Fixtures.shared("models/keras/mobilenet_v1_025_224_imagenet.h5") else {
            Fixtures.sharedIsMissing(for: "sharedModelsAreWrittenTheSame")
            return
        }
        let original = try HDF5File.open(path: path)
        try roundTrip(original.root) { (copy: HDF5File) throws in
            let (lines, expected) = try (HDF5Description.lines(of: copy), HDF5Description.lines(of: original))
            #expect(lines == expected)
        }
    }

    @Test func sameTreeGivesSameBytes() throws {
        let root = try HDF5File.open(path: Fixtures.path("hdf5/keras_like.h5")).root
        try Fixtures.withTemporaryFolder { folder in
            try HDF5Writer.write(root, to: "\(folder)/a.h5")
            try HDF5Writer.write(root, to: "\(folder)/b.h5")
            let a = try HDF5ReadingTests.bytes(of: "\(folder)/a.h5")
            #expect(try a == HDF5ReadingTests.bytes(of: "\(folder)/b.h5"))
            // Superblock version 0, as Keras writes it.
            #expect(a[8] == 0)
        }
    }

    @Test func allTypesOfNumbersAreStored() throws {
        let types: [ElementType] = [
            .float32, .float64, .float16, .bfloat16, .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64,
            .bool, .float8e4m3fn, .float8e5m2,
        ]
        var root = HDF5Group()
        for type in types {
            let count = type.byteWidth * 6
            let bytes = [UInt8](unsafeUninitializedCapacity: count) { target, filled in
                for index in 0..<count { target[index] = type == .bool ? UInt8(index % 2) : UInt8(index * 3 + 1) }
                filled = count
            }
            let buffer = bytes.withUnsafeBytes { ByteBuffer(copying: $0) }
            let tensor = try Tensor(type, shape: [2, 3], storage: .owned(buffer))
            try root.set(HDF5Dataset(tensor), at: "numbers/\(type.name)")
        }
        try roundTrip(root) { copy in
            for type in types {
                let tensor = try copy.tensor("numbers/\(type.name)")
                let original = try #require(root.group("numbers")?.children[type.name])
                guard case .dataset(let dataset) = original, let expected = dataset.tensor else { continue }
                let isSame = try tensor.isIdentical(to: expected)
                #expect(isSame, "\(type.name)")
            }
        }
    }

    @Test func longListsOfNamesAreSplitAsKerasSplitsThem() throws {
        var root = HDF5Group()
        let names = (0..<902).map { index in
            let digits = String(index)
            return "layer_" + String(repeating: "0", count: 75 - digits.count) + digits
        }
        try root.setStringList("layer_names", names)
        try root.setStringList("none", [])
        try root.setStringList("few", ["a", "bc"])
        let golden = try HDF5File.open(path: Fixtures.path("hdf5/chunked_names.h5"))
        try roundTrip(root) { copy in
            #expect(copy.root.attributes["layer_names"] == nil)
            #expect(copy.root.attributes["layer_names2"] == nil)
            for part in ["layer_names0", "layer_names1"] {
                guard case .strings(let written)? = copy.root.attributes[part],
                    case .strings(let expected)? = golden.root.attributes[part]
                else {
                    Issue.record("no \(part)")
                    continue
                }
                #expect(written == expected)
            }
            #expect(copy.root.stringList("layer_names") == names)
            #expect(copy.root.stringList("none") == [])
            #expect(copy.root.stringList("few") == ["a", "bc"])
            guard case .tensor(let none)? = copy.root.attributes["none"] else {
                Issue.record("an empty list must be an array of float64")
                return
            }
            #expect(none.elementType == .float64 && none.shape == [0])
        }
    }

    @Test func whatCannotBeStoredLeavesTheOldFile() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/old.h5"
            var root = HDF5Group()
            try root.set(HDF5Dataset(Tensor([Float(1)])), at: "x")
            try HDF5Writer.write(root, to: path)
            let before = try HDF5ReadingTests.bytes(of: path)
            var bad = root
            try bad.set(HDF5Dataset(Tensor.zeros(.int4, shape: [4])), at: "y")
            #expect(throws: HDF5Error.self) { try HDF5Writer.write(bad, to: path) }
            var large = root
            large.attributes["too large"] = .tensor(Tensor.zeros(.float32, shape: [20_000]))
            #expect(throws: HDF5Error.self) { try HDF5Writer.write(large, to: path) }
            var failing = root
            let tensor = try Tensor(.float32, shape: [2], storage: .deferred(FailingBytes()))
            try failing.set(HDF5Dataset(tensor), at: "z")
            #expect(throws: FailingBytes.Failure.self) { try HDF5Writer.write(failing, to: path) }
            #expect(try HDF5ReadingTests.bytes(of: path) == before)
            #expect(throws: (any Error).self) { try root.set(HDF5Dataset(Tensor([Float(1)])), at: "x/inside") }
        }
    }

    private struct FailingBytes: DeferredBytes {
        struct Failure: Error {}
        var byteCount: Int { 8 }
        func load() throws -> ByteBuffer { throw Failure() }
    }
}

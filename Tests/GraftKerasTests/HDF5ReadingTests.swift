import Glibc
import GraftCore
import GraftHDF5
import GraftTestSupport
import OrderedCollections
import Testing

/// Golden values: `fixtures/hdf5/make.py` with h5py.
@Suite struct HDF5ReadingTests {
    static func golden(_ name: String) throws -> JSON {
        try JSON(parsing: try bytes(of: Fixtures.path("hdf5/\(name)")))
    }

    static func bytes(of path: String) throws -> [UInt8] {
        let file = try MappedFile(path: path)
        return withExtendedLifetime(file) { Array(file.bytes) }
    }

    @Test(arguments: [
        "strings.h5", "numbers.h5", "compressed.h5", "chunked_names.h5", "keras_like.h5", "shared_dataset.h5",
        "latest.h5", "user_block.h5",
    ])
    func everythingIsReadAsH5pyReadsIt(name: String) throws {
        let expected = HDF5Description.lines(of: try #require(try Self.golden("golden.json")[name]))
        let actual = try HDF5Description.lines(of: HDF5File.open(path: Fixtures.path("hdf5/\(name)")))
        #expect(!expected.isEmpty)
        for path in Set(expected.keys).union(actual.keys) {
            #expect(actual[path] == expected[path], "\(name): \(path)")
        }
    }

    @Test func sharedModelsAreReadAsH5pyReadsThem() throws {
        for (name, golden) in try Self.golden("shared.json").object ?? [:] {
            guard let path = Fixtures.shared("models/keras/\(name)") else {
                Fixtures.sharedIsMissing(for: "sharedModelsAreReadAsH5pyReadsThem")
                return
            }
            let expected = HDF5Description.lines(of: golden)
            let actual = try HDF5Description.lines(of: HDF5File.open(path: path))
            #expect(actual.count == expected.count)
            for (path, line) in expected { #expect(actual[path] == line, "\(name): \(path)") }
        }
    }

    @Test func contiguousDataSetsStayInTheFile() throws {
        let file = try HDF5File.open(path: Fixtures.path("hdf5/keras_like.h5"))
        let kernel = try file.tensor("model_weights/dense/dense/kernel")
        guard case .mapped = kernel.storage else {
            Issue.record("the data set was copied")
            return
        }
        #expect(try kernel.elements(as: Float.self) == [0, 1, 2, 3, 4, 5])
    }

    @Test func largeCompressedDataSetsAreDecodedOnDemand() throws {
        let wide = try HDF5File.open(path: Fixtures.path("hdf5/compressed.h5")).tensor("wide")
        guard case .deferred = wide.storage else {
            Issue.record("the data set was decoded too early")
            return
        }
        let elements = try wide.elements(as: Int32.self)
        #expect(elements.count == 6_000_000)
        #expect(elements.indices.allSatisfy { elements[$0] == Int32($0 % 7) })
    }

    @Test func bfloat16IsKnownByItsAttribute() throws {
        let file = try HDF5File.open(path: Fixtures.path("hdf5/numbers.h5"))
        let tensor = try file.tensor("bfloat16")
        #expect(tensor.elementType == .bfloat16)
        #expect(tensor.shape == [2, 2])
        #expect(try tensor.withBytes { Array($0) } == [0x80, 0x3F, 0x00, 0xBF, 0x80, 0x7F, 0x01, 0x00])
        #expect(throws: HDF5Error.self) { try file.tensor("opaque") }
    }

    @Test func splitListsOfNamesArePutTogether() throws {
        let file = try HDF5File.open(path: Fixtures.path("hdf5/chunked_names.h5"))
        let names = try #require(file.root.stringList("layer_names"))
        #expect(names.count == 902)
        #expect(names[0].hasSuffix("0000") && names[901].hasSuffix("0901"))
        #expect(file.root.stringList("weight_names") == nil)
    }

    @Test(arguments: [
        ("soft_link.h5", "/alias", HDF5Refusal.softLink), ("external_link.h5", "/elsewhere", .externalLink),
        ("cycle.h5", "/a/b/back", .sharedGroup), ("external_storage.h5", "/stolen", .externalStorage),
        ("virtual_dataset.h5", "/virtual", .virtualDataset), ("shape_bomb.h5", "/bomb", .inflatedSize),
        ("unknown_filter.h5", "/lzf", .filter),
    ])
    func dangerousContentIsRefused(name: String, object: String, refusal: HDF5Refusal) throws {
        let path = Fixtures.path("hdf5/\(name)")
        #expect(throws: HDF5Error.refused(path: path, object: object, refusal: refusal)) {
            try HDF5File.open(path: path)
        }
    }

    @Test func limitsAreObeyed() throws {
        let path = Fixtures.path("hdf5/deep.h5")
        #expect(throws: HDF5Error.self) { try HDF5File.open(path: path) }
        var limits = Limits()
        limits.nestingDepth = 150
        #expect(try HDF5File.open(path: path, limits: limits).root.children.count == 1)

        limits = Limits()
        limits.objectCount = 3
        #expect(throws: HDF5Error.self) {
            try HDF5File.open(path: Fixtures.path("hdf5/keras_like.h5"), limits: limits)
        }
        limits = Limits()
        limits.textBytes = 20
        #expect(throws: HDF5Error.self) { try HDF5File.open(path: Fixtures.path("hdf5/strings.h5"), limits: limits) }
        limits = Limits()
        limits.helperBytes = 1 << 20
        #expect(throws: HDF5Error.self) { try HDF5File.open(path: Fixtures.path("hdf5/strings.h5"), limits: limits) }
    }

    @Test func otherFilesAreNamedAsSuch() throws {
        let path = Fixtures.path("hdf5/make.py")
        #expect(throws: HDF5Error.notHDF5(path: path)) { try HDF5File.open(path: path) }
        #expect(throws: FileError.notFound(path: "/nowhere.h5")) { try HDF5File.open(path: "/nowhere.h5") }
    }

    @Test func manyFilesAreReadAtOnce() async throws {
        let path = Fixtures.path("hdf5/keras_like.h5")
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<16 { group.addTask { try HDF5File.open(path: path).root.attributes.count } }
            for try await count in group { #expect(count == 1) }
        }
    }

    @Test func descriptorsAndProcessesAreGivenBack() throws {
        func descriptors() -> Int {
            (0..<256).count { fcntl(Int32($0), F_GETFD) >= 0 }
        }
        let path = Fixtures.path("hdf5/keras_like.h5")
        _ = try HDF5File.open(path: path)
        let before = descriptors()
        for _ in 0..<20 { _ = try HDF5File.open(path: path) }
        // Other tests run beside this one and hold some of their own.
        #expect(descriptors() < before + 20)
    }
}

import GraftCore
import GraftTestSupport
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct AtomicFileTests {
    struct Interruption: Error {}

    private func content(_ path: String) throws -> [UInt8] { try MappedFile(path: path).withBytes { Array($0) } }

    private func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var result: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { result.append(name) }
        }
        return result
    }

    @Test func aFailedWriteLeavesTheOldContentAndNothingElse() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/model"
            try AtomicFile.write(text: "old", to: path)
            #expect(throws: Interruption.self) {
                try AtomicFile.write(to: path) { writer in
                    try writer.write([1, 2, 3])
                    throw Interruption()
                }
            }
            #expect(try content(path) == Array("old".utf8))
            #expect(names(in: folder) == ["model"])
        }
    }

    @Test func largeAndSmallBlocksKeepTheirOrder() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/blocks"
            var expected: [UInt8] = []
            try AtomicFile.write(to: path) { writer in
                for (index, size) in [3, 1 << 19, 1, 1 << 18, 77, 1 << 17, 1 << 17, 5].enumerated() {
                    let block = [UInt8](repeating: UInt8(index), count: size)
                    expected += block
                    try writer.write(block)
                    #expect(writer.position == expected.count)
                }
            }
            #expect(try content(path) == expected)
        }
    }

    @Test(arguments: [0, 7, 1 << 20])
    func roomThatIsNotUsedIsGivenBack(_ reserved: Int) throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/small"
            try AtomicFile.write(to: path) { writer in
                try writer.reserve(reserved)
                try writer.write([1, 2, 3])
            }
            #expect(try content(path) == [1, 2, 3])
        }
    }

    @Test func roomThatIsNotThereIsAnErrorBeforeTheWork() throws {
        try Fixtures.withTemporaryFolder { folder in
            #expect(throws: FileError.self) {
                try AtomicFile.write(to: "\(folder)/huge") { try $0.reserve(1 << 60) }
            }
            #expect(names(in: folder) == [])
        }
    }

    @Test func aMappedFileStaysReadableWhenItIsReplaced() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/weights"
            try AtomicFile.write([1, 2, 3, 4], to: path)
            let file = try MappedFile(path: path)
            try AtomicFile.write([9], to: path)
            #expect(file.withBytes { Array($0) } == [1, 2, 3, 4])
            #expect(try content(path) == [9])
        }
    }

    @Test func aLinkKeepsPointingToTheReplacedTarget() throws {
        try Fixtures.withTemporaryFolder { folder in
            try AtomicFile.write(text: "old", to: "\(folder)/target")
            symlink("\(folder)/target", "\(folder)/link")
            try AtomicFile.write(text: "new", to: "\(folder)/link")
            #expect(try content("\(folder)/target") == Array("new".utf8))
        }
    }

    @Test func aFileIsSyncedUnlessItsNameIsNewAndItsWriterCanMakeItAgain() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/model"
            func write(_ text: String, _ durability: Durability) throws {
                try AtomicFile.write(to: path, durability: durability) { try $0.write(Array(text.utf8)) }
            }
            let first = try filesSynced(in: folder) { try write("first", .syncedWhenReplacing) }
            #expect(first == [])
            let second = try filesSynced(in: folder) { try write("second", .syncedWhenReplacing) }
            #expect(second == [path])
            #expect(try content(path) == Array("second".utf8))
            unlink(path)
            let third = try filesSynced(in: folder) { try write("third", .synced) }
            #expect(third == [path])
            #expect(try content(path) == Array("third".utf8))
            #expect(names(in: folder) == ["model"])
        }
    }

    @Test(arguments: [Durability.synced, .syncedWhenReplacing])
    func aMovedFileIsSyncedWhereItReplaces(_ durability: Durability) throws {
        try Fixtures.withTemporaryFolder { folder in
            for (round, expected) in [("old", durability == .synced), ("new", true)] {
                let source = "\(folder)/source"
                let target = "\(folder)/target"
                try AtomicFile.write(text: round, to: source)
                let found = try filesSynced(in: folder) {
                    try AtomicFile.move(source, to: target, durability: durability)
                }
                #expect(found == (expected ? [target] : []))
                #expect(try content(target) == Array(round.utf8))
                #expect(names(in: folder) == ["target"])
            }
        }
    }

    @Test func whatAReplacingFileRefersToIsSynced() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/model"
            #expect(Durability.syncedWhenReplacing.forCompanion(of: path) == .syncedWhenReplacing)
            #expect(Durability.synced.forCompanion(of: path) == .synced)
            try AtomicFile.write(text: "there", to: path)
            #expect(Durability.syncedWhenReplacing.forCompanion(of: path) == .synced)
        }
    }

    @Test func missingFilesAndFoldersAreNamed() {
        #expect(throws: FileError.notFound(path: "/nowhere/file")) { try MappedFile(path: "/nowhere/file") }
        #expect(throws: FileError.notARegularFile(path: "/tmp")) { try MappedFile(path: "/tmp") }
        #expect(throws: FileError.self) { try AtomicFile.write(text: "x", to: "/nowhere/file") }
    }
}

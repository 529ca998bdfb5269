import GraftCore
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

@Suite struct ZipArchiveTests {
    private func open(_ name: String, limits: Limits = Limits()) throws -> ZipArchive {
        try ZipArchive(path: Fixtures.path("npz/\(name)"), limits: limits)
    }

    @Test func membersAreReadByName() throws {
        let archive = try open("good.zip")
        #expect(Array(archive.members.keys) == ["one", "folder/two"])
        #expect(try archive.contents(of: "one").withBytes { Array($0) } == Array("first".utf8))
        let two = try archive.contents(of: "folder/two").withBytes { Array($0) }
        #expect(two == Array(String(repeating: "second", count: 50).utf8))
        let error = #expect(throws: ZipError.self) { try archive.contents(of: "folder/tow") }
        #expect(error?.description.contains("folder/two") == true)
    }

    @Test func aTruncatedOrFlippedArchiveNeverGivesOtherBytes() throws {
        let bytes = try fileBytes(Fixtures.path("npz/good.zip"))
        let expected = [Array("first".utf8), Array(String(repeating: "second", count: 50).utf8)]
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/x.zip"
            for count in 0..<bytes.count {
                try writeFile(bytes[..<count], to: path)
                #expect(throws: ZipError.self) { try ZipArchive(path: path) }
            }
            for bit in 0..<(bytes.count * 8) {
                var damaged = bytes
                damaged[bit / 8] ^= 1 << (bit % 8)
                try writeFile(damaged, to: path)
                guard let archive = try? ZipArchive(path: path) else { continue }
                for member in archive.members.values {
                    guard let contents = try? archive.contents(of: member) else { continue }
                    #expect(expected.contains(contents.withBytes { Array($0) }), "bit \(bit)")
                }
            }
        }
    }

    @Test func hostileArchivesAreRefusedForTheirReason() throws {
        let cases: [(String, (ZipError) -> Bool)] = [
            ("duplicate", { if case .duplicateName = $0 { true } else { false } }),
            ("upwards", { if case .unsafeMember = $0 { true } else { false } }),
            ("absolute", { if case .unsafeMember = $0 { true } else { false } }),
            ("link", { if case .unsafeMember = $0 { true } else { false } }),
            ("encrypted", { if case .unsupported = $0 { true } else { false } }),
            ("bomb", { if case .limitExceeded = $0 { true } else { false } }),
        ]
        for (name, isExpected) in cases {
            let error = #expect(throws: ZipError.self, "\(name)") { try open("hostile_\(name).zip") }
            #expect(error.map(isExpected) == true, "\(name): \(error?.description ?? "")")
        }
        #expect(throws: ZipError.self) { try open("hostile_size.zip").contents(of: "short") }
    }

    @Test func membersThatShareBytesAreRefused() throws {
        let error = #expect(throws: ZipError.self) { try open("hostile_overlap.zip") }
        // The second entry repeats the first one's name, so either reason is right; none may pass.
        #expect(error != nil)
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/nested.zip"
            // The second member's header and data lie within the first member's data.
            var inner: [UInt8] = []
            try AtomicFile.write(to: "\(folder)/inner.zip") { file in
                var archive = ZipWriter(to: file)
                try Array("xyz".utf8).withUnsafeBytes { try archive.add("b", $0) }
                try archive.finish()
            }
            inner = try fileBytes("\(folder)/inner.zip")
            try AtomicFile.write(to: path) { file in
                var archive = ZipWriter(to: file)
                try inner.withUnsafeBytes { try archive.add("a", $0) }
                try Array("xyz".utf8).withUnsafeBytes { try archive.add("b", $0) }
                try archive.finish()
            }
            var bytes = try fileBytes(path)
            // The last directory entry of 47 bytes ends 22 bytes before the end; its offset field is at byte 42.
            let field = bytes.count - 22 - 47 + 42
            bytes[field] = 31
            bytes[field + 1] = 0
            try writeFile(bytes, to: path)
            #expect(throws: ZipError.overlap(path: path, member: "a", other: "b")) { try ZipArchive(path: path) }
        }
    }

    @Test func a64BitArchiveReadsBack() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/large.zip"
            try AtomicFile.write(to: path) { file in
                var archive = ZipWriter(to: file, alwaysZip64: true)
                for name in ["a", "b/c"] {
                    try Array("<\(name)>".utf8).withUnsafeBytes { try archive.add(name, alignment: 64, $0, $0) }
                }
                try archive.finish()
            }
            let archive = try ZipArchive(path: path)
            #expect(try archive.contents(of: "b/c").withBytes { Array($0) } == Array("<b/c><b/c>".utf8))
            #expect(archive.members.values.allSatisfy { $0.storedRange.lowerBound % 64 == 0 })
            let bytes = try fileBytes(path)
            for count in 0..<bytes.count {
                try writeFile(bytes[..<count], to: path)
                #expect(throws: ZipError.self) { try ZipArchive(path: path) }
            }
        }
    }

    @Test func aStoredMemberThatChangedIsNoticed() throws {
        var bytes = try fileBytes(Fixtures.path("npz/good.zip"))
        let start = try #require(bytes.firstRange(of: Array("first".utf8))?.lowerBound)
        bytes[start] ^= 1
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/x.zip"
            try writeFile(bytes, to: path)
            let archive = try ZipArchive(path: path)
            #expect(throws: ZipError.wrongChecksum(path: path, member: "one")) { try archive.contents(of: "one") }
            #expect(try archive.contents(of: "one", verifying: false).count == 5)
        }
    }

    @Test func theExpansionLimitIsTheCallersChoice() throws {
        var limits = Limits()
        limits.decodedTensorBytes = 100
        #expect(throws: ZipError.self) { try open("good.zip", limits: limits) }
    }
}

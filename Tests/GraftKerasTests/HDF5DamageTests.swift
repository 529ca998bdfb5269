import Glibc
import GraftCore
import GraftHDF5
import GraftTestSupport
import Testing

/// Damaged files end in an error or a valid value, never in a crash or a hang of this process.
@Suite struct HDF5DamageTests {
    private func open(_ bytes: [UInt8], in folder: String) throws -> HDF5File {
        let path = "\(folder)/damaged.h5"
        try AtomicFile.write(bytes, to: path)
        var limits = Limits()
        limits.helperSeconds = 5
        return try HDF5File.open(path: path, limits: limits)
    }

    /// Every error must be one that a person reads.
    private func outcome(_ bytes: [UInt8], in folder: String) throws -> Bool {
        do {
            let file = try open(bytes, in: folder)
            _ = try HDF5Description.lines(of: file)
            return true
        } catch let error as any GraftError {
            #expect(error.exitStatus == .badInput, "\(error)")
            return false
        }
    }

    /// All lengths and all single bytes are tested where GRAFT_EXHAUSTIVE is set; a spread of them otherwise.
    private var stride: Int { getenv("GRAFT_EXHAUSTIVE") != nil ? 1 : 7 }

    @Test func everyTruncationIsAnError() throws {
        let whole = try HDF5ReadingTests.bytes(of: Fixtures.path("hdf5/shared_dataset.h5"))
        try Fixtures.withTemporaryFolder { folder in
            for length in Swift.stride(from: 0, to: whole.count, by: stride) {
                let isReadable = try outcome(Array(whole[..<length]), in: folder)
                #expect(!isReadable, "length \(length)")
            }
        }
    }

    @Test func everyChangedByteIsAnErrorOrAValidFile() throws {
        let whole = try HDF5ReadingTests.bytes(of: Fixtures.path("hdf5/shared_dataset.h5"))
        var errors = 0
        try Fixtures.withTemporaryFolder { folder in
            for position in Swift.stride(from: 0, to: whole.count, by: stride) {
                for change in [UInt8(0xFF), 0x01, 0x80] {
                    var bytes = whole
                    bytes[position] ^= change
                    if try !outcome(bytes, in: folder) { errors += 1 }
                }
            }
        }
        #expect(errors > 0)
    }

    @Test func changedBytesOfCompressedFilesAreSurvived() throws {
        let whole = try HDF5ReadingTests.bytes(of: Fixtures.path("hdf5/strings.h5"))
        try Fixtures.withTemporaryFolder { folder in
            for position in Swift.stride(from: 0, to: whole.count, by: stride * 3) {
                var bytes = whole
                bytes[position] = ~bytes[position]
                _ = try outcome(bytes, in: folder)
            }
        }
    }
}

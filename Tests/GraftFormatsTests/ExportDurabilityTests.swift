import GraftCore
import GraftFormats
import GraftTestSupport
import Testing

/// What `convert` and the passes write is on the disk before it replaces a file, and not waited for under a new name.
@Suite struct ExportDurabilityTests {
    /// The names of the files in a folder that are synced while `body` runs.
    private func synced(_ folder: String, _ body: () throws -> Void) rethrows -> [String] {
        try filesSynced(in: folder, while: body).map { String($0.split(separator: "/").last ?? "") }
    }

    @Test(arguments: ["model.onnx", "model.h5"], [true, false])
    func onlyAReplacedFileIsWaitedFor(_ name: String, isVerified: Bool) throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/\(name)"
            var export = VerifiedExport(format: try ModelFormats.format(forOutput: path), isVerified: isVerified)
            func write() throws { _ = try export.write(SmallNetworks.residual(), to: path) }
            export.options.durability = .syncedWhenReplacing
            let first = try synced(folder, write)
            #expect(first == [])
            let second = try synced(folder, write)
            #expect(second == [name])
            let other = "\(folder)/other-\(name)"
            export.options.durability = .synced
            let third = try synced(folder) { _ = try export.write(SmallNetworks.residual(), to: other) }
            #expect(third == ["other-\(name)"])
        }
    }

    @Test(arguments: [true, false])
    func dataBesideAReplacedModelIsWaitedForToo(isVerified: Bool) throws {
        try Fixtures.withTemporaryFolder { folder in
            var export = VerifiedExport(format: ONNXFormat.self, isVerified: isVerified)
            export.options.durability = .syncedWhenReplacing
            export.options.usesExternalData = true
            func write() throws { _ = try export.write(SmallNetworks.residual(), to: "\(folder)/model.onnx") }
            let first = try synced(folder, write)
            #expect(first == [])
            let found = try synced(folder, write)
            #expect(found.last == "model.onnx")
            // The data of the replaced model is left alone: another model may refer to it.
            #expect(found.first == "model.onnx.data.1")
            #expect(found.count == 2)
        }
    }
}

import Foundation
import GraftCore
import GraftTestSupport
import Testing

/// The generated C is what `formats/onnx/generate` makes of `onnx.proto`.
@Suite struct SchemaTests {
    private func run(_ command: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [command] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    @Test func generatingAgainGivesTheSame() throws {
        // Another version of protoc-c may spell the same code differently.
        let made = "protobuf-c 1.4.1"
        let version = try run("protoc-c", ["--version"])
        guard version.status == 0, version.output.hasPrefix(made) else {
            print("skipped, protoc-c of \(made) is not here: generatingAgainGivesTheSame")
            return
        }
        try Fixtures.withTemporaryFolder { folder throws in
            #expect(try run("\(Fixtures.root)/formats/onnx/generate", [folder]).status == 0)
            for name in ["onnx.pb-c.c", "include/onnx.pb-c.h"] {
                #expect(
                    try bytes(of: "\(folder)/\(name)") == bytes(of: "\(Fixtures.root)/Sources/COnnxProto/\(name)"),
                    "\(name)")
            }
        }
    }
}

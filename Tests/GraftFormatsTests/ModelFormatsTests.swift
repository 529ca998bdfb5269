import GraftCore
import GraftFormats
import GraftTestSupport
import Testing

@Suite struct ModelFormatsTests {
    @Test func formatsAreToldByContentAndByName() throws {
        try Fixtures.withTemporaryFolder { folder in
            try AtomicFile.write(text: "hello, this is no model", to: "\(folder)/notes.txt")
            #expect(throws: ModelFormatError.unrecognized(path: "\(folder)/notes.txt")) {
                try ModelFormats.format(ofFile: "\(folder)/notes.txt")
            }
        }
        #expect(try ModelFormats.format(forOutput: "a/b.onnx").name == "onnx")
        #expect(throws: ModelFormatError.unknownExtension(path: "a.xyz")) {
            try ModelFormats.format(forOutput: "a.xyz")
        }
        let error = #expect(throws: ModelFormatError.self) {
            try ModelFormats.format(forOutput: "a.xyz", named: "onx")
        }
        #expect(error?.description.contains("\"onnx\"") == true)
    }
}

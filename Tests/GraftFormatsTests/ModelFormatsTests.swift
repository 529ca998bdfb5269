import GraftCore
import GraftFormats
import GraftIR
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

    @Test func weightsGoBesideTheModelOnRequest() throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = SmallNetworks.residual()
            var export = VerifiedExport(format: ONNXFormat.self)
            export.options.usesExternalData = true
            export.options.externalDataThreshold = 100
            let path = "\(folder)/model.onnx"
            #expect(try export.write(model, to: path).parity != nil)
            let data = try MappedFile(path: "\(path).data").count
            let count = model.graph.initializers.compactMap { model.graph[$0].tensor?.byteCount }
            #expect(data >= count.filter { $0 >= 100 }.reduce(0, +))
            let back = try ModelFormats.read(path: path, limits: Limits())
            let weight = try #require(back.graph.value(named: "fc.weight"))
            let wanted = try #require(model.graph.value(named: "fc.weight"))
            #expect(
                try back.graph.constantTensor(of: weight)?.isIdentical(
                    to: try #require(model.graph.constantTensor(of: wanted))) == true)
            var keras = VerifiedExport(format: KerasH5Format.self)
            keras.options = export.options
            #expect(throws: ModelFormatError.noExternalData("keras-h5")) {
                try keras.write(model, to: "\(folder)/model.h5")
            }
        }
    }
}

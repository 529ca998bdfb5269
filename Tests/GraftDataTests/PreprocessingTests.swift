import GraftCore
import GraftData
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

@Suite struct PreprocessingTests {
    @Test func torchvisionsEvaluationGivesPyTorchsTensor() throws {
        let arrays = try NPZ.read(path: Fixtures.path("images/pipeline.npz"))
        let expected = try #require(try arrays["tensor"]?.elements(as: Float.self))
        let image = try Image(path: Fixtures.path("images/pipeline.png"))
        let contract = try Preprocessing(
            height: 16, width: 16, resize: .crop(shortSide: 20), scale: 1 / 255, mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225])
        let numbers = contract.apply(image)
        #expect(numbers.count == expected.count)
        // One rounding here, three there: at most a few units in the last place.
        #expect(zip(numbers, expected).allSatisfy { abs($0 - $1) < 1e-6 })
    }

    @Test func theOtherToolsPicturesDecodeAndResizeAlike() throws {
        let decoded = try NPZ.read(path: Fixtures.path("images/decoded.npz"))
        for (file, expected) in decoded where !file.hasSuffix(".alpha") && !file.hasSuffix(".stored") {
            let image = try Image(path: Fixtures.path("images/\(file)"))
            #expect(try image.rgb.pixels == expected.elements(), "\(file)")
        }
        let resized = try NPZ.read(path: Fixtures.path("images/resized.npz"))
        let boxes = [
            "box_inner": ImageBox(left: 2.5, top: 1.25, right: 11.75, bottom: 9.5),
            "box_left": ImageBox(left: 0, top: 0, right: 6, bottom: 12),
        ]
        for (key, expected) in resized where !key.hasPrefix("source.") {
            let parts = key.split(separator: ".").map(String.init)
            let source = try #require(resized["source.\(parts[0])"])
            let image = Image(
                width: source.shape[1], height: source.shape[0], channels: source.shape.count == 3 ? 3 : 1,
                pixels: try source.elements())
            let size = parts[2].split(separator: "x").compactMap { Int($0) }
            let result = image.resized(
                width: size[1], height: size[0], filter: try #require(ResamplingFilter(rawValue: parts[1])),
                box: parts.count > 3 ? boxes[parts[3]] : nil)
            #expect(try result.pixels == expected.elements(), "\(key)")
        }
    }

    @Test func layoutsAndChannelOrdersHoldTheSameNumbers() throws {
        let image = Image(width: 2, height: 1, channels: 3, pixels: [10, 20, 30, 40, 50, 60])
        func apply(_ channels: Preprocessing.Channels, _ layout: Preprocessing.Layout) throws -> [Float] {
            try Preprocessing(height: 1, width: 2, channels: channels, layout: layout).apply(image)
        }
        #expect(try apply(.rgb, .nchw) == [10, 40, 20, 50, 30, 60])
        #expect(try apply(.rgb, .nhwc) == [10, 20, 30, 40, 50, 60])
        #expect(try apply(.bgr, .nchw) == [30, 60, 20, 50, 10, 40])
        #expect(try apply(.bgr, .nhwc) == [30, 20, 10, 60, 50, 40])
        // 0.299 R + 0.587 G + 0.114 B, rounded.
        #expect(try apply(.gray, .nchw) == [18, 48])
        let gray = Image(width: 1, height: 1, channels: 1, pixels: [7])
        #expect(try Preprocessing(height: 1, width: 1).apply(gray) == [7, 7, 7])
    }

    @Test func paddingCentresThePicture() throws {
        let image = Image(width: 4, height: 2, channels: 1, pixels: [UInt8](repeating: 200, count: 8))
        let contract = try Preprocessing(height: 4, width: 4, resize: .pad(fill: 9), channels: .gray)
        let row = [Float](repeating: 200, count: 4)
        let border = [Float](repeating: 9, count: 4)
        #expect(contract.apply(image) == border + row + row + border)
    }

    @Test func withoutAntialiasingNumbersAreTensorFlows() throws {
        // tf.image.resize([0, 10, 20, 40, 80, 120, 200, 255] as 1 x 8, [1, 3], "bilinear").
        let row = Image(width: 8, height: 1, channels: 1, pixels: [0, 10, 20, 40, 80, 120, 200, 255])
        let contract = try Preprocessing(height: 1, width: 3, antialias: false, channels: .gray)
        let expected: [Float] = [8.333333, 60, 209.16667]
        #expect(zip(contract.apply(row), expected).allSatisfy { abs($0 - $1) < 1e-3 })
        #expect(try Preprocessing(height: 1, width: 8, antialias: false, channels: .gray).apply(row)[3] == 40)
    }

    @Test func everyPresetSurvivesJSON() throws {
        for preset in PreprocessingPreset.all {
            for channels in [Preprocessing.Channels.rgb, .bgr, .gray, nil] {
                var contract = try preset.preprocessing(height: 96, width: 80, channels: channels, layout: .nhwc)
                contract.elementType = .float16
                #expect(try Preprocessing(json: JSON(parsing: contract.json.text())) == contract, "\(preset.name)")
            }
        }
        let padded = try Preprocessing(height: 3, width: 4, resize: .pad(fill: 114), filter: .lanczos)
        #expect(try Preprocessing(json: padded.json) == padded)
    }

    @Test func presetsHaveTheirFamiliesNumbers() throws {
        let torchvision = try PreprocessingPreset.named("torchvision").preprocessing(height: 224, width: 224)
        #expect(torchvision.resize == .crop(shortSide: 256))
        #expect(
            try PreprocessingPreset.named("timm").preprocessing(height: 224, width: 224).resize == .crop(shortSide: 256)
        )
        let white = Image(width: 8, height: 8, channels: 3, pixels: [UInt8](repeating: 255, count: 192))
        func first(_ name: String) throws -> Float {
            try PreprocessingPreset.named(name).preprocessing(height: 8, width: 8).apply(white)[0]
        }
        #expect(try first("raw") == 255)
        #expect(try first("unit") == 1)
        #expect(try first("tf") == 1)
        #expect(try first("caffe") == Float(255 - 103.939))
        #expect(abs(try first("torch") - (1 - 0.485) / 0.229) < 1e-6)
        #expect(throws: PreprocessingError.self) { try PreprocessingPreset.named("torchvison") }
    }

    @Test func whatIsWrongInJSONIsNamed() throws {
        let cases: [(String, String)] = [
            ("{}", "\"size\""), ("{\"size\":[1]}", "size"), ("{\"size\":[0,4]}", "size"), ("[]", "object"),
            ("{\"size\":[4,4],\"meen\":[0,0,0]}", "\"mean\""), ("{\"size\":[4,4],\"mean\":[0]}", "mean"),
            ("{\"size\":[4,4],\"std\":[0,1,1]}", "std"), ("{\"size\":[4,4],\"filter\":\"bicubick\"}", "\"bicubic\""),
            ("{\"size\":[4,4],\"resize\":\"crop\"}", "short_side"), ("{\"size\":[4,4],\"scale\":\"x\"}", "scale"),
            ("{\"size\":[4,4],\"type\":\"string\"}", "string"), ("{\"size\":[4,4],\"channels\":\"rgb\"}", "\"RGB\""),
            ("{\"size\":[4,4],\"antialias\":false,\"filter\":\"lanczos\"}", "antialias"),
            ("{\"size\":[4,4],\"scale\":NaN}", "scale"), ("{\"size\":[4000000000000,4]}", "size"),
        ]
        for (text, word) in cases {
            let json = try JSON(parsing: text)
            let error = #expect(throws: PreprocessingError.self, "\(text)") { try Preprocessing(json: json) }
            #expect(error?.description.contains(word) == true, "\(text): \(error?.description ?? "")")
        }
    }

    @Test func knownFamiliesAreRecognised() {
        func guess(
            _ shape: [Int?], producer: String = "keras", names: [String] = [], first: [String] = [],
            type: ElementType = .float32
        ) -> (name: String, Preprocessing)? {
            let evidence = PreprocessingEvidence(
                inputShape: shape, elementType: type, producer: producer, layerNames: names, firstOperators: first)
            return Preprocessing.guess(evidence).map { (String($0.reason.prefix { $0 != ":" }), $0.preprocessing) }
        }
        #expect(guess([nil, 128, 128, 3], names: ["conv_dw_1"])?.name == "tf")
        #expect(guess([nil, 224, 224, 3], names: ["block1_conv1", "block5_conv3"])?.name == "caffe")
        #expect(guess([nil, 299, 299, 3], names: ["block1_conv1", "block5_conv3", "block14_sepconv2"])?.name == "tf")
        #expect(guess([nil, 224, 224, 3], names: ["conv2_block1_1_conv"])?.name == "caffe")
        #expect(guess([nil, 224, 224, 3], names: ["conv2_block1_preact_bn", "conv2_block1_1_conv"])?.name == "tf")
        #expect(guess([nil, 224, 224, 3], names: ["conv2_block1_concat"])?.name == "torch")
        #expect(guess([1, 3, 224, 224], producer: "pytorch")?.name == "torchvision")
        #expect(guess([1, 3, 224, 224], producer: "pytorch", first: ["Sub", "Div"])?.name == "raw")
        #expect(guess([1, 28, 28, 1])?.name == "unit")
        #expect(guess([1, 1, 28, 28], producer: "CNTK")?.name == "raw")
        #expect(guess([1, 64, 64, 3], type: .uint8)?.name == "raw")
        #expect(guess([1, 64, 64, 3])?.name == "unit")
        #expect(guess([1, 42]) == nil)
        #expect(guess([1, 16, 16, 8]) == nil)
        #expect(guess([nil, nil, nil, 3])?.1.height == 224)
        #expect(guess([nil, 3, nil, nil])?.1.layout == .nchw)
        #expect(guess([1, 3, 32, 32], producer: "pytorch")?.1.resize == .crop(shortSide: 32))
    }
}

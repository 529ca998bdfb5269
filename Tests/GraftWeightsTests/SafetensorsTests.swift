import GraftCore
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

@Suite struct SafetensorsTests {
    private let types = Fixtures.path("safetensors/types.safetensors")

    @Test func everyTypeIsReadInPlace() throws {
        let file = try Safetensors(path: types)
        #expect(file.metadata == ["format": "pt"])
        #expect(file.tensors.count == 10)
        #expect(try file.tensors["weight"]?.elements(as: Float.self) == [0, 1, 2, 3, 4, 5])
        #expect(file.tensors["weight"]?.shape == [2, 3])
        #expect(try file.tensors["a.double"]?.elements(as: Double.self) == [1.5, -2])
        #expect(try file.tensors["count"]?.elements(as: Int64.self) == [7])
        #expect(file.tensors["count"]?.shape == [])
        #expect(try file.tensors["mask"]?.elements(as: Bool.self) == [true, false])
        #expect(file.tensors["brain"]?.elementType == .bfloat16)
        #expect(file.tensors["narrow"]?.elementType == .float8e4m3fn)
        #expect(try file.tensors["Größe"]?.elements(as: Int32.self) == [-1])
        #expect(file.tensors["empty"]?.shape == [0, 4])
        for tensor in file.tensors.values {
            guard case .mapped = tensor.storage else {
                Issue.record("a tensor was copied")
                continue
            }
        }
    }

    @Test func aFileIsWrittenAsTheFormatsLibraryWritesIt() throws {
        let file = try Safetensors(path: types)
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/copy.safetensors"
            let shuffled = OrderedDictionary(
                file.tensors.reversed().map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
            try Safetensors(tensors: shuffled, metadata: file.metadata).write(to: path)
            #expect(try fileBytes(path) == fileBytes(types))
        }
    }

    @Test func everyTruncationIsRefusedAndEveryBitFlipIsHandled() throws {
        let bytes = try fileBytes(types)
        let header = bytes.count - 80
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/x.safetensors"
            for count in 0..<bytes.count {
                try writeFile(bytes[..<count], to: path)
                #expect(throws: SafetensorsError.self, "\(count)") { try Safetensors(path: path) }
            }
            for bit in 0..<(header * 8) {
                var damaged = bytes
                damaged[bit / 8] ^= 1 << (bit % 8)
                try writeFile(damaged, to: path)
                guard let file = try? Safetensors(path: path) else { continue }
                #expect(file.tensors.values.reduce(0) { $0 + $1.byteCount } <= bytes.count)
            }
        }
    }

    @Test(arguments: [
        "length", "long", "array", "space", "twice", "overlap", "gap", "tail", "short", "size", "overflow", "negative",
        "backwards", "type", "fields", "metadata", "empty_inside",
    ])
    func hostileFilesAreRefused(name: String) throws {
        let path = Fixtures.path("safetensors/hostile_\(name).safetensors")
        let error = #expect(throws: SafetensorsError.self) { try Safetensors(path: path) }
        #expect(error?.description.hasPrefix(path) == true)
    }

    @Test func aDeepHeaderIsRefused() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/deep.safetensors"
            let text = Array(
                (String(repeating: "{\"a\":", count: 20_000) + "1" + String(repeating: "}", count: 20_000)).utf8)
            try writeFile((0..<8).map { UInt8(text.count >> (8 * $0) & 0xFF) } + text, to: path)
            #expect(throws: SafetensorsError.self) { try Safetensors(path: path) }
        }
    }

    @Test func whatTheFormatCannotHoldIsRefused() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/x.safetensors"
            for tensor in [Tensor.zeros(.int4, shape: [2]), .zeros(.complex128, shape: [1])] {
                #expect(throws: SafetensorsError.self) { try Safetensors(tensors: ["x": tensor]).write(to: path) }
            }
            let zero = Tensor.zeros(.int8, shape: [1])
            #expect(throws: SafetensorsError.self) { try Safetensors(tensors: ["__metadata__": zero]).write(to: path) }
        }
    }

    @Test func realFilesAreRead() throws {
        guard let silero = Fixtures.shared("models/safetensors/silero_vad_16k.safetensors"),
            let resnet = Fixtures.shared("models/derived/resnet20_cifar10.safetensors"),
            let arrays = Fixtures.shared("models/derived/resnet20_cifar10.npz")
        else { return Fixtures.sharedIsMissing(for: "realFilesAreRead") }
        let silent = try Safetensors(path: silero)
        #expect(silent.tensors.values.reduce(0) { $0 + $1.count } == 309_633)
        let tensors = try Safetensors(path: resnet).tensors
        for (name, array) in try NPZ.read(path: arrays) {
            if let tensor = tensors[name] { #expect(try tensor.isIdentical(to: array), "\(name)") }
        }
    }
}

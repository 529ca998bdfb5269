import GraftCore
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

@Suite struct NPZTests {
    private func arrays(_ name: String) throws -> OrderedDictionary<String, Tensor> {
        try NPZ.read(path: Fixtures.path("npz/\(name)"))
    }

    @Test func everyNumericTypeHasNumPysTypeShapeAndValues() throws {
        let arrays = try arrays("stored.npz")
        let types: [ElementType] = [
            .bool, .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64, .float16, .float32, .float64,
            .complex64, .complex128,
        ]
        for type in types {
            let name = "\(type)"
            let tensor = try #require(arrays[name], "\(name)")
            #expect(tensor.elementType == type)
            #expect(tensor.shape == [2, 3, 4])
        }
        #expect(try arrays["float32"]?.elements(as: Float.self) == (0..<24).map { Float($0) })
        #expect(try arrays["float64"]?.elements(as: Double.self) == (0..<24).map { Double($0) })
        #expect(try arrays["int16"]?.elements(as: Int16.self) == Array(0..<24))
        #expect(try arrays["uint64"]?.elements(as: UInt64.self) == Array(0..<24))
        #expect(try arrays["bool"]?.elements(as: Bool.self) == (0..<24).map { $0 % 2 == 1 })
        let complex = try #require(try arrays["complex64"]?.withBytes { Array($0.bindMemory(to: Float.self)) })
        #expect(complex == (0..<24).flatMap { [Float($0), Float($0)] })
        #expect(try arrays["scalar"]?.elements(as: Float.self) == [1.5])
        #expect(arrays["scalar"]?.shape == [])
        #expect(arrays["empty"]?.shape == [0, 3])
        #expect(try arrays["/model/Conv_output_0"]?.elements(as: UInt8.self) == [7])
    }

    @Test func fortranOrderAndBigEndianBecomePlain() throws {
        let arrays = try arrays("stored.npz")
        var compared = 0
        for (name, plain) in arrays where name.hasSuffix("_plain") {
            let original = try #require(arrays[String(name.dropLast(6))])
            #expect(try original.isIdentical(to: plain), "\(name)")
            compared += 1
        }
        #expect(compared == 8)
    }

    @Test func textsAreDecoded() throws {
        let arrays = try arrays("stored.npz")
        #expect(arrays["text"]?.strings == ["rose", "", "Größe", "花🌷"])
        #expect(arrays["big_text"]?.strings == ["rose", "", "Größe", "花🌷"])
        #expect(arrays["text"]?.shape == [2, 2])
        #expect(arrays["bytes"]?.strings == ["ab", "", "a\0b"])
    }

    @Test func extendedFloatsAreRead() throws {
        let arrays = try arrays("stored.npz")
        #expect(arrays["bfloat16"]?.elementType == .bfloat16)
        #expect(try arrays["bfloat16"]?.withBytes { Array($0) }[..<4] == [0x80, 0x3F, 0x20, 0xC0])
        #expect(arrays["float8_e5m2"]?.elementType == .float8e5m2)
    }

    @Test func storedArraysStayMappedAndDeflatedOnesAreEqual() throws {
        let stored = try arrays("stored.npz")
        guard case .mapped = stored["float32"]?.storage else {
            Issue.record("a stored array was copied")
            return
        }
        let deflated = try arrays("deflated.npz")
        for (name, tensor) in deflated where name != "zeros" {
            #expect(try tensor.isIdentical(to: #require(stored[name])), "\(name)")
        }
        #expect(try deflated["zeros"]?.elements(as: Float.self).allSatisfy { $0 == 0 } == true)
        #expect(deflated["zeros"]?.shape == [200_000])
    }

    @Test func singleFilesOfBothVersionsAreRead() throws {
        let plain = try NPY.read(path: Fixtures.path("npz/plain.npy"))
        let second = try NPY.read(path: Fixtures.path("npz/version2.npy"))
        #expect(try plain.isIdentical(to: second))
        #expect(try plain.elements(as: Float.self) == (0..<24).map { Float($0) })
    }

    @Test(arguments: ["object.npy": "pickled", "fields.npy": "field", "date.npy": "int64", "int4.npy": "V1"])
    func refusedTypesAreNamed(file: String, word: String) throws {
        let error = #expect(throws: NPYError.self) { try NPY.read(path: Fixtures.path("npz/\(file)")) }
        let text = try #require(error?.description)
        #expect(text.contains(file) && text.contains(word), "\(text)")
        #expect(error?.exitStatus == .badInput)
    }

    @Test func writtenArraysReadBackIdenticalAndAligned() throws {
        // NumPy itself does not read what it writes for float8_e5m2.
        let arrays = try arrays("stored.npz").filter { $0.key != "float8_e5m2" }
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/copy.npz"
            try NPZ.write(arrays, to: path)
            let copy = try NPZ.read(path: path)
            #expect(Array(copy.keys) == Array(arrays.keys))
            for (name, tensor) in arrays { #expect(try tensor.isIdentical(to: #require(copy[name])), "\(name)") }
            for (name, tensor) in copy {
                guard case .mapped(_, let range) = tensor.storage else { continue }
                #expect(range.lowerBound % 64 == 0, "\(name)")
            }
            let single = "\(folder)/one.npy"
            try NPY.write(#require(arrays["float32"]), to: single)
            #expect(try fileBytes(single) == fileBytes(Fixtures.path("npz/plain.npy")))
        }
    }

    @Test func whatNumPyCannotHoldIsRefused() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/x.npz"
            let tensors: [Tensor] = [
                .zeros(.float8e4m3fn, shape: [2]), .zeros(.float8e5m2, shape: [2]), .zeros(.int4, shape: [2]),
                try Tensor(.string, shape: [1], storage: .strings([[65, 0]])),
            ]
            for tensor in tensors {
                #expect(throws: NPYError.self) { try NPZ.write(["x": tensor], to: path) }
            }
            #expect(throws: NPYError.self) { try NPZ.write(["../x": .zeros(.int8, shape: [1])], to: path) }
            #expect(throws: FileError.notFound(path: path)) { try NPZ.read(path: path) }
        }
    }

    @Test(arguments: ["small.npz", "small_deflated.npz"])
    func everyTruncationIsRefusedAndNoBitFlipChangesValuesUnseen(file: String) throws {
        let bytes = try fileBytes(Fixtures.path("npz/\(file)"))
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/damaged.npz"
            for count in 0..<bytes.count {
                try writeFile(bytes[..<count], to: path)
                #expect(throws: ZipError.self, "\(count) bytes") { try NPZ.read(path: path) }
            }
            for bit in 0..<(bytes.count * 8) {
                var damaged = bytes
                damaged[bit / 8] ^= 1 << (bit % 8)
                try writeFile(damaged, to: path)
                // Time stamps and names are not covered by the checksum; the array always is.
                if let arrays = try? NPZ.read(path: path), let tensor = arrays.values.first {
                    #expect(try tensor.elements(as: Float.self) == [0, 1, 2], "bit \(bit)")
                }
            }
        }
    }

    @Test func everyTruncationAndBitFlipOfASingleArrayIsHandled() throws {
        let bytes = try fileBytes(Fixtures.path("npz/plain.npy"))
        try Fixtures.withTemporaryFolder { folder in
            let path = "\(folder)/damaged.npy"
            for count in 0..<bytes.count {
                try writeFile(bytes[..<count], to: path)
                #expect(throws: NPYError.self, "\(count) bytes") { try NPY.read(path: path) }
            }
            for bit in 0..<(128 * 8) {
                var damaged = bytes
                damaged[bit / 8] ^= 1 << (bit % 8)
                try writeFile(damaged, to: path)
                if let tensor = try? NPY.read(path: path) { #expect(tensor.byteCount == 96, "bit \(bit)") }
            }
        }
    }

    @Test func realArraysAreRead() throws {
        guard let weights = Fixtures.shared("models/derived/resnet20_cifar10.npz"),
            let object = Fixtures.shared("models/npz/mtcnn_initial_weight_pnet.npy"),
            let checkpoint = Fixtures.shared("models/npz/g2p_en_checkpoint20.npz")
        else { return Fixtures.sharedIsMissing(for: "realArraysAreRead") }
        #expect(try NPZ.read(path: weights).values.reduce(0) { $0 + $1.count } > 269_000)
        #expect(try NPZ.read(path: checkpoint).isEmpty == false)
        #expect(throws: NPYError.pickled(source: object)) { try NPY.read(path: object) }
    }
}

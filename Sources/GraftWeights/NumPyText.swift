import GraftCore

/// Arrays of text: elements of one fixed size, padded with zeros at the end.
enum NumPyText {
    /// The elements of a `<U` or `S` array as UTF-8 or plain bytes, without their padding.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, type: NumPyType, count: Int, source: String
    ) throws(NPYError) -> [[UInt8]] {
        var result: [[UInt8]] = []
        result.reserveCapacity(count)
        let width = type.byteWidth
        for element in 0..<count {
            let field = UnsafeRawBufferPointer(rebasing: bytes[(element * width)..<((element + 1) * width)])
            if case .bytes = type {
                let end = field.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
                result.append(Array(field[..<end]))
                continue
            }
            var points = (0..<(width / 4)).map { field.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self) }
            while points.last == 0 { points.removeLast() }
            var text = String.UnicodeScalarView()
            for point in points {
                guard let scalar = Unicode.Scalar(point) else {
                    throw .damaged(source: source, reason: "element \(element) holds \(point), which is no character")
                }
                text.append(scalar)
            }
            result.append(Array(String(text).utf8))
        }
        return result
    }

    /// The descriptor and bytes of an array of text: Unicode where every element is UTF-8, bytes otherwise.
    static func encode(_ strings: [[UInt8]], name: String) throws(NPYError) -> (descriptor: String, bytes: ByteBuffer) {
        guard strings.allSatisfy({ $0.last != 0 }) else {
            throw .cannotWrite(name: name, reason: "a text ends in a zero byte, which NumPy drops")
        }
        let texts = strings.compactMap { String(validating: $0, as: UTF8.self)?.unicodeScalars }
        let isUnicode = texts.count == strings.count
        // NumPy has no texts of length 0.
        let length = max(1, isUnicode ? texts.map(\.count).max() ?? 0 : strings.map(\.count).max() ?? 0)
        let width = isUnicode ? length * 4 : length
        let (size, overflow) = width.multipliedReportingOverflow(by: strings.count)
        guard !overflow, size <= 1 << 40 else {
            throw .cannotWrite(name: name, reason: "padding every text to the longest takes too much space")
        }
        let buffer = ByteBuffer(count: size, zeroed: true)
        let bytes = buffer.mutableBytes
        for index in strings.indices {
            if isUnicode {
                for (i, scalar) in texts[index].enumerated() {
                    bytes.storeBytes(of: scalar.value, toByteOffset: index * width + i * 4, as: UInt32.self)
                }
            } else {
                for (i, byte) in strings[index].enumerated() { bytes[index * width + i] = byte }
            }
        }
        return ("\(isUnicode ? "<U" : "|S")\(length)", buffer)
    }
}

/// A tensor as the header and bytes of a `.npy` file.
struct NPYEncoding {
    let header: [UInt8]
    private let tensor: Tensor
    private let text: ByteBuffer?

    init(_ tensor: Tensor, name: String) throws(NPYError) {
        self.tensor = tensor
        let descriptor: String
        if case .strings(let strings) = tensor.storage {
            let encoded = try NumPyText.encode(strings, name: name)
            descriptor = encoded.descriptor
            text = encoded.bytes
        } else {
            guard let plain = NumPyType.descriptor(tensor.elementType) else {
                throw .cannotWrite(
                    name: name, reason: "NumPy has no type \(tensor.elementType.name); convert it to float first")
            }
            descriptor = plain
            text = nil
        }
        guard tensor.shape.count <= 64 else {
            throw .cannotWrite(name: name, reason: "\(tensor.shape.count) dimensions are more than 64")
        }
        header = NPYHeader(descriptor: descriptor, isFortranOrder: false, shape: tensor.shape).encoded()
    }

    /// Calls `body` with the array's bytes.
    func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
        if let text { return try withExtendedLifetime(text) { try body(text.bytes) } }
        return try tensor.withBytes(body)
    }
}

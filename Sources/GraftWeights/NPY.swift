import GraftCore

/// NumPy's array files (`.npy`).
///
/// Read are booleans, integers, floating-point and complex numbers of all sizes that ``ElementType`` has, Unicode
/// (`<U`) and byte (`S`) texts, and `bfloat16` (`<V2`) and `float8_e5m2` (`<f1`) as `ml_dtypes` writes them. An array in C order with
/// little-endian elements stays in the mapped file; Fortran order is transposed and big-endian elements are swapped.
/// Arrays of pickled objects are refused: reading them would run code.
public enum NPY {
    /// Reads the array at `path`.
    ///
    /// - Throws: ``FileError`` or ``NPYError``.
    public static func read(path: String, limits: Limits = Limits()) throws -> Tensor {
        let file = try MappedFile(path: path)
        return try tensor(from: .mapped(file, 0..<file.count), source: path, limits: limits)
    }

    /// Writes a tensor as NumPy would; the file is replaced whole or not at all.
    ///
    /// - Throws: ``FileError`` or ``NPYError``.
    public static func write(_ tensor: Tensor, to path: String) throws {
        let encoded = try NPYEncoding(tensor, name: path)
        try AtomicFile.write(to: path) { writer in
            try writer.write(encoded.header)
            try encoded.withBytes { try writer.write($0) }
        }
    }

    /// Decodes an array file that lies in `contents`; `source` names it in messages.
    static func tensor(from contents: ZipContents, source: String, limits: Limits) throws -> Tensor {
        try contents.withBytes { bytes in
            let (header, offset) = try NPYHeader.parse(bytes, source: source, limits: limits)
            let (type, isBigEndian) = try NumPyType.parse(header.descriptor, source: source)
            guard let count = Checked.product(header.shape) else {
                throw NPYError.damaged(source: source, reason: "its shape \(header.shape) is not possible")
            }
            let (size, overflow) = count.multipliedReportingOverflow(by: type.byteWidth)
            guard !overflow, size == bytes.count - offset else {
                throw NPYError.damaged(
                    source: source,
                    reason: "a \(header.descriptor) array of shape \(header.shape) takes "
                        + "\(overflow ? "too many" : String(size)) bytes, but \(bytes.count - offset) follow its header"
                )
            }
            let elements = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            let isTransposed = header.isFortranOrder && header.shape.count > 1 && count > 0
            let swap = isBigEndian ? type.swapWidth : 1
            if type == .plain(.bool), elements.contains(where: { $0 > 1 }) {
                throw NPYError.damaged(source: source, reason: "a truth value is neither 0 nor 1")
            }
            if case .plain(let plain) = type, !isTransposed, swap == 1, case .mapped(let file, let range) = contents {
                let data = (range.lowerBound + offset)..<range.upperBound
                return try Tensor(plain, shape: header.shape, storage: .mapped(file, data))
            }
            guard size <= limits.decodedTensorBytes, count <= max(limits.objectCount, size) else {
                throw NPYError.limitExceeded(
                    source: source,
                    reason: "\(size) bytes exceed the limit decoded-tensor-bytes of \(limits.decodedTensorBytes)")
            }
            let buffer = ByteBuffer(copying: elements)
            if swap > 1 { swapBytes(buffer.mutableBytes, width: swap) }
            let ordered =
                isTransposed
                ? fromFortranOrder(buffer.bytes, shape: header.shape, width: type.byteWidth) : buffer
            switch type {
            case .plain(let plain):
                return try Tensor(plain, shape: header.shape, storage: .owned(ordered))
            case .bytes, .unicode:
                let strings = try NumPyText.decode(ordered.bytes, type: type, count: count, source: source)
                return try Tensor(.string, shape: header.shape, storage: .strings(strings))
            }
        }
    }

    /// Reverses each group of `width` bytes.
    static func swapBytes(_ bytes: UnsafeMutableRawBufferPointer, width: Int) {
        for start in stride(from: 0, to: bytes.count - bytes.count % width, by: width) {
            for i in 0..<(width / 2) { bytes.swapAt(start + i, start + width - 1 - i) }
        }
    }

    /// The elements of an array whose first dimension varies fastest, in the order where the last one does.
    static func fromFortranOrder(_ source: UnsafeRawBufferPointer, shape: [Int], width: Int) -> ByteBuffer {
        let target = ByteBuffer(count: source.count)
        guard width > 0, !source.isEmpty, let from = source.baseAddress, let to = target.mutableBytes.baseAddress else {
            return target
        }
        // strides[d] is the distance in bytes between neighbours along dimension d of the source.
        var strides: [Int] = []
        var step = width
        for dimension in shape {
            strides.append(step)
            step *= dimension
        }
        let inner = shape[shape.count - 1]
        let innerStride = strides[shape.count - 1]
        var index = [Int](repeating: 0, count: shape.count - 1)
        var start = 0
        var written = 0
        while written < source.count {
            for i in 0..<inner {
                (to + written).copyMemory(from: from + start + i * innerStride, byteCount: width)
                written += width
            }
            var d = index.count - 1
            while d >= 0 {
                index[d] += 1
                start += strides[d]
                if index[d] < shape[d] { break }
                start -= strides[d] * shape[d]
                index[d] = 0
                d -= 1
            }
        }
        return target
    }
}

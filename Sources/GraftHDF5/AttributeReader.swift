import CHDF5
import Glibc
import GraftCore

/// Reads attributes in the helper process.
struct AttributeReader {
    /// The attribute's place, for messages.
    let path: String
    let limits: Limits

    private struct NameList {
        var names: [String] = []
        var room: Int
        var hasUnreadableName = false
    }

    /// The names of the attributes of an object.
    static func names(of object: borrowing Handle, path: String, limit: Int) throws -> [String] {
        var list = NameList(room: limit)
        let status = withUnsafeMutablePointer(to: &list) { list in
            H5Aiterate2(
                object.id, H5_INDEX_NAME, H5_ITER_INC, nil,
                { _, name, _, data in
                    guard let name, let list = data?.assumingMemoryBound(to: NameList.self) else { return -1 }
                    guard let text = String(validatingCString: name) else {
                        list.pointee.hasUnreadableName = true
                        return -1
                    }
                    list.pointee.room -= 1
                    guard list.pointee.room >= 0 else { return -1 }
                    list.pointee.names.append(text)
                    return 0
                }, list)
        }
        guard list.room >= 0 else { throw DecodingFailure(.tooManyObjects, object: path) }
        guard !list.hasUnreadableName else {
            throw DecodingFailure(.damaged, object: path, detail: "the name of an attribute is not UTF-8")
        }
        guard status >= 0 else { throw DecodingFailure(.damaged, object: path, detail: "its attributes are broken") }
        return list.names
    }

    /// The value of an attribute.
    func read(_ name: String, of object: borrowing Handle) throws -> HDF5Attribute {
        guard let attribute = Handle(H5Aopen(object.id, name, hid_t(H5P_DEFAULT)), close: H5Aclose),
            let space = Handle(H5Aget_space(attribute.id), close: H5Sclose),
            let type = Handle(H5Aget_type(attribute.id), close: H5Tclose)
        else { throw damaged("it cannot be opened") }
        guard H5Sget_simple_extent_type(space.id) != H5S_NULL else { return .empty }
        let shape = try Dataspace.shape(of: space, path: path)
        guard let count = Checked.product(shape), count <= limits.objectCount else {
            throw DecodingFailure(.oversizedText, object: path)
        }
        switch StoredType(type.id) {
        case .unsupported(let text): return .unsupported(text)
        case .opaque: return .unsupported("opaque bytes")
        case .elements(let element, _):
            guard let bytes = element.byteCount(elements: count), bytes <= limits.textBytes,
                let memory = StoredType.memoryType(of: element)
            else { throw DecodingFailure(.oversizedText, object: path) }
            let buffer = ByteBuffer(count: bytes)
            if count > 0 {
                guard H5Aread(attribute.id, memory.id, buffer.mutableBytes.baseAddress) >= 0 else {
                    throw damaged("its value cannot be read")
                }
            }
            return .tensor(try Tensor(element, shape: shape, storage: .owned(buffer)))
        case .strings(let format):
            let width = format.fixedLength ?? MemoryLayout<UnsafeMutablePointer<CChar>?>.size
            let (bytes, overflow) = width.multipliedReportingOverflow(by: count)
            guard !overflow, bytes <= limits.textBytes, let memory = StoredType.stringType(format) else {
                throw DecodingFailure(.oversizedText, object: path)
            }
            let buffer = ByteBuffer(count: bytes, zeroed: true)
            if count > 0 {
                guard H5Aread(attribute.id, memory.id, buffer.mutableBytes.baseAddress) >= 0 else {
                    throw damaged("its text cannot be read")
                }
            }
            let elements = StoredText.elements(buffer, count: count, format: format, limit: limits.textBytes)
            if format.fixedLength == nil && count > 0 {
                H5Dvlen_reclaim(memory.id, space.id, hid_t(H5P_DEFAULT), buffer.mutableBytes.baseAddress)
            }
            guard let elements else { throw DecodingFailure(.oversizedText, object: path) }
            return .strings(HDF5Strings(elements: elements, shape: shape, format: format))
        }
    }

    private func damaged(_ detail: String) -> DecodingFailure {
        DecodingFailure(.damaged, object: path, detail: detail)
    }
}

/// The extents of data sets and attributes.
enum Dataspace {
    /// The dimensions; empty for a scalar.
    static func shape(of space: borrowing Handle, path: String) throws -> [Int] {
        let rank = H5Sget_simple_extent_ndims(space.id)
        guard rank >= 0, rank <= Int32(H5S_MAX_RANK) else {
            throw DecodingFailure(.damaged, object: path, detail: "its rank is not possible")
        }
        var dimensions = [hsize_t](repeating: 0, count: Int(rank))
        guard rank == 0 || H5Sget_simple_extent_dims(space.id, &dimensions, nil) >= 0 else {
            throw DecodingFailure(.damaged, object: path, detail: "its shape cannot be read")
        }
        let shape = dimensions.compactMap { Int(exactly: $0) }
        guard shape.count == dimensions.count, Checked.product(shape) != nil else {
            throw DecodingFailure(.damaged, object: path, detail: "its shape \(dimensions) is not possible")
        }
        return shape
    }
}

/// Takes texts out of the memory that the library filled.
enum StoredText {
    /// The texts without padding, or nil where they are longer than `limit` together.
    static func elements(_ buffer: ByteBuffer, count: Int, format: HDF5StringFormat, limit: Int) -> [[UInt8]]? {
        var elements: [[UInt8]] = []
        elements.reserveCapacity(count)
        var total = 0
        for index in 0..<count {
            let element: [UInt8]
            if let width = format.fixedLength {
                element = trimmed(buffer.bytes[(index * width)..<(index * width + width)], format.padding)
            } else {
                let offset = index * MemoryLayout<UnsafePointer<CChar>?>.size
                let pointer = buffer.bytes.load(fromByteOffset: offset, as: UnsafePointer<CChar>?.self)
                element = pointer.map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) } ?? []
            }
            total += element.count + 16
            guard total <= limit else { return nil }
            elements.append(element)
        }
        return elements
    }

    private static func trimmed(_ bytes: Slice<UnsafeRawBufferPointer>, _ padding: HDF5StringFormat.Padding) -> [UInt8]
    {
        switch padding {
        case .nullTerminated: return Array(bytes.prefix { $0 != 0 })
        case .nullPadded, .spacePadded:
            let filler: UInt8 = padding == .nullPadded ? 0 : 0x20
            let end = bytes.lastIndex { $0 != filler }.map { $0 + 1 } ?? bytes.startIndex
            return Array(bytes[bytes.startIndex..<end])
        }
    }
}

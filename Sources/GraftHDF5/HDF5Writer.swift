import CHDF5
import GraftCore
import OrderedCollections
import Synchronization

/// Writes trees of groups and data sets in the form that Keras and h5py write.
///
/// Superblock version 0, groups as symbol tables, contiguous little-endian data sets without filters, no times: the
/// same tree gives the same bytes. One tensor at a time is in memory where its bytes are produced on demand, none where
/// they are mapped.
public enum HDF5Writer {
    // The HDF5 library is not thread-safe.
    private static let lock = Mutex(())

    /// Creates or replaces the file at `path`.
    ///
    /// - Throws: ``HDF5Error``, `FileError`, and what tensors throw whose bytes are produced on demand; the old file is
    ///   as it was then.
    public static func write(_ root: HDF5Group, to path: String, durability: Durability = .synced) throws {
        try check(root, path: "")
        try lock.withLock { _ in
            guard Handle.startLibrary() else {
                throw HDF5Error.cannotWrite(path: path, object: "/", operation: "start")
            }
            try AtomicFile.replace(path, durability: durability) { temporary in
                let session = WritingSession(path: path)
                let file = try session.check(
                    H5Fcreate(temporary, graft_h5f_exclusive(), hid_t(H5P_DEFAULT), hid_t(H5P_DEFAULT)),
                    close: H5Fclose, "/", "create the file")
                let group = try session.check(
                    H5Gopen2(file.id, "/", hid_t(H5P_DEFAULT)), close: H5Gclose, "/", "open the group")
                try session.fill(group, with: root, path: "")
                try session.check(H5Fflush(file.id, H5F_SCOPE_GLOBAL), "/", "write the file")
            }
        }
    }

    /// Finds what cannot be stored before anything is written.
    private static func check(_ group: HDF5Group, path: String) throws(HDF5Error) {
        try check(group.attributes, path: path.isEmpty ? "/" : path)
        for (name, child) in group.children {
            let childPath = "\(path)/\(name)"
            guard !name.isEmpty, name != ".", !name.contains("/"), !name.utf8.contains(0) else {
                throw .cannotStore(object: childPath, reason: "its name is empty or holds a slash or a zero")
            }
            switch child {
            case .group(let group): try check(group, path: childPath)
            case .dataset(let dataset):
                try check(dataset.attributes, path: childPath)
                guard let tensor = dataset.tensor else {
                    throw .cannotStore(object: childPath, reason: "its elements were not read")
                }
                guard tensor.elementType == .string || StoredForm.isStorable(tensor.elementType) else {
                    throw .cannotStore(
                        object: childPath, reason: "there is no form for elements of type \(tensor.elementType.name)")
                }
            }
        }
    }

    private static func check(
        _ attributes: OrderedDictionary<String, HDF5Attribute>, path: String
    ) throws(HDF5Error) {
        for (name, value) in attributes {
            let object = "\(path)@\(name)"
            guard !name.isEmpty, !name.utf8.contains(0) else {
                throw .cannotStore(object: object, reason: "its name is empty or holds a zero")
            }
            switch value {
            case .unsupported(let type): throw .cannotStore(object: object, reason: "it holds \(type)")
            case .tensor(let tensor) where StoredType.memoryType(of: tensor.elementType) == nil:
                throw .cannotStore(
                    object: object, reason: "there is no form for elements of type \(tensor.elementType.name)")
            default: break
            }
        }
    }
}

/// How the elements of a tensor are stored.
private enum StoredForm {
    static func isStorable(_ type: ElementType) -> Bool {
        OpaqueElements.name(of: type) != nil || StoredType.memoryType(of: type) != nil
    }

    /// The type in the file; formats that HDF5 does not know become opaque bytes.
    static func type(of element: ElementType) -> Handle? {
        OpaqueElements.name(of: element) != nil
            ? StoredType.opaqueType(size: element.byteWidth) : StoredType.memoryType(of: element)
    }
}

/// The calls that write one file; every result passes through ``check``.
private struct WritingSession {
    let path: String

    func fill(_ handle: borrowing Handle, with group: HDF5Group, path: String) throws {
        try write(group.attributes, to: handle, path: path.isEmpty ? "/" : path)
        for (name, child) in group.children {
            let childPath = "\(path)/\(name)"
            switch child {
            case .group(let group):
                let created = try check(
                    H5Gcreate2(handle.id, name, hid_t(H5P_DEFAULT), hid_t(H5P_DEFAULT), hid_t(H5P_DEFAULT)),
                    close: H5Gclose, childPath, "create the group")
                try fill(created, with: group, path: childPath)
            case .dataset(let dataset): try write(dataset, name: name, to: handle, path: childPath)
            }
        }
    }

    private func write(_ dataset: HDF5Dataset, name: String, to group: borrowing Handle, path: String) throws {
        guard let tensor = dataset.tensor else { return }
        let isText = tensor.elementType == .string
        let type = try check(
            isText
                ? StoredType.stringType(HDF5StringFormat(characters: .utf8))
                : StoredForm.type(of: tensor.elementType), path, "make the type")
        let space = try dataspace(tensor.shape, path)
        let creation = try check(H5Pcreate(graft_h5p_dataset_create()), close: H5Pclose, path, "set properties")
        try check(H5Pset_obj_track_times(creation.id, false), path, "set properties")
        let created = try check(
            H5Dcreate2(
                group.id, name, type.id, space.id, hid_t(H5P_DEFAULT), creation.id, hid_t(H5P_DEFAULT)),
            close: H5Dclose, path, "create the data set")
        if tensor.count > 0 {
            if isText, case .strings(let elements) = tensor.storage {
                try withVariableStrings(elements) { pointers in
                    try check(
                        H5Dwrite(
                            created.id, type.id, hid_t(H5S_ALL), hid_t(H5S_ALL), hid_t(H5P_DEFAULT), pointers),
                        path, "write the texts")
                }
            } else {
                try tensor.withBytes { bytes in
                    try check(
                        H5Dwrite(
                            created.id, type.id, hid_t(H5S_ALL), hid_t(H5S_ALL), hid_t(H5P_DEFAULT), bytes.baseAddress),
                        path, "write the elements")
                }
            }
        }
        var attributes = dataset.attributes
        if let name = OpaqueElements.name(of: tensor.elementType), attributes[OpaqueElements.attribute] == nil {
            attributes[OpaqueElements.attribute] = .string(name)
        }
        try write(attributes, to: created, path: path)
    }

    private func write(
        _ attributes: OrderedDictionary<String, HDF5Attribute>, to object: borrowing Handle, path: String
    ) throws {
        for (name, value) in attributes {
            let place = "\(path)@\(name)"
            switch value {
            case .unsupported: break
            case .empty:
                let space = try check(H5Screate(H5S_NULL), close: H5Sclose, place, "make the extent")
                let type = try check(StoredType.memoryType(of: .float32), place, "make the type")
                _ = try create(name, of: object, type, space, place)
            case .tensor(let tensor):
                let type = try check(StoredType.memoryType(of: tensor.elementType), place, "make the type")
                let attribute = try create(name, of: object, type, try dataspace(tensor.shape, place), place)
                guard tensor.count > 0 else { continue }
                try tensor.withBytes { bytes in
                    try check(H5Awrite(attribute.id, type.id, bytes.baseAddress), place, "write the value")
                }
            case .strings(let strings):
                let type = try check(StoredType.stringType(strings.format), place, "make the type")
                let attribute = try create(name, of: object, type, try dataspace(strings.shape, place), place)
                guard !strings.elements.isEmpty else { continue }
                if let width = strings.format.fixedLength {
                    let filler: UInt8 = strings.format.padding == .spacePadded ? 0x20 : 0
                    let bytes = strings.elements.flatMap { element in
                        element.prefix(width) + [UInt8](repeating: filler, count: max(width - element.count, 0))
                    }
                    try check(H5Awrite(attribute.id, type.id, bytes), place, "write the texts")
                } else {
                    try withVariableStrings(strings.elements) { pointers in
                        try check(H5Awrite(attribute.id, type.id, pointers), place, "write the texts")
                    }
                }
            }
        }
    }

    private func create(
        _ name: String, of object: borrowing Handle, _ type: borrowing Handle, _ space: borrowing Handle,
        _ place: String
    ) throws(HDF5Error) -> Handle {
        try check(
            H5Acreate2(object.id, name, type.id, space.id, hid_t(H5P_DEFAULT), hid_t(H5P_DEFAULT)), close: H5Aclose,
            place, "create the attribute (one attribute holds less than 64 KiB)")
    }

    private func dataspace(_ shape: [Int], _ place: String) throws(HDF5Error) -> Handle {
        let dimensions = shape.map { hsize_t($0) }
        return try check(
            shape.isEmpty ? H5Screate(H5S_SCALAR) : H5Screate_simple(Int32(shape.count), dimensions, nil),
            close: H5Sclose, place, "make the extent")
    }

    /// Calls `body` with one zero-terminated text for each element.
    private func withVariableStrings<R>(
        _ elements: [[UInt8]], _ body: (UnsafeRawPointer?) throws -> R
    ) rethrows -> R {
        var bytes: [UInt8] = []
        var starts: [Int] = []
        for element in elements {
            starts.append(bytes.count)
            bytes += element
            bytes.append(0)
        }
        return try bytes.withUnsafeBufferPointer { bytes in
            try starts.map { bytes.baseAddress! + $0 }.withUnsafeBytes { try body($0.baseAddress) }
        }
    }

    func check(_ status: herr_t, _ object: String, _ operation: String) throws(HDF5Error) {
        guard status >= 0 else { throw .cannotWrite(path: path, object: object, operation: operation) }
    }

    func check(
        _ id: hid_t, close: @escaping (hid_t) -> herr_t, _ object: String, _ operation: String
    ) throws(HDF5Error) -> Handle {
        try check(Handle(id, close: close), object, operation)
    }

    func check(_ handle: consuming Handle?, _ object: String, _ operation: String) throws(HDF5Error) -> Handle {
        guard let handle else { throw .cannotWrite(path: path, object: object, operation: operation) }
        return handle
    }
}

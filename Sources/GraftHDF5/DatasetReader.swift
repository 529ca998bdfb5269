import CHDF5
import GraftCore

/// Reads data sets in the helper process: decides how, and decodes those that cannot be mapped.
struct DatasetReader {
    /// How the elements reach the parent.
    enum Plan {
        /// They lie in the file as the tensor needs them, from this offset.
        case mapped(ElementType, offset: Int)
        /// They are decoded through the library as `memory`, and are of type `type` (the two differ for opaque bytes).
        case deferred(memory: Memory, type: ElementType)
        /// They are texts.
        case strings(HDF5StringFormat)
        /// They are not read.
        case unsupported(String)
    }

    /// The type that the library converts to.
    enum Memory {
        case elements(ElementType)
        case opaque(size: Int)
    }

    let path: String
    let shape: [Int]
    let plan: Plan
    /// The number of bytes of all elements in memory.
    let byteCount: Int
    private let limits: Limits
    private let elementSize: Int

    init(_ dataset: borrowing Handle, path: String, limits: Limits) throws {
        self.path = path
        self.limits = limits
        func damaged(_ detail: String) -> DecodingFailure { DecodingFailure(.damaged, object: path, detail: detail) }
        guard let creation = Handle(H5Dget_create_plist(dataset.id), close: H5Pclose),
            let space = Handle(H5Dget_space(dataset.id), close: H5Sclose),
            let type = Handle(H5Dget_type(dataset.id), close: H5Tclose)
        else { throw damaged("its header cannot be read") }

        let layout = H5Pget_layout(creation.id)
        guard layout != H5D_VIRTUAL else { throw DecodingFailure(.virtualDataset, object: path) }
        guard H5Pget_external_count(creation.id) == 0 else { throw DecodingFailure(.externalStorage, object: path) }
        if layout == H5D_CHUNKED { try Self.checkFilters(creation, path: path) }

        guard H5Sget_simple_extent_type(space.id) != H5S_NULL else {
            (shape, byteCount, elementSize, plan) = ([0], 0, 0, .unsupported("no elements"))
            return
        }
        shape = try Dataspace.shape(of: space, path: path)
        let memory: Memory
        let element: ElementType
        let isNative: Bool
        switch StoredType(type.id) {
        case .unsupported(let text):
            (byteCount, elementSize, plan) = (0, 0, .unsupported(text))
            return
        case .strings(let format):
            elementSize = format.fixedLength ?? MemoryLayout<UnsafePointer<CChar>?>.size
            let (bytes, overflow) = elementSize.multipliedReportingOverflow(by: Checked.product(shape) ?? .max)
            guard !overflow, bytes <= limits.textBytes else { throw DecodingFailure(.oversizedText, object: path) }
            (byteCount, plan) = (bytes, .strings(format))
            return
        case .opaque(let size):
            guard let name = try Self.typeName(of: dataset, path: path, limits: limits),
                let named = OpaqueElements.type(named: name, size: size)
            else {
                (byteCount, elementSize, plan) = (0, 0, .unsupported("opaque elements of \(size) bytes"))
                return
            }
            (memory, element, isNative) = (.opaque(size: size), named, true)
        case .elements(let stored, let native):
            (memory, element, isNative) = (.elements(stored), stored, native)
        }
        elementSize = element.byteWidth
        guard let count = Checked.product(shape), let bytes = element.byteCount(elements: count) else {
            throw damaged("its shape \(shape) is not possible")
        }
        byteCount = bytes

        let stored = Int(exactly: H5Dget_storage_size(dataset.id)) ?? 0
        let floor = 64 << 20
        if bytes > floor && bytes / max(limits.expansionRatio, 1) > stored {
            throw DecodingFailure(.inflatedSize, object: path)
        }
        let address = H5Dget_offset(dataset.id)
        if layout == H5D_CONTIGUOUS, isNative, stored == bytes, address != graft_h5_undefined_address(),
            let offset = Int(exactly: address)
        {
            plan = .mapped(element, offset: offset)
            return
        }
        guard bytes <= limits.decodedTensorBytes else { throw DecodingFailure(.oversizedDataset, object: path) }
        plan = .deferred(memory: memory, type: element)
    }

    /// Sends all elements, row-major, in pieces of bounded size.
    func read(_ memory: Memory, from dataset: borrowing Handle, to writer: ManifestWriter) throws {
        guard byteCount > 0 else { return }
        let type: Handle? =
            switch memory {
            case .elements(let element): StoredType.memoryType(of: element)
            case .opaque(let size): StoredType.opaqueType(size: size)
            }
        guard let type else { throw failure("its type cannot be converted") }
        try forEachBlock(of: dataset) { (memorySpace: borrowing Handle, fileSpace: borrowing Handle, count: Int) in
            let buffer = ByteBuffer(count: count * elementSize)
            guard
                H5Dread(
                    dataset.id, type.id, memorySpace.id, fileSpace.id, hid_t(H5P_DEFAULT),
                    buffer.mutableBytes.baseAddress) >= 0
            else { throw failure("its elements cannot be decoded") }
            writer.raw(buffer.bytes)
        }
    }

    /// The texts of a data set of texts.
    func strings(_ format: HDF5StringFormat, from dataset: borrowing Handle) throws -> HDF5Strings {
        guard let type = StoredType.stringType(format) else { throw failure("its type cannot be converted") }
        var elements: [[UInt8]] = []
        var total = 0
        if byteCount > 0 {
            try forEachBlock(of: dataset) { (memorySpace: borrowing Handle, fileSpace: borrowing Handle, count: Int) in
                let buffer = ByteBuffer(count: count * elementSize, zeroed: true)
                guard
                    H5Dread(
                        dataset.id, type.id, memorySpace.id, fileSpace.id, hid_t(H5P_DEFAULT),
                        buffer.mutableBytes.baseAddress) >= 0
                else { throw failure("its texts cannot be read") }
                let part = StoredText.elements(buffer, count: count, format: format, limit: limits.textBytes - total)
                if format.fixedLength == nil {
                    H5Dvlen_reclaim(type.id, memorySpace.id, hid_t(H5P_DEFAULT), buffer.mutableBytes.baseAddress)
                }
                guard let part else { throw DecodingFailure(.oversizedText, object: path) }
                total += part.reduce(0) { $0 + $1.count + 16 }
                elements += part
            }
        }
        return HDF5Strings(elements: elements, shape: shape, format: format)
    }

    /// Calls `body` for consecutive blocks that are at most 16 MiB and together are all elements in order.
    private func forEachBlock(
        of dataset: borrowing Handle,
        _ body: (_ memory: borrowing Handle, _ file: borrowing Handle, _ count: Int) throws -> Void
    ) throws {
        guard let fileSpace = Handle(H5Dget_space(dataset.id), close: H5Sclose) else { throw failure("no extent") }
        let blockElements = max((16 << 20) / max(elementSize, 1), 1)
        // The axis along which blocks are cut: everything behind it fits a block.
        var axis = shape.count
        var inner = 1
        while axis > 0, inner * shape[axis - 1] <= blockElements {
            inner *= shape[axis - 1]
            axis -= 1
        }
        if axis == 0 {
            guard let memorySpace = Handle(H5Screate_simple(1, [hsize_t(inner)], nil), close: H5Sclose) else {
                throw failure("no memory")
            }
            guard H5Sselect_all(fileSpace.id) >= 0 else { throw failure("no selection") }
            try body(memorySpace, fileSpace, inner)
            return
        }
        let cut = axis - 1
        let rows = max(blockElements / inner, 1)
        var start = [Int](repeating: 0, count: shape.count)
        while true {
            let extent = min(rows, shape[cut] - start[cut])
            let counts = shape.indices.map { $0 < cut ? 1 : $0 == cut ? extent : shape[$0] }
            guard
                H5Sselect_hyperslab(
                    fileSpace.id, H5S_SELECT_SET, start.map { hsize_t($0) }, nil, counts.map { hsize_t($0) }, nil) >= 0,
                let memorySpace = Handle(H5Screate_simple(1, [hsize_t(extent * inner)], nil), close: H5Sclose)
            else { throw failure("no selection") }
            try body(memorySpace, fileSpace, extent * inner)
            start[cut] += extent
            var index = cut
            while start[index] >= shape[index] {
                if index == 0 { return }
                start[index] = 0
                index -= 1
                start[index] += 1
            }
        }
    }

    private func failure(_ detail: String) -> DecodingFailure {
        DecodingFailure(.damaged, object: path, detail: detail)
    }

    private static func checkFilters(_ creation: borrowing Handle, path: String) throws {
        let allowed = [Int(H5Z_FILTER_DEFLATE), Int(H5Z_FILTER_SHUFFLE), Int(H5Z_FILTER_FLETCHER32)]
        let count = H5Pget_nfilters(creation.id)
        guard count >= 0 else { throw DecodingFailure(.damaged, object: path, detail: "its filters cannot be read") }
        for index in 0..<count {
            var flags: UInt32 = 0
            var values = 0
            var configuration: UInt32 = 0
            let filter = H5Pget_filter2(creation.id, UInt32(index), &flags, &values, nil, 0, nil, &configuration)
            guard allowed.contains(Int(filter)) else { throw DecodingFailure(.filter, object: path) }
        }
    }

    /// The name of the number format of opaque elements.
    private static func typeName(of dataset: borrowing Handle, path: String, limits: Limits) throws -> String? {
        guard H5Aexists(dataset.id, OpaqueElements.attribute) > 0 else { return nil }
        let reader = AttributeReader(path: "\(path)@\(OpaqueElements.attribute)", limits: limits)
        return try reader.read(OpaqueElements.attribute, of: dataset).string
    }
}

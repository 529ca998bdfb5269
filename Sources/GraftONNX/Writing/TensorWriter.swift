import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension WriteContext {
    /// The message of a tensor.
    ///
    /// - Parameters:
    ///   - stored: the tensor with its remarks.
    ///   - name: the name of its value; nil for a literal, which has its own.
    func tensor(
        _ stored: StoredTensor, name: String? = nil, of place: @autoclosure () -> String
    ) throws(ONNXError) -> UnsafeMutablePointer<Onnx__TensorProto> {
        let message = try message(Onnx__TensorProto.self, from: stored.carried, of: place())
        let tensor = stored.tensor
        let name = name ?? stored.name
        let label = name.isEmpty ? place() : name
        (message.pointee.n_dims, message.pointee.dims) = list(tensor.shape.map { Int64($0) })
        message.pointee.has_data_type = 1
        message.pointee.data_type = tensor.elementType.rawValue
        set(name, stored.carried, 8, &message.pointee.has_name, &message.pointee.name)
        set(stored.docString, stored.carried, 12, &message.pointee.has_doc_string, &message.pointee.doc_string)
        (message.pointee.n_metadata_props, message.pointee.metadata_props) = try entries(
            stored.metadata, of: label)
        if stored.carried.isExplicit(14) { message.pointee.has_data_location = 1 }

        do {
            try setData(of: message, stored, label: label)
        } catch let error as ONNXError {
            throw error
        } catch {
            throw .cannotWrite(path: path, place: "tensor \"\(label)\"", reason: "\(error)")
        }
        return message
    }

    /// The message of a sparse tensor; its values have the name.
    func tensor(
        _ stored: StoredSparseTensor, name: String? = nil, of place: @autoclosure () -> String
    ) throws(ONNXError) -> UnsafeMutablePointer<Onnx__SparseTensorProto> {
        let message = try message(Onnx__SparseTensorProto.self, from: stored.carried, of: place())
        message.pointee.values = try tensor(stored.values, name: name, of: "the values of \(place())")
        message.pointee.indices = try tensor(stored.indices, of: "the indices of \(place())")
        (message.pointee.n_dims, message.pointee.dims) = list(stored.shape.map { Int64($0) })
        return message
    }

    private func setData(
        of message: UnsafeMutablePointer<Onnx__TensorProto>, _ stored: StoredTensor, label: String
    ) throws {
        let tensor = stored.tensor
        if let entries = placement.entries(for: stored, label: label) {
            clearLists(of: message)
            (message.pointee.n_external_data, message.pointee.external_data) = try self.entries(entries, of: label)
            message.pointee.has_data_location = 1
            message.pointee.data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL
            return
        }
        if case .strings(let elements) = tensor.storage {
            (message.pointee.n_string_data, message.pointee.string_data) = list(
                elements.map { data($0, count: $0.count) })
            return
        }
        if stored.encoding == .typed {
            if try !carriesData(of: tensor, in: message.pointee) {
                clearList(TypedData.list(of: tensor.elementType), of: message)
                try setTypedData(of: message, tensor)
            }
        } else {
            clearList(TypedData.list(of: tensor.elementType), of: message)
            message.pointee.has_raw_data = 1
            message.pointee.raw_data = data(tensor.storage, count: tensor.byteCount)
        }
    }

    private func setTypedData(of message: UnsafeMutablePointer<Onnx__TensorProto>, _ tensor: Tensor) throws {
        let type = tensor.elementType
        guard let count = TypedData.entryCount(type, elements: tensor.count), count > 0 else { return }
        // The list is held as a whole: widened, or the tensor's own bytes where the entries are its elements.
        func widened<T>(_ type: T.Type, _ fill: (UnsafeRawBufferPointer, UnsafeMutableBufferPointer<T>) -> Void) throws
            -> UnsafeMutablePointer<T>
        {
            let entries = arena.array(of: T.self, count: count)
            try tensor.withBytes { fill($0, UnsafeMutableBufferPointer(start: entries, count: count)) }
            return entries
        }
        func copied<T: BitwiseCopyable>(_ type: T.Type) throws -> UnsafeMutablePointer<T> {
            try widened(type) { UnsafeMutableRawBufferPointer($1).copyMemory(from: $0) }
        }
        // protobuf-c hands lists of floating-point numbers on as they are, so their bytes need not be in memory.
        func streamed<T>(_ type: T.Type) -> UnsafeMutablePointer<T>? {
            data(tensor.storage, count: tensor.byteCount).data.map {
                UnsafeMutableRawPointer($0).assumingMemoryBound(to: type)
            }
        }
        switch TypedData.list(of: type) {
        case .float:
            message.pointee.n_float_data = count
            message.pointee.float_data = streamed(Float.self)
        case .double:
            message.pointee.n_double_data = count
            message.pointee.double_data = streamed(Double.self)
        case .int64:
            message.pointee.n_int64_data = count
            message.pointee.int64_data = try copied(Int64.self)
        case .uint64:
            message.pointee.n_uint64_data = count
            message.pointee.uint64_data =
                type == .uint64
                ? try copied(UInt64.self)
                : try widened(UInt64.self) { bytes, entries in
                    for index in entries.indices {
                        entries[index] = UInt64(bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
                    }
                }
        case .int32:
            message.pointee.n_int32_data = count
            message.pointee.int32_data = try widened(Int32.self) { TypedData.widen($0, type: type, into: $1) }
        case .string: break
        }
    }

    /// Whether the message already holds, from the file, entries that mean the tensor's bytes.
    private func carriesData(of tensor: Tensor, in message: Onnx__TensorProto) throws -> Bool {
        let type = tensor.elementType
        guard let wanted = TypedData.entryCount(type, elements: tensor.count) else { return false }
        let narrowed = ByteBuffer(count: tensor.byteCount)
        switch TypedData.list(of: type) {
        case .int32:
            guard message.n_int32_data > 0, message.n_int32_data == wanted else { return false }
            _ = TypedData.narrow(
                UnsafeBufferPointer<Int32>(start: message.int32_data, count: wanted), type: type,
                into: narrowed.mutableBytes)
        case .uint64:
            guard message.n_uint64_data > 0, message.n_uint64_data == wanted else { return false }
            _ = TypedData.narrow(
                UnsafeBufferPointer<UInt64>(start: message.uint64_data, count: wanted), type: type,
                into: narrowed.mutableBytes)
        default: return false
        }
        return try withExtendedLifetime(narrowed) { try tensor.withBytes { $0.elementsEqual(narrowed.bytes) } }
    }

    private func clearList(_ list: TypedData.List, of message: UnsafeMutablePointer<Onnx__TensorProto>) {
        switch list {
        case .float: message.pointee.n_float_data = 0
        case .int32: message.pointee.n_int32_data = 0
        case .string: message.pointee.n_string_data = 0
        case .int64: message.pointee.n_int64_data = 0
        case .double: message.pointee.n_double_data = 0
        case .uint64: message.pointee.n_uint64_data = 0
        }
    }

    private func clearLists(of message: UnsafeMutablePointer<Onnx__TensorProto>) {
        for list: TypedData.List in [.float, .int32, .string, .int64, .double, .uint64] { clearList(list, of: message) }
    }
}

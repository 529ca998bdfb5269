import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension ReadContext {
    /// A tensor with its remarks; its data stays in the file where it can.
    ///
    /// - Parameter place: what the tensor belongs to, for a tensor without a name.
    func stored(
        _ pointer: UnsafeMutablePointer<Onnx__TensorProto>, of place: @autoclosure () -> String
    ) throws(ONNXError) -> StoredTensor {
        let message = pointer.pointee
        let name = try text(message.name, "name", of: place())
        let label = name.isEmpty ? place() : name
        func invalid(_ reason: String) -> ONNXError { .invalidTensor(path: path, tensor: label, reason: reason) }

        guard let type = ElementType(rawValue: message.data_type) else {
            throw invalid("the element type has the code \(message.data_type), which ONNX IR version 14 does not have")
        }
        let shape = UnsafeBufferPointer(start: message.dims, count: message.n_dims).map { Int($0) }
        guard let count = Checked.product(shape) else { throw invalid("the shape \(shape) is not possible") }

        let own = TypedData.list(of: type)
        let listRange = mappedList(message, own)
        let isExternal = message.data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL
        guard isExternal || message.data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT else {
            throw invalid("the data location has the code \(message.data_location.rawValue), which ONNX does not have")
        }
        let ownCount = listRange.map { $0.count / own.entryWidth } ?? entryCount(message, own)
        var isExact = true
        let tensor: Tensor
        var encoding = StoredTensor.Encoding.typed
        do {
            if isExternal {
                guard message.has_raw_data == 0, ownCount == 0 else {
                    throw invalid("the data is in another file and also in this one")
                }
                let entries = try metadata(message.external_data, message.n_external_data, "external_data", of: label)
                encoding = .external(entries)
                tensor = try external(type, shape: shape, count: count, entries: entries, label: label)
            } else if message.has_raw_data != 0 {
                guard ownCount == 0 else { throw invalid("the data is in raw_data and also in \(own.field.name)") }
                guard type != .string else { throw invalid("strings cannot be in raw_data") }
                guard let range = range(of: message.raw_data) else { throw invalid("the data lies outside the file") }
                encoding = .raw
                tensor = try Tensor(type, shape: shape, storage: .mapped(file, range))
            } else {
                guard let wanted = TypedData.entryCount(type, elements: count), wanted == ownCount else {
                    throw invalid(
                        "a \(type.name) tensor of shape \(shape) does not have \(ownCount) entries in \(own.field.name)"
                    )
                }
                if let listRange {
                    tensor = try Tensor(type, shape: shape, storage: .mapped(file, listRange))
                } else {
                    (tensor, isExact) = try typed(message, type: type, shape: shape, own: own)
                }
            }
        } catch let error as TensorError {
            throw invalid(error.description)
        } catch let error as ONNXError {
            throw error
        } catch {
            throw invalid("\(error)")
        }

        var carried = Carried.nothing
        carried.note(8, message.has_name, message.name)
        carried.note(12, message.has_doc_string, message.doc_string)
        carried.note(14, message.has_data_location, message.data_location.rawValue)
        carried.fields = rest(of: message, own: own, keepsOwn: !isExact, isExternal: isExternal)
        return StoredTensor(
            tensor, name: name, docString: try text(message.doc_string, "doc_string", of: label),
            metadata: try metadata(message.metadata_props, message.n_metadata_props, "metadata_props", of: label),
            encoding: encoding, carried: carried)
    }

    /// A sparse tensor in coordinate form.
    func stored(
        _ pointer: UnsafeMutablePointer<Onnx__SparseTensorProto>, of place: @autoclosure () -> String
    ) throws(ONNXError) -> StoredSparseTensor {
        let message = pointer.pointee
        guard let values = message.values, let indices = message.indices else {
            throw .invalidTensor(path: path, tensor: place(), reason: "a sparse tensor has no values or no indices")
        }
        return StoredSparseTensor(
            values: try stored(values, of: "the values of \(place())"),
            indices: try stored(indices, of: "the indices of \(place())"),
            shape: UnsafeBufferPointer(start: message.dims, count: message.n_dims).map { Int($0) },
            carried: Carried(fields: residual(message)))
    }

    private func entryCount(_ message: Onnx__TensorProto, _ list: TypedData.List) -> Int {
        switch list {
        case .float: message.n_float_data
        case .int32: message.n_int32_data
        case .string: message.n_string_data
        case .int64: message.n_int64_data
        case .double: message.n_double_data
        case .uint64: message.n_uint64_data
        }
    }

    /// Where the list lies in the file, for a large list that stays there.
    private func mappedList(_ message: Onnx__TensorProto, _ list: TypedData.List) -> Range<Int>? {
        switch list {
        case .float: range(of: message.float_data, count: 4 * message.n_float_data)
        case .double: range(of: message.double_data, count: 8 * message.n_double_data)
        default: nil
        }
    }

    /// The tensor in a typed list, and whether the list is what writing the tensor would give.
    private func typed(
        _ message: Onnx__TensorProto, type: ElementType, shape: [Int], own: TypedData.List
    ) throws -> (Tensor, isExact: Bool) {
        func tensor(_ fill: (UnsafeMutableRawBufferPointer) -> Bool) throws -> (Tensor, Bool) {
            let count = Checked.product(shape) ?? 0
            guard let bytes = type.byteCount(elements: count) else { throw TensorError.invalidShape(shape) }
            let buffer = ByteBuffer(count: bytes)
            let isExact = fill(buffer.mutableBytes)
            return (try Tensor(type, shape: shape, storage: .owned(buffer)), isExact)
        }
        func copy<T>(_ start: UnsafeMutablePointer<T>?, _ count: Int) throws -> (Tensor, Bool) {
            try tensor {
                $0.copyMemory(from: UnsafeRawBufferPointer(UnsafeBufferPointer(start: start, count: count)))
                return true
            }
        }
        switch own {
        case .float: return try copy(message.float_data, message.n_float_data)
        case .double: return try copy(message.double_data, message.n_double_data)
        case .int64: return try copy(message.int64_data, message.n_int64_data)
        case .uint64:
            let entries = UnsafeBufferPointer<UInt64>(start: message.uint64_data, count: message.n_uint64_data)
            return try tensor { TypedData.narrow(entries, type: type, into: $0) }
        case .int32:
            let entries = UnsafeBufferPointer<Int32>(start: message.int32_data, count: message.n_int32_data)
            return try tensor { TypedData.narrow(entries, type: type, into: $0) }
        case .string:
            let strings = UnsafeBufferPointer(start: message.string_data, count: message.n_string_data).map {
                [UInt8](UnsafeBufferPointer(start: $0.data, count: $0.len))
            }
            return (try Tensor(type, shape: shape, storage: .strings(strings)), true)
        }
    }

    /// The tensor in another file.
    private func external(
        _ type: ElementType, shape: [Int], count: Int, entries: Metadata, label: String
    ) throws -> Tensor {
        let location = entries["location"] ?? ""
        func refused(_ reason: String) -> ONNXError {
            .externalData(path: path, tensor: label, location: location, reason: reason)
        }
        func number(_ key: String) throws -> Int? {
            guard let text = entries[key] else { return nil }
            guard let value = Int(text), value >= 0 else { throw refused("the \(key) \"\(text)\" is no number") }
            return value
        }
        guard type != .string else { throw refused("strings cannot be external data") }
        guard let expected = type.byteCount(elements: count) else { throw TensorError.invalidShape(shape) }
        let offset = try number("offset") ?? 0
        let length = try number("length") ?? expected
        let data: MappedFile
        do { data = try external.file(at: location) } catch { throw refused(error.reason) }
        guard let range = Checked.range(offset: offset, count: length, within: data.count) else {
            throw refused("\(length) bytes at \(offset) go past the end of the file, which has \(data.count)")
        }
        return try Tensor(type, shape: shape, storage: .mapped(data, range))
    }

    /// What the IR has no word for: a segment, lists that the type does not use, entries wider than the elements.
    private func rest(
        of message: Onnx__TensorProto, own: TypedData.List, keepsOwn: Bool, isExternal: Bool
    ) -> [UInt8] {
        let foreign =
            message.n_float_data + message.n_int32_data + message.n_string_data + message.n_int64_data
            + message.n_double_data + message.n_uint64_data - entryCount(message, own)
        let hasEntries = !isExternal && message.n_external_data > 0
        guard message.segment != nil || foreign > 0 || keepsOwn || hasEntries || message.base.n_unknown_fields > 0
        else { return [] }
        return residual(message) { rest in
            defer { withUnsafeMutablePointer(to: &rest) { resolveReferences(below: $0) } }
            rest.segment = message.segment
            if hasEntries {
                rest.n_external_data = message.n_external_data
                rest.external_data = message.external_data
            }
            if own != .float || keepsOwn {
                rest.n_float_data = message.n_float_data
                rest.float_data = message.float_data
            }
            if own != .int32 || keepsOwn {
                rest.n_int32_data = message.n_int32_data
                rest.int32_data = message.int32_data
            }
            if own != .string || keepsOwn {
                rest.n_string_data = message.n_string_data
                rest.string_data = message.string_data
            }
            if own != .int64 || keepsOwn {
                rest.n_int64_data = message.n_int64_data
                rest.int64_data = message.int64_data
            }
            if own != .double || keepsOwn {
                rest.n_double_data = message.n_double_data
                rest.double_data = message.double_data
            }
            if own != .uint64 || keepsOwn {
                rest.n_uint64_data = message.n_uint64_data
                rest.uint64_data = message.uint64_data
            }
        }
    }
}

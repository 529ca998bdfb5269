import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

/// What every part of a write needs: the memory of the messages, and where the bytes of tensors come from.
final class WriteContext {
    let path: String
    let arena = Arena()
    /// Where external tensors go.
    let placement: ExternalPlacement
    /// The bytes behind the data pointers of tensors that are not simply in memory.
    private(set) var sources: [UnsafeRawPointer: TensorStorage] = [:]
    /// Buffers that messages point into.
    private var held: [ByteBuffer] = []

    init(path: String, placement: ExternalPlacement) {
        self.path = path
        self.placement = placement
    }

    /// A message that starts from what an entity carries.
    func message<M: ProtoMessage>(
        _ type: M.Type, from carried: Carried, of place: @autoclosure () -> String
    ) throws(ONNXError) -> UnsafeMutablePointer<M> {
        guard let message = arena.message(type, from: carried.fields) else {
            throw .cannotWrite(path: path, place: place(), reason: "what it carries from its file is damaged")
        }
        return message
    }

    /// Bytes that live as long as the write.
    func data(_ bytes: some Sequence<UInt8>, count: Int) -> ProtobufCBinaryData {
        guard count > 0 else { return ProtobufCBinaryData(len: 0, data: nil) }
        let copy = arena.array(of: UInt8.self, count: count)
        _ = UnsafeMutableBufferPointer(start: copy, count: count).initialize(from: bytes)
        return ProtobufCBinaryData(len: count, data: copy)
    }

    func data(_ text: String) -> ProtobufCBinaryData { data(text.utf8, count: text.utf8.count) }

    /// A list of pointers to messages.
    func list<T, Element>(
        _ elements: some Collection<Element>, _ make: (Element) throws(ONNXError) -> UnsafeMutablePointer<T>
    ) throws(ONNXError) -> (count: Int, start: UnsafeMutablePointer<UnsafeMutablePointer<T>?>?) {
        guard !elements.isEmpty else { return (0, nil) }
        let start = arena.array(of: UnsafeMutablePointer<T>?.self, count: elements.count)
        var count = 0
        for element in elements {
            (start + count).initialize(to: try make(element))
            count += 1
        }
        return (count, start)
    }

    /// A list of values.
    func list<T: BitwiseCopyable>(
        _ elements: some Collection<T>
    ) -> (count: Int, start: UnsafeMutablePointer<T>?) {
        guard !elements.isEmpty else { return (0, nil) }
        let start = arena.array(of: T.self, count: elements.count)
        _ = UnsafeMutableBufferPointer(start: start, count: elements.count).initialize(from: elements)
        return (elements.count, start)
    }

    /// Keeps a buffer alive until the write is over.
    func hold(_ buffer: ByteBuffer) -> UnsafeMutablePointer<UInt8> {
        held.append(buffer)
        return buffer.mutableBytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
    }

    /// The data pointer of a tensor's bytes; bytes that are not in memory get a pointer that only stands for them.
    func data(_ storage: TensorStorage, count: Int) -> ProtobufCBinaryData {
        switch storage {
        case .owned(let buffer): return ProtobufCBinaryData(len: count, data: count > 0 ? hold(buffer) : nil)
        case .mapped(let file, let range):
            guard count > 0, let base = file.bytes.baseAddress else { return ProtobufCBinaryData(len: 0, data: nil) }
            let start = base + range.lowerBound
            sources[start] = storage
            return ProtobufCBinaryData(
                len: count, data: UnsafeMutableRawPointer(mutating: start).assumingMemoryBound(to: UInt8.self))
        case .deferred:
            guard count > 0 else { return ProtobufCBinaryData(len: 0, data: nil) }
            let stand = arena.array(of: UInt8.self, count: 1)
            sources[UnsafeRawPointer(stand)] = storage
            return ProtobufCBinaryData(len: count, data: stand)
        case .strings: return ProtobufCBinaryData(len: 0, data: nil)
        }
    }

    /// Named texts.
    func entries(
        _ metadata: Metadata, of place: @autoclosure () -> String
    ) throws(ONNXError) -> (
        count: Int, start: UnsafeMutablePointer<UnsafeMutablePointer<Onnx__StringStringEntryProto>?>?
    ) {
        try list(metadata.entries) { entry throws(ONNXError) in
            let message = try message(Onnx__StringStringEntryProto.self, from: entry.carried, of: place())
            set(entry.key, entry.carried, 1, &message.pointee.has_key, &message.pointee.key)
            set(entry.value, entry.carried, 2, &message.pointee.has_value, &message.pointee.value)
            return message
        }
    }

    /// Operator versions.
    func opsets(
        _ opsets: [OpsetImport], of place: @autoclosure () -> String
    ) throws(ONNXError) -> (
        count: Int, start: UnsafeMutablePointer<UnsafeMutablePointer<Onnx__OperatorSetIdProto>?>?
    ) {
        try list(opsets) { opset throws(ONNXError) in
            let message = try message(Onnx__OperatorSetIdProto.self, from: opset.carried, of: place())
            set(opset.domain, opset.carried, 1, &message.pointee.has_domain, &message.pointee.domain)
            set(opset.version, opset.carried, 2, &message.pointee.has_version, &message.pointee.version)
            return message
        }
    }

    /// Sets a text where it is not empty or the file spelled it out.
    func set(
        _ text: String, _ carried: Carried, _ field: Int, _ isPresent: inout protobuf_c_boolean,
        _ target: inout ProtobufCBinaryData
    ) {
        guard !text.isEmpty || carried.isExplicit(field) else { return }
        isPresent = 1
        target = data(text)
    }

    /// Sets a number where it is not zero or the file spelled it out.
    func set<T: FixedWidthInteger>(
        _ number: Int, _ carried: Carried, _ field: Int, _ isPresent: inout protobuf_c_boolean, _ target: inout T
    ) {
        guard number != 0 || carried.isExplicit(field) else { return }
        isPresent = 1
        target = T(truncatingIfNeeded: number)
    }
}

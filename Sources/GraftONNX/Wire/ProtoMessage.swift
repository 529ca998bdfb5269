import COnnxProto
import CProtobufC

/// A message of the ONNX schema as protobuf-c holds it.
protocol ProtoMessage {
    /// What all messages share: the descriptor and the unknown fields.
    var base: ProtobufCMessage { get set }
    init()
    /// Sets the descriptor and the defaults.
    static func prepare(_ message: UnsafeMutablePointer<Self>)
}

extension ProtoMessage {
    /// A message with nothing set.
    static func fresh() -> Self {
        var message = Self()
        prepare(&message)
        return message
    }

    /// The schema's description of the message.
    static var descriptor: UnsafePointer<ProtobufCMessageDescriptor> { fresh().base.descriptor }

    /// The message in its form in a file.
    func packed() -> [UInt8] {
        withUnsafePointer(to: self) { pointer in
            pointer.withMemoryRebound(to: ProtobufCMessage.self, capacity: 1) { message in
                let size = protobuf_c_message_get_packed_size(message)
                return [UInt8](unsafeUninitializedCapacity: size) { target, count in
                    if let start = target.baseAddress, size > 0 { count = protobuf_c_message_pack(message, start) }
                }
            }
        }
    }
}

extension Arena {
    /// A message that starts from fields in file form, or empty where there are none.
    ///
    /// - Returns: nil where the bytes are not fields of that message.
    func message<M: ProtoMessage>(_ type: M.Type, from fields: [UInt8]) -> UnsafeMutablePointer<M>? {
        guard !fields.isEmpty else { return message(type) }
        return fields.withUnsafeBytes { unpack(type, from: $0) }
    }

    /// A message with nothing set.
    func message<M: ProtoMessage>(_ type: M.Type) -> UnsafeMutablePointer<M> {
        let pointer = array(of: M.self, count: 1)
        M.prepare(pointer)
        return pointer
    }

    /// Lets protobuf-c parse a message into the arena.
    ///
    /// - Returns: nil where the bytes are malformed or the budget is used up.
    func unpack<M: ProtoMessage>(_ type: M.Type, from bytes: UnsafeRawBufferPointer) -> UnsafeMutablePointer<M>? {
        let unpacked = withAllocator { allocator in
            protobuf_c_message_unpack(
                M.descriptor, allocator, bytes.count, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
        }
        return unpacked.map { UnsafeMutableRawPointer($0).assumingMemoryBound(to: M.self) }
    }
}

extension Onnx__ModelProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__model_proto__init(message) }
}
extension Onnx__GraphProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__graph_proto__init(message) }
}
extension Onnx__NodeProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__node_proto__init(message) }
}
extension Onnx__AttributeProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__attribute_proto__init(message) }
}
extension Onnx__ValueInfoProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__value_info_proto__init(message) }
}
extension Onnx__TensorProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__tensor_proto__init(message) }
}
extension Onnx__SparseTensorProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__sparse_tensor_proto__init(message) }
}
extension Onnx__StringStringEntryProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__string_string_entry_proto__init(message) }
}
extension Onnx__OperatorSetIdProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__operator_set_id_proto__init(message) }
}
extension Onnx__FunctionProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__function_proto__init(message) }
}
extension Onnx__TrainingInfoProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__training_info_proto__init(message) }
}
extension Onnx__TensorShapeProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__tensor_shape_proto__init(message) }
}
extension Onnx__TensorShapeProto__Dimension: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__tensor_shape_proto__dimension__init(message) }
}
extension Onnx__TypeProto: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__type_proto__init(message) }
}
extension Onnx__TypeProto__Tensor: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__type_proto__tensor__init(message) }
}
extension Onnx__TypeProto__SparseTensor: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__type_proto__sparse_tensor__init(message) }
}
extension Onnx__TypeProto__Sequence: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__type_proto__sequence__init(message) }
}
extension Onnx__TypeProto__Map: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__type_proto__map__init(message) }
}
extension Onnx__TypeProto__Optional: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__type_proto__optional__init(message) }
}
extension Onnx__TypeProto__Opaque: ProtoMessage {
    static func prepare(_ message: UnsafeMutablePointer<Self>) { onnx__type_proto__opaque__init(message) }
}

import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

/// The unknown fields of a message, in file form.
func residual<M: ProtoMessage>(_ message: M) -> [UInt8] {
    message.base.n_unknown_fields == 0 ? [] : residual(message) { _ in }
}

/// The part of a message that the IR has no word for, in file form: the unknown fields, and the known ones that `keep`
/// copies into an otherwise empty message.
func residual<M: ProtoMessage>(_ message: M, keep: (inout M) -> Void) -> [UInt8] {
    var rest = M.fresh()
    rest.base.n_unknown_fields = message.base.n_unknown_fields
    rest.base.unknown_fields = message.base.unknown_fields
    keep(&rest)
    return rest.packed()
}

extension ReadContext {
    /// Lets the data of every tensor below a message point at its bytes in the file in place of the skeleton's reference.
    ///
    /// For messages that are kept in file form; they must not be read as tensors afterwards.
    func resolveReferences(below message: UnsafeMutableRawPointer) {
        let descriptor = message.load(as: ProtobufCMessage.self).descriptor!
        if descriptor == Onnx__TensorProto.descriptor {
            let tensor = message.assumingMemoryBound(to: Onnx__TensorProto.self)
            if tensor.pointee.has_raw_data != 0, let range = range(of: tensor.pointee.raw_data) {
                tensor.pointee.raw_data.len = range.count
                tensor.pointee.raw_data.data = pointer(to: range, as: UInt8.self)
            }
            if let range = range(of: tensor.pointee.float_data, count: 4 * tensor.pointee.n_float_data) {
                tensor.pointee.n_float_data = range.count / 4
                tensor.pointee.float_data = pointer(to: range, as: Float.self)
            }
            if let range = range(of: tensor.pointee.double_data, count: 8 * tensor.pointee.n_double_data) {
                tensor.pointee.n_double_data = range.count / 8
                tensor.pointee.double_data = pointer(to: range, as: Double.self)
            }
        }
        for field in UnsafeBufferPointer(start: descriptor.pointee.fields, count: Int(descriptor.pointee.n_fields))
        where field.type == PROTOBUF_C_TYPE_MESSAGE {
            let quantifier = message + Int(field.quantifier_offset)
            let member = message + Int(field.offset)
            if field.label == PROTOBUF_C_LABEL_REPEATED {
                let list = member.load(as: UnsafeMutablePointer<UnsafeMutableRawPointer?>?.self)
                for case let inner? in UnsafeBufferPointer(start: list, count: quantifier.load(as: Int.self)) {
                    resolveReferences(below: inner)
                }
            } else if field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF.rawValue == 0
                || quantifier.load(as: UInt32.self) == field.id
            {
                if let inner = member.load(as: UnsafeMutableRawPointer?.self) { resolveReferences(below: inner) }
            }
        }
    }

    // protobuf-c copies packed numbers as bytes and never writes through a message, so the pointer need not be aligned.
    private func pointer<T>(to range: Range<Int>, as type: T.Type) -> UnsafeMutablePointer<T>? {
        let start = file.bytes.baseAddress.map { $0 + range.lowerBound }
        return UnsafeMutableRawPointer(mutating: start)?.assumingMemoryBound(to: type)
    }
}

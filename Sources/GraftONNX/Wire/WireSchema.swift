import COnnxProto
import CProtobufC

/// What the scanner must know of the schema, drawn from protobuf-c's own descriptors.
struct WireSchema {
    /// How the fields of a number may look in a file.
    struct Field {
        /// The wire type of one value; nil where the schema has no field of that number.
        var wireType: UInt8?
        /// Whether values may also come packed into one length-delimited field, and the width of each: 4, 8, or 0 for
        /// varints.
        var packedWidth: Int?
        /// Whether the field may come more than once.
        var isRepeated = false
        /// The message that the field holds, as an index into ``WireSchema/messages``.
        var message: Int?
        /// The numbers of the fields of the same `oneof`, this one included, as a bit set.
        var alternatives: UInt64 = 0
        /// Whether the payload may stay in the file: the bytes and the floating-point lists of a tensor.
        var isReference = false
    }

    /// The fields of one message, by number.
    struct Message {
        var name: String
        var fields: [Field]

        func field(_ number: Int) -> Field { number < fields.count ? fields[number] : Field() }
    }

    /// All messages that a model may hold; the model itself comes first.
    let messages: [Message]

    /// The schema of ``Onnx__ModelProto`` and everything below it.
    static let model = WireSchema(root: Onnx__ModelProto.descriptor)

    private init(root: UnsafePointer<ProtobufCMessageDescriptor>) {
        var known: [UnsafePointer<ProtobufCMessageDescriptor>] = [root]
        var messages: [Message] = []
        let tensor = Onnx__TensorProto.descriptor
        while messages.count < known.count {
            let descriptor = known[messages.count]
            let all = UnsafeBufferPointer(start: descriptor.pointee.fields, count: Int(descriptor.pointee.n_fields))
            // Presence is kept in 64-bit sets, so numbers stay below 64; the schema's highest is 26.
            precondition(all.allSatisfy { $0.id < 64 }, "a field number of the ONNX schema passes 63")
            var fields = [Field](repeating: Field(), count: Int(all.last?.id ?? 0) + 1)
            for field in all {
                var entry = Field()
                entry.isRepeated = field.label == PROTOBUF_C_LABEL_REPEATED
                switch field.type {
                case PROTOBUF_C_TYPE_STRING, PROTOBUF_C_TYPE_BYTES: entry.wireType = 2
                case PROTOBUF_C_TYPE_MESSAGE:
                    entry.wireType = 2
                    let inner = UnsafePointer(
                        field.descriptor!.assumingMemoryBound(to: ProtobufCMessageDescriptor.self))
                    if let index = known.firstIndex(of: inner) {
                        entry.message = index
                    } else {
                        entry.message = known.count
                        known.append(inner)
                    }
                case PROTOBUF_C_TYPE_FLOAT, PROTOBUF_C_TYPE_FIXED32, PROTOBUF_C_TYPE_SFIXED32:
                    entry.wireType = 5
                    entry.packedWidth = 4
                case PROTOBUF_C_TYPE_DOUBLE, PROTOBUF_C_TYPE_FIXED64, PROTOBUF_C_TYPE_SFIXED64:
                    entry.wireType = 1
                    entry.packedWidth = 8
                default:
                    entry.wireType = 0
                    entry.packedWidth = 0
                }
                if !entry.isRepeated { entry.packedWidth = nil }
                if field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF.rawValue != 0 {
                    entry.alternatives = all.reduce(0) {
                        $1.flags & PROTOBUF_C_FIELD_FLAG_ONEOF.rawValue != 0
                            && $1.quantifier_offset == field.quantifier_offset ? $0 | 1 << UInt64($1.id) : $0
                    }
                }
                entry.isReference = descriptor == tensor && [4, 9, 10].contains(field.id)
                fields[Int(field.id)] = entry
            }
            messages.append(Message(name: String(cString: descriptor.pointee.short_name), fields: fields))
        }
        self.messages = messages
    }
}

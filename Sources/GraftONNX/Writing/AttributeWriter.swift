import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension WriteContext {
    /// The message of an attribute.
    func attribute(
        _ attribute: Attribute, of place: @autoclosure () -> String
    ) throws(ONNXError) -> UnsafeMutablePointer<Onnx__AttributeProto> {
        let label = "\(place()), attribute \"\(attribute.name)\""
        let message = try message(Onnx__AttributeProto.self, from: attribute.carried, of: label)
        let carried = attribute.carried
        set(attribute.name, carried, 1, &message.pointee.has_name, &message.pointee.name)
        set(attribute.docString, carried, 13, &message.pointee.has_doc_string, &message.pointee.doc_string)
        if carried.isExplicit(21) { message.pointee.has_ref_attr_name = 1 }
        let kind = AttributeKind.code(of: attribute.value)
        // A file may spell out that the kind is undefined and have a value all the same.
        let declared = carried.isExplicit(20) ? AttributeKind.undefined : kind
        if carried.isExplicit(20) || kind != 0 && !carried.isExplicit(AttributeKind.kindOmittedFlag) {
            message.pointee.has_type = 1
            message.pointee.type = Onnx__AttributeProto__AttributeType(rawValue: .init(truncatingIfNeeded: declared))
        }
        let omitsDefault = carried.isExplicit(AttributeKind.valueOmittedFlag)

        switch attribute.value {
        case .float(let value):
            guard value.bitPattern != 0 || !omitsDefault else { break }
            message.pointee.has_f = 1
            message.pointee.f = value
        case .int(let value):
            guard value != 0 || !omitsDefault else { break }
            message.pointee.has_i = 1
            message.pointee.i = value
        case .string(let value):
            guard !value.isEmpty || !omitsDefault else { break }
            message.pointee.has_s = 1
            message.pointee.s = data(value, count: value.count)
        case .tensor(let value): message.pointee.t = try tensor(value, of: label)
        case .graph(let value): message.pointee.g = try graph(value)
        case .sparseTensor(let value): message.pointee.sparse_tensor = try tensor(value, of: label)
        case .type(let value): message.pointee.tp = try type(value, of: label)
        case .floats(let values): (message.pointee.n_floats, message.pointee.floats) = list(values)
        case .ints(let values): (message.pointee.n_ints, message.pointee.ints) = list(values)
        case .strings(let values):
            (message.pointee.n_strings, message.pointee.strings) = list(values.map { data($0, count: $0.count) })
        case .tensors(let values):
            (message.pointee.n_tensors, message.pointee.tensors) = try list(values) { value throws(ONNXError) in
                try tensor(value, of: label)
            }
        case .graphs(let values):
            (message.pointee.n_graphs, message.pointee.graphs) = try list(values) { value throws(ONNXError) in
                try graph(value)
            }
        case .sparseTensors(let values):
            (message.pointee.n_sparse_tensors, message.pointee.sparse_tensors) = try list(values) {
                value throws(ONNXError) in try tensor(value, of: label)
            }
        case .types(let values):
            (message.pointee.n_type_protos, message.pointee.type_protos) = try list(values) {
                value throws(ONNXError) in try type(value, of: label)
            }
        case .reference(let name, _):
            message.pointee.has_ref_attr_name = 1
            message.pointee.ref_attr_name = data(name)
        case .empty: break
        }
        return message
    }
}

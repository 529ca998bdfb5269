import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension ReadContext {
    /// An attribute; graphs in it are read with `scope` as the graph around them.
    func attribute(
        _ pointer: UnsafeMutablePointer<Onnx__AttributeProto>, scope: GraphScope?, of place: @autoclosure () -> String
    ) throws(ONNXError) -> Attribute {
        let message = pointer.pointee
        let name = try text(message.name, "name", of: place())
        let reference = try text(message.ref_attr_name, "ref_attr_name", of: place())
        let declared = Int32(bitPattern: UInt32(truncatingIfNeeded: message.type.rawValue))
        let kind = declared != 0 || !reference.isEmpty ? declared : Self.kind(by: message)

        var carried = Carried.nothing
        carried.note(1, message.has_name, message.name)
        carried.note(21, message.has_ref_attr_name, message.ref_attr_name)
        carried.note(13, message.has_doc_string, message.doc_string)
        carried.note(20, message.has_type, declared)
        if message.has_type == 0, kind != 0 { carried.markExplicit(AttributeKind.kindOmittedFlag) }

        // What the value takes is cleared here; what stays is kept in file form.
        var rest = message
        rest.has_name = 0
        rest.has_ref_attr_name = 0
        rest.has_doc_string = 0
        rest.has_type = 0
        let value: AttributeValue
        if !reference.isEmpty {
            value = .reference(reference, kind: kind)
        } else {
            value = try self.value(
                message, kind: kind, rest: &rest, carried: &carried, scope: scope,
                of: "\(place()), attribute \"\(name)\"")
        }
        carried.fields = withUnsafeMutablePointer(to: &rest) { rest in
            let size = UnsafeMutableRawPointer(rest).withMemoryRebound(to: ProtobufCMessage.self, capacity: 1) {
                protobuf_c_message_get_packed_size($0)
            }
            guard size > 0 else { return [] }
            resolveReferences(below: rest)
            return rest.pointee.packed()
        }
        return Attribute(
            name, value, docString: try text(message.doc_string, "doc_string", of: place()), carried: carried)
    }

    private func value(
        _ message: Onnx__AttributeProto, kind: Int32, rest: inout Onnx__AttributeProto, carried: inout Carried,
        scope: GraphScope?, of place: @autoclosure () -> String
    ) throws(ONNXError) -> AttributeValue {
        switch kind {
        case AttributeKind.float:
            if message.has_f == 0 { carried.markExplicit(AttributeKind.valueOmittedFlag) }
            rest.has_f = 0
            return .float(message.f)
        case AttributeKind.int:
            if message.has_i == 0 { carried.markExplicit(AttributeKind.valueOmittedFlag) }
            rest.has_i = 0
            return .int(message.i)
        case AttributeKind.string:
            if message.has_s == 0 { carried.markExplicit(AttributeKind.valueOmittedFlag) }
            rest.has_s = 0
            return .string([UInt8](UnsafeBufferPointer(start: message.s.data, count: message.s.len)))
        case AttributeKind.tensor:
            guard let tensor = message.t else { return .empty(kind: kind) }
            rest.t = nil
            return .tensor(try stored(tensor, of: place()))
        case AttributeKind.graph:
            guard let graph = message.g else { return .empty(kind: kind) }
            rest.g = nil
            return .graph(try self.graph(graph, inside: scope))
        case AttributeKind.sparseTensor:
            guard let tensor = message.sparse_tensor else { return .empty(kind: kind) }
            rest.sparse_tensor = nil
            return .sparseTensor(try stored(tensor, of: place()))
        case AttributeKind.type:
            guard let type = try type(message.tp, of: place()) else { return .empty(kind: kind) }
            rest.tp = nil
            return .type(type)
        case AttributeKind.floats:
            rest.n_floats = 0
            return .floats(Array(UnsafeBufferPointer(start: message.floats, count: message.n_floats)))
        case AttributeKind.ints:
            rest.n_ints = 0
            return .ints(Array(UnsafeBufferPointer(start: message.ints, count: message.n_ints)))
        case AttributeKind.strings:
            rest.n_strings = 0
            return .strings(
                UnsafeBufferPointer(start: message.strings, count: message.n_strings).map {
                    [UInt8](UnsafeBufferPointer(start: $0.data, count: $0.len))
                })
        case AttributeKind.tensors:
            rest.n_tensors = 0
            var tensors: [StoredTensor] = []
            for case let tensor? in UnsafeBufferPointer(start: message.tensors, count: message.n_tensors) {
                tensors.append(try stored(tensor, of: place()))
            }
            return .tensors(tensors)
        case AttributeKind.graphs:
            rest.n_graphs = 0
            var graphs: [Graph] = []
            for case let graph? in UnsafeBufferPointer(start: message.graphs, count: message.n_graphs) {
                graphs.append(try self.graph(graph, inside: scope))
            }
            return .graphs(graphs)
        case AttributeKind.sparseTensors:
            rest.n_sparse_tensors = 0
            var tensors: [StoredSparseTensor] = []
            for case let tensor? in UnsafeBufferPointer(
                start: message.sparse_tensors, count: message.n_sparse_tensors)
            {
                tensors.append(try stored(tensor, of: place()))
            }
            return .sparseTensors(tensors)
        case AttributeKind.types:
            rest.n_type_protos = 0
            var types: [ValueType] = []
            for case let entry? in UnsafeBufferPointer(start: message.type_protos, count: message.n_type_protos) {
                if let type = try type(entry, of: place()) { types.append(type) }
            }
            return .types(types)
        default:
            return .empty(kind: kind)
        }
    }

    /// The kind of an attribute that does not name it: that of the one value it has.
    private static func kind(by message: Onnx__AttributeProto) -> Int32 {
        if message.has_f != 0 { return AttributeKind.float }
        if message.has_i != 0 { return AttributeKind.int }
        if message.has_s != 0 { return AttributeKind.string }
        if message.t != nil { return AttributeKind.tensor }
        if message.g != nil { return AttributeKind.graph }
        if message.sparse_tensor != nil { return AttributeKind.sparseTensor }
        if message.tp != nil { return AttributeKind.type }
        if message.n_floats > 0 { return AttributeKind.floats }
        if message.n_ints > 0 { return AttributeKind.ints }
        if message.n_strings > 0 { return AttributeKind.strings }
        if message.n_tensors > 0 { return AttributeKind.tensors }
        if message.n_graphs > 0 { return AttributeKind.graphs }
        if message.n_sparse_tensors > 0 { return AttributeKind.sparseTensors }
        if message.n_type_protos > 0 { return AttributeKind.types }
        return AttributeKind.undefined
    }
}

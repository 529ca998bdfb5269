import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension WriteContext {
    /// The message of a graph.
    func graph(_ graph: Graph) throws(ONNXError) -> UnsafeMutablePointer<Onnx__GraphProto> {
        let place = "graph \"\(graph.name)\""
        let message = try message(Onnx__GraphProto.self, from: graph.carried, of: place)
        set(graph.name, graph.carried, 2, &message.pointee.has_name, &message.pointee.name)
        set(graph.docString, graph.carried, 10, &message.pointee.has_doc_string, &message.pointee.doc_string)
        (message.pointee.n_metadata_props, message.pointee.metadata_props) = try entries(graph.metadata, of: place)
        (message.pointee.n_node, message.pointee.node) = try nodes(of: graph, place: place)
        (message.pointee.n_initializer, message.pointee.initializer) = try list(
            graph.initializers.filter { graph[$0].initializer != nil }
        ) { id throws(ONNXError) in
            guard let stored = graph[id].initializer else {
                throw .cannotWrite(path: path, place: place, reason: "\"\(graph[id].name)\" has no tensor")
            }
            return try tensor(stored, name: graph[id].name, of: place)
        }
        (message.pointee.n_sparse_initializer, message.pointee.sparse_initializer) = try list(
            graph.sparseInitializers.filter { graph[$0].sparseInitializer != nil }
        ) { id throws(ONNXError) in
            guard let stored = graph[id].sparseInitializer else {
                throw .cannotWrite(path: path, place: place, reason: "\"\(graph[id].name)\" has no tensor")
            }
            return try tensor(stored, name: graph[id].name, of: place)
        }
        (message.pointee.n_input, message.pointee.input) = try declarations(graph.inputs, .inputs, of: graph)
        (message.pointee.n_output, message.pointee.output) = try declarations(graph.outputs, .outputs, of: graph)
        (message.pointee.n_value_info, message.pointee.value_info) = try declarations(
            graph.declarations, .types, of: graph)
        return message
    }

    /// The message of a function.
    func function(_ function: Function) throws(ONNXError) -> UnsafeMutablePointer<Onnx__FunctionProto> {
        let place = "function \(function.name)"
        let body = function.body
        let carried = function.carried
        let message = try message(Onnx__FunctionProto.self, from: carried, of: place)
        set(function.name.type, carried, 1, &message.pointee.has_name, &message.pointee.name)
        set(function.name.domain, carried, 10, &message.pointee.has_domain, &message.pointee.domain)
        set(function.name.overload, carried, 13, &message.pointee.has_overload, &message.pointee.overload)
        set(body.docString, carried, 8, &message.pointee.has_doc_string, &message.pointee.doc_string)
        (message.pointee.n_metadata_props, message.pointee.metadata_props) = try entries(body.metadata, of: place)
        (message.pointee.n_opset_import, message.pointee.opset_import) = try opsets(function.opsets, of: place)
        (message.pointee.n_input, message.pointee.input) = list(body.inputs.map { data(body[$0].name) })
        (message.pointee.n_output, message.pointee.output) = list(body.outputs.map { data(body[$0].name) })
        (message.pointee.n_attribute, message.pointee.attribute) = list(function.attributes.map { data($0) })
        (message.pointee.n_attribute_proto, message.pointee.attribute_proto) = try list(function.attributeDefaults) {
            value throws(ONNXError) in try attribute(value, of: place)
        }
        (message.pointee.n_node, message.pointee.node) = try nodes(of: body, place: place)
        (message.pointee.n_value_info, message.pointee.value_info) = try declarations(
            body.declarations, .types, of: body)
        guard body.initializers.isEmpty, body.sparseInitializers.isEmpty else {
            throw .cannotWrite(path: path, place: place, reason: "a function cannot hold stored tensors")
        }
        return message
    }

    private func nodes(
        of graph: Graph, place: String
    ) throws(ONNXError) -> (count: Int, start: UnsafeMutablePointer<UnsafeMutablePointer<Onnx__NodeProto>?>?) {
        try list(graph.order) { id throws(ONNXError) in
            let node = graph[id]
            let carried = node.carried
            let message = try message(
                Onnx__NodeProto.self, from: carried, of: "\(place), node \(node.label(in: graph))")
            (message.pointee.n_input, message.pointee.input) = list(names(node.inputs, in: graph))
            (message.pointee.n_output, message.pointee.output) = list(names(node.outputs, in: graph))
            set(node.name, carried, 3, &message.pointee.has_name, &message.pointee.name)
            set(node.op.type, carried, 4, &message.pointee.has_op_type, &message.pointee.op_type)
            set(node.op.domain, carried, 7, &message.pointee.has_domain, &message.pointee.domain)
            set(node.op.overload, carried, 8, &message.pointee.has_overload, &message.pointee.overload)
            set(node.docString, carried, 6, &message.pointee.has_doc_string, &message.pointee.doc_string)
            (message.pointee.n_attribute, message.pointee.attribute) = try list(node.attributes.all) {
                value throws(ONNXError) in
                try attribute(value, of: "\(place), node \(node.label(in: graph))")
            }
            (message.pointee.n_metadata_props, message.pointee.metadata_props) = try entries(
                node.metadata, of: "\(place), node \(node.label(in: graph))")
            return message
        }
    }

    private func names(_ values: [ValueID?], in graph: Graph) -> [ProtobufCBinaryData] {
        values.map { $0.map { data(graph[$0].name) } ?? ProtobufCBinaryData(len: 0, data: nil) }
    }

    private func declarations(
        _ values: [ValueID], _ place: DeclarationVariant.Place, of graph: Graph
    ) throws(ONNXError) -> (
        count: Int, start: UnsafeMutablePointer<UnsafeMutablePointer<Onnx__ValueInfoProto>?>?
    ) {
        var occurrences = OccurrenceCounter()
        return try list(values) { id throws(ONNXError) in
            let value = graph[id]
            var content = value.declaration
            if !value.variants.isEmpty {
                let occurrence = occurrences.next(place, id)
                if let variant = value.variants.first(where: { $0.place == place && $0.occurrence == occurrence }),
                    variant.original == content
                {
                    content = variant.content
                }
            }
            let message = try message(Onnx__ValueInfoProto.self, from: content.carried, of: value.name)
            message.pointee.has_name = 1
            message.pointee.name = data(value.name)
            if let type = content.type { message.pointee.type = try self.type(type, of: value.name) }
            set(
                content.docString, content.carried, 3, &message.pointee.has_doc_string, &message.pointee.doc_string)
            (message.pointee.n_metadata_props, message.pointee.metadata_props) = try entries(
                content.metadata, of: value.name)
            return message
        }
    }
}

import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension ReadContext {
    /// A graph, and as bodies of its nodes the graphs in it.
    ///
    /// - Parameter outer: the graph around it, whose values it may name.
    func graph(
        _ pointer: UnsafeMutablePointer<Onnx__GraphProto>, inside outer: GraphScope?
    ) throws(ONNXError) -> Graph {
        let message = pointer.pointee
        var graph = Graph(name: try text(message.name, "name", of: "a graph"))
        let place = "graph \"\(graph.name)\""
        graph.docString = try text(message.doc_string, "doc_string", of: place)
        graph.metadata = try metadata(message.metadata_props, message.n_metadata_props, "metadata_props", of: place)
        graph.carried.note(2, message.has_name, message.name)
        graph.carried.note(10, message.has_doc_string, message.doc_string)
        graph.carried.fields =
            message.n_quantization_annotation == 0
            ? residual(message)
            : residual(message) {
                $0.n_quantization_annotation = message.n_quantization_annotation
                $0.quantization_annotation = message.quantization_annotation
            }

        let scope = GraphScope(graph, outer: outer, path: path)
        let inputs = UnsafeBufferPointer(start: message.input, count: message.n_input)
        let outputs = UnsafeBufferPointer(start: message.output, count: message.n_output)
        let types = UnsafeBufferPointer(start: message.value_info, count: message.n_value_info)
        let nodes = UnsafeBufferPointer(start: message.node, count: message.n_node)

        // A node makes one value as a rule; every message counted here was scanned, so the sizes are real.
        scope.graph.reserve(
            values: message.n_input + message.n_initializer + message.n_node, nodes: message.n_node)

        // Every value that the graph makes is known before any node is read, because a body may name a value that
        // comes later, and because a name that the graph makes hides the same name outside.
        var occurrences = OccurrenceCounter()
        for case let input? in inputs {
            let (name, content) = try declaration(input, of: "an input of \(place)")
            let id = try scope.define(name, as: "an input")
            scope.graph.makeInput(id)
            scope.declare(id, content, at: .inputs, occurrence: occurrences.next(.inputs, id))
        }
        try readInitializers(message, into: scope, place: place)
        for case let node? in nodes { try defineOutputs(of: node.pointee, in: scope, place: place) }

        for case let node? in nodes { try readNode(node.pointee, into: scope, place: place) }
        for case let output? in outputs {
            let (name, content) = try declaration(output, of: "an output of \(place)")
            let id = scope.resolve(name)
            scope.graph.addOutput(id)
            scope.declare(id, content, at: .outputs, occurrence: occurrences.next(.outputs, id))
        }
        try readTypes(types, into: scope, place: place, occurrences: &occurrences)
        return scope.graph
    }

    /// A function of the model.
    func function(_ pointer: UnsafeMutablePointer<Onnx__FunctionProto>) throws(ONNXError) -> Function {
        let message = pointer.pointee
        let name = OperatorName(
            try text(message.name, "name", of: "a function"),
            domain: try text(message.domain, "domain", of: "a function"),
            overload: try text(message.overload, "overload", of: "a function"))
        let place = "function \(name)"
        var body = Graph()
        body.docString = try text(message.doc_string, "doc_string", of: place)
        body.metadata = try metadata(message.metadata_props, message.n_metadata_props, "metadata_props", of: place)
        var function = Function(name, body: body, opsets: [])
        function.carried.fields = residual(message)
        function.carried.note(1, message.has_name, message.name)
        function.carried.note(8, message.has_doc_string, message.doc_string)
        function.carried.note(10, message.has_domain, message.domain)
        function.carried.note(13, message.has_overload, message.overload)
        function.attributes = try texts(message.attribute, message.n_attribute, "attribute", of: place)
        function.opsets = try opsets(message.opset_import, message.n_opset_import, of: place)
        for case let entry? in UnsafeBufferPointer(start: message.attribute_proto, count: message.n_attribute_proto) {
            function.attributeDefaults.append(try attribute(entry, scope: nil, of: place))
        }

        let scope = GraphScope(body, outer: nil, path: path)
        let nodes = UnsafeBufferPointer(start: message.node, count: message.n_node)
        for name in try texts(message.input, message.n_input, "input", of: place) {
            guard !name.isEmpty else { throw .missingName(path: path, place: "an input of \(place)") }
            scope.graph.makeInput(try scope.define(name, as: "an input"))
        }
        for case let node? in nodes { try defineOutputs(of: node.pointee, in: scope, place: place) }
        for case let node? in nodes { try readNode(node.pointee, into: scope, place: place) }
        for name in try texts(message.output, message.n_output, "output", of: place) {
            guard !name.isEmpty else { throw .missingName(path: path, place: "an output of \(place)") }
            scope.graph.addOutput(scope.resolve(name))
        }
        var occurrences = OccurrenceCounter()
        let types = UnsafeBufferPointer(start: message.value_info, count: message.n_value_info)
        try readTypes(types, into: scope, place: place, occurrences: &occurrences)
        function.body = scope.graph
        return function
    }

    private func readInitializers(
        _ message: Onnx__GraphProto, into scope: GraphScope, place: String
    ) throws(ONNXError) {
        for case let tensor? in UnsafeBufferPointer(start: message.initializer, count: message.n_initializer) {
            var stored = try stored(tensor, of: "an initializer of \(place)")
            guard !stored.name.isEmpty else { throw .missingName(path: path, place: "an initializer of \(place)") }
            let id = try scope.define(stored.name, as: "an initializer")
            stored.name = ""
            scope.graph.setInitializer(id, stored)
        }
        for case let tensor? in UnsafeBufferPointer(
            start: message.sparse_initializer, count: message.n_sparse_initializer)
        {
            var stored: StoredSparseTensor = try stored(tensor, of: "a sparse initializer of \(place)")
            guard !stored.values.name.isEmpty else {
                throw .missingName(path: path, place: "a sparse initializer of \(place)")
            }
            let id = try scope.define(stored.values.name, as: "an initializer")
            stored.values.name = ""
            scope.graph.setSparseInitializer(id, stored)
        }
    }

    private func defineOutputs(
        of message: Onnx__NodeProto, in scope: GraphScope, place: String
    ) throws(ONNXError) {
        for output in UnsafeBufferPointer(start: message.output, count: message.n_output) where output.len > 0 {
            try scope.define(try text(output, "output", of: "a node of \(place)"), as: "an output of a node")
        }
    }

    private func readNode(_ message: Onnx__NodeProto, into scope: GraphScope, place: String) throws(ONNXError) {
        let name = try text(message.name, "name", of: "a node of \(place)")
        let op = OperatorName(
            try text(message.op_type, "op_type", of: "a node of \(place)"),
            domain: try text(message.domain, "domain", of: "a node of \(place)"),
            overload: try text(message.overload, "overload", of: "a node of \(place)"))
        func label() -> String { "\(place), node \(name.isEmpty ? "" : "\"\(name)\" ")(\(op))" }

        var inputs: [ValueID?] = []
        inputs.reserveCapacity(message.n_input)
        for input in UnsafeBufferPointer(start: message.input, count: message.n_input) {
            inputs.append(input.len == 0 ? nil : scope.resolve(try text(input, "input", of: label())))
        }
        var outputs: [ValueID?] = []
        outputs.reserveCapacity(message.n_output)
        for output in UnsafeBufferPointer(start: message.output, count: message.n_output) {
            outputs.append(output.len == 0 ? nil : scope.value(named: try text(output, "output", of: label())))
        }
        var attributes = Attributes()
        attributes.all.reserveCapacity(message.n_attribute)
        for case let entry? in UnsafeBufferPointer(start: message.attribute, count: message.n_attribute) {
            attributes.all.append(try attribute(entry, scope: scope, of: label()))
        }
        let id = scope.graph.addNode(op, name: name, inputs: inputs, outputs: outputs, attributes: attributes)
        var carried = Carried.nothing
        carried.note(3, message.has_name, message.name)
        carried.note(4, message.has_op_type, message.op_type)
        carried.note(6, message.has_doc_string, message.doc_string)
        carried.note(7, message.has_domain, message.domain)
        carried.note(8, message.has_overload, message.overload)
        carried.fields =
            message.n_device_configurations == 0
            ? residual(message)
            : residual(message) {
                $0.n_device_configurations = message.n_device_configurations
                $0.device_configurations = message.device_configurations
            }
        scope.graph[id].carried = carried
        scope.graph[id].docString = try text(message.doc_string, "doc_string", of: label())
        scope.graph[id].metadata = try metadata(
            message.metadata_props, message.n_metadata_props, "metadata_props", of: label())
    }

    private func readTypes(
        _ types: UnsafeBufferPointer<UnsafeMutablePointer<Onnx__ValueInfoProto>?>, into scope: GraphScope,
        place: String, occurrences: inout OccurrenceCounter
    ) throws(ONNXError) {
        for case let entry? in types {
            let (name, content) = try declaration(entry, of: "a declaration of \(place)")
            let id = scope.value(named: name)
            scope.graph.appendDeclaration(id)
            scope.declare(id, content, at: .types, occurrence: occurrences.next(.types, id))
        }
    }

    private func declaration(
        _ pointer: UnsafeMutablePointer<Onnx__ValueInfoProto>, of place: @autoclosure () -> String
    ) throws(ONNXError) -> (name: String, content: Declaration) {
        let message = pointer.pointee
        let name = try text(message.name, "name", of: place())
        guard !name.isEmpty else { throw .missingName(path: path, place: place()) }
        var carried = Carried(fields: residual(message))
        carried.note(3, message.has_doc_string, message.doc_string)
        return (
            name,
            Declaration(
                type: try type(message.type, of: name), docString: try text(message.doc_string, "doc_string", of: name),
                metadata: try metadata(message.metadata_props, message.n_metadata_props, "metadata_props", of: name),
                carried: carried)
        )
    }
}

/// Counts how often a value came in each list of declarations.
struct OccurrenceCounter {
    private struct Key: Hashable {
        var place: DeclarationVariant.Place
        var value: ValueID
    }
    private var counts: [Key: Int] = [:]

    /// How often the value came in that list before.
    mutating func next(_ place: DeclarationVariant.Place, _ value: ValueID) -> Int {
        let key = Key(place: place, value: value)
        let count = counts[key, default: 0]
        counts[key] = count + 1
        return count
    }
}

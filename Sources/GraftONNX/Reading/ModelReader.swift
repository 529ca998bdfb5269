import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension ReadContext {
    /// The model in the mapped file.
    ///
    /// - Throws: ``ONNXError``.
    func model() throws(ONNXError) -> Model {
        guard file.count <= Int(Int32.max) else { throw .tooLarge(path: path, bytes: file.count) }
        let skeleton = try WireScanner.skeleton(of: file, nonce: nonce, path: path, limits: limits)
        // Messages grow when parsed; in real models up to tenfold. What grows much more is made to exhaust memory, so the
        // default limit counts in full only for large structures; a limit that somebody set counts as it is.
        let isDefault = limits.parseBytes == Limits().parseBytes
        let budget = isDefault ? min(limits.parseBytes, 64 << 20 + skeleton.count * 32) : limits.parseBytes
        let arena = Arena(budget: budget)
        guard let message = skeleton.withBytes({ arena.unpack(Onnx__ModelProto.self, from: $0) }) else {
            throw arena.isExhausted
                ? .exceedsLimit(path: path, what: "the memory of its structure", name: "parse-bytes", limit: budget)
                : .malformed(path: path, offset: 0, reason: "the message cannot be parsed")
        }
        defer { withExtendedLifetime(arena) {} }
        return try model(message.pointee)
    }

    private func model(_ message: Onnx__ModelProto) throws(ONNXError) -> Model {
        guard let graph = message.graph else { throw .noGraph(path: path) }
        var model = Model(graph: try self.graph(graph, inside: nil))
        model.sourceFormat = "onnx"
        model.irVersion = Int(message.ir_version)
        model.opsets = try opsets(message.opset_import, message.n_opset_import, of: "the model")
        model.producerName = try text(message.producer_name, "producer_name", of: "the model")
        model.producerVersion = try text(message.producer_version, "producer_version", of: "the model")
        model.domain = try text(message.domain, "domain", of: "the model")
        model.modelVersion = Int(message.model_version)
        model.docString = try text(message.doc_string, "doc_string", of: "the model")
        model.metadata = try metadata(
            message.metadata_props, message.n_metadata_props, "metadata_props", of: "the model")
        for case let function? in UnsafeBufferPointer(start: message.functions, count: message.n_functions) {
            model.functions.append(try self.function(function))
        }
        for case let training? in UnsafeBufferPointer(start: message.training_info, count: message.n_training_info) {
            model.training.append(try self.training(training.pointee))
        }
        model.carried.note(1, message.has_ir_version, message.ir_version)
        model.carried.note(2, message.has_producer_name, message.producer_name)
        model.carried.note(3, message.has_producer_version, message.producer_version)
        model.carried.note(4, message.has_domain, message.domain)
        model.carried.note(5, message.has_model_version, message.model_version)
        model.carried.note(6, message.has_doc_string, message.doc_string)
        model.carried.fields =
            message.n_configuration == 0
            ? residual(message)
            : residual(message) {
                $0.n_configuration = message.n_configuration
                $0.configuration = message.configuration
            }
        return model
    }

    private func training(_ message: Onnx__TrainingInfoProto) throws(ONNXError) -> TrainingInfo {
        TrainingInfo(
            initialization: try message.initialization.map { pointer throws(ONNXError) in
                try graph(pointer, inside: nil)
            },
            algorithm: try message.algorithm.map { pointer throws(ONNXError) in try graph(pointer, inside: nil) },
            initializationBinding: try metadata(
                message.initialization_binding, message.n_initialization_binding, "initialization_binding",
                of: "training_info"),
            updateBinding: try metadata(
                message.update_binding, message.n_update_binding, "update_binding", of: "training_info"),
            carried: Carried(fields: residual(message)))
    }
}

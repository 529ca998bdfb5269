import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension WriteContext {
    /// The message of a model.
    func model(_ model: Model) throws(ONNXError) -> UnsafeMutablePointer<Onnx__ModelProto> {
        let carried = model.carried
        let message = try message(Onnx__ModelProto.self, from: carried, of: "the model")
        set(model.irVersion, carried, 1, &message.pointee.has_ir_version, &message.pointee.ir_version)
        set(model.producerName, carried, 2, &message.pointee.has_producer_name, &message.pointee.producer_name)
        set(
            model.producerVersion, carried, 3, &message.pointee.has_producer_version,
            &message.pointee.producer_version)
        set(model.domain, carried, 4, &message.pointee.has_domain, &message.pointee.domain)
        set(model.modelVersion, carried, 5, &message.pointee.has_model_version, &message.pointee.model_version)
        set(model.docString, carried, 6, &message.pointee.has_doc_string, &message.pointee.doc_string)
        var graph = model.graph
        // The standard wants a graph to have a name; a graph that comes from elsewhere may have none.
        if graph.name.isEmpty, model.sourceFormat != "onnx" { graph.name = "main_graph" }
        message.pointee.graph = try self.graph(graph)
        (message.pointee.n_opset_import, message.pointee.opset_import) = try opsets(model.opsets, of: "the model")
        (message.pointee.n_metadata_props, message.pointee.metadata_props) = try entries(
            model.metadata, of: "the model")
        (message.pointee.n_functions, message.pointee.functions) = try list(model.functions) {
            value throws(ONNXError) in try function(value)
        }
        (message.pointee.n_training_info, message.pointee.training_info) = try list(model.training) {
            value throws(ONNXError) in try training(value)
        }
        return message
    }

    private func training(_ training: TrainingInfo) throws(ONNXError) -> UnsafeMutablePointer<Onnx__TrainingInfoProto> {
        let message = try message(Onnx__TrainingInfoProto.self, from: training.carried, of: "training_info")
        if let graph = training.initialization { message.pointee.initialization = try self.graph(graph) }
        if let graph = training.algorithm { message.pointee.algorithm = try self.graph(graph) }
        (message.pointee.n_initialization_binding, message.pointee.initialization_binding) = try entries(
            training.initializationBinding, of: "training_info")
        (message.pointee.n_update_binding, message.pointee.update_binding) = try entries(
            training.updateBinding, of: "training_info")
        return message
    }
}

import GraftCore
import GraftIR
import GraftONNX

/// ONNX model files.
public enum ONNXFormat: ModelFormat {
    public static var name: String { "onnx" }
    public static var summary: String { "ONNX model (protobuf), with external data where it is large" }
    public static var extensions: [String] { ["onnx"] }

    public static func recognizes(_ start: UnsafeRawBufferPointer, path: String) -> Bool {
        // Protobuf has no signature. Every ONNX model has its IR version (field 1, varint) or another field of
        // ModelProto first, so the first key must be one of the message's own.
        if hasKnownExtension(path) { return true }
        guard start.count > 2 else { return false }
        return start[0] == 0x08 && start[1] < 0x40
    }

    public static func read(path: String, limits: Limits) throws -> Model {
        try ONNX.read(path: path, limits: limits)
    }

    public static func checkWritable(_ model: Model) throws {}

    public static func write(_ model: Model, to path: String, options: WriteOptions) throws -> [String] {
        var settings = ONNXWriteOptions()
        if let wanted = options.usesExternalData { settings.externalData = wanted ? .always : .never }
        if let bytes = options.externalDataThreshold { settings.externalDataThreshold = bytes }
        settings.destination = options.destination
        settings.durability = options.durability
        try ONNX.write(model, to: path, options: settings)
        return []
    }
}

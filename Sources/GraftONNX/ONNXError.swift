import GraftCore

/// What can be wrong with an ONNX file, or keep a model from being written as one.
public enum ONNXError: GraftError, Equatable {
    /// The bytes are not a protobuf message of ONNX's schema.
    case malformed(path: String, offset: Int, reason: String)
    /// The file passes one of the ``Limits``; the name is that of the limit.
    case exceedsLimit(path: String, what: String, name: String, limit: Int)
    /// The file is larger than a protobuf message may be.
    case tooLarge(path: String, bytes: Int)
    /// The message has no graph, so the file is no model.
    case noGraph(path: String)
    /// A text is not UTF-8.
    case invalidText(path: String, place: String, field: String)
    /// A value that must have a name has none.
    case missingName(path: String, place: String)
    /// Two parts of a graph make the same value.
    case duplicateValue(path: String, graph: String, name: String, first: String, second: String)
    /// A tensor's type, shape and data do not fit each other.
    case invalidTensor(path: String, tensor: String, reason: String)
    /// A tensor's data in another file may not or cannot be read.
    case externalData(path: String, tensor: String, location: String, reason: String)
    /// A model holds something that a file cannot.
    case cannotWrite(path: String, place: String, reason: String)

    /// The input is at fault.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .malformed(let path, let offset, let reason):
            "\(path): not an ONNX model, or damaged: at byte \(offset) \(reason)"
        case .exceedsLimit(let path, let what, let name, let limit):
            "\(path): \(what) passes the limit \(name) of \(limit); raise it if the file is trusted"
        case .tooLarge(let path, let bytes):
            "\(path): \(bytes) bytes are more than a protobuf message may hold (\(Int32.max)); "
                + "store the weights as external data"
        case .noGraph(let path): "\(path): not an ONNX model: it holds no graph"
        case .invalidText(let path, let place, let field):
            "\(path): \(place): the field \(field) is not UTF-8 text"
        case .missingName(let path, let place): "\(path): \(place) has no name"
        case .duplicateValue(let path, let graph, let name, let first, let second):
            "\(path): graph \"\(graph)\": \"\(name)\" is \(first) and also \(second); a value is made once"
        case .invalidTensor(let path, let tensor, let reason): "\(path): tensor \"\(tensor)\": \(reason)"
        case .externalData(let path, let tensor, let location, let reason):
            "\(path): tensor \"\(tensor)\": external data \"\(location)\": \(reason)"
        case .cannotWrite(let path, let place, let reason): "\(path): cannot be written: \(place): \(reason)"
        }
    }
}

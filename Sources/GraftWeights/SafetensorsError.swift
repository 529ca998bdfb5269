import GraftCore

/// What can be wrong with a safetensors file.
public enum SafetensorsError: GraftError, Equatable {
    /// The header is missing, too long, or no JSON object.
    case badHeader(path: String, reason: String)
    /// A tensor's entry contradicts itself or the file.
    case badTensor(path: String, tensor: String, reason: String)
    /// The tensors' bytes overlap, leave gaps or do not end where the file ends.
    case badLayout(path: String, tensor: String, reason: String)
    /// The tensor cannot be written.
    case cannotWrite(tensor: String, reason: String)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .badHeader(let path, let reason): "\(path): not a safetensors file: \(reason)"
        case .badTensor(let path, let tensor, let reason): "\(path): tensor \"\(tensor)\": \(reason)"
        case .badLayout(let path, let tensor, let reason): "\(path): tensor \"\(tensor)\": \(reason)"
        case .cannotWrite(let tensor, let reason): "tensor \"\(tensor)\" cannot be written as safetensors: \(reason)"
        }
    }
}

import GraftCore

/// What can be wrong with a Keras file, or keep a model from becoming one.
public enum KerasError: GraftError, Equatable {
    /// The HDF5 file holds no Keras model.
    case notAModel(path: String, found: String)
    /// The configuration contradicts itself or lacks something.
    case malformed(path: String, place: String, expected: String)
    /// A layer that is not covered.
    case unsupportedLayer(path: String, layer: String, className: String, reason: String)
    /// A layer's weights do not fit its configuration.
    case weights(path: String, layer: String, reason: String)
    /// An operator that no Keras layer does.
    case cannotRaise(node: String, op: String, reason: String)

    /// The exit status of a command that the error ends.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .notAModel(let path, let found): "\(path): not a full Keras model: \(found)"
        case .malformed(let path, let place, let expected): "\(path): model_config: \(place): expected \(expected)"
        case .unsupportedLayer(let path, let layer, let className, let reason):
            "\(path): layer \"\(layer)\" (\(className)) is not supported: \(reason)"
        case .weights(let path, let layer, let reason): "\(path): layer \"\(layer)\": \(reason)"
        case .cannotRaise(let node, let op, let reason):
            "node \"\(node)\" (\(op)) cannot become a Keras layer: \(reason)"
        }
    }
}

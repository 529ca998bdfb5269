import GraftCore

/// What can be wrong with a NumPy array file.
public enum NPYError: GraftError, Equatable {
    /// The bytes are not an array, or its header cannot be read.
    case damaged(source: String, reason: String)
    /// The array holds pickled Python objects.
    case pickled(source: String)
    /// The array's type has no counterpart.
    case unsupportedType(source: String, descriptor: String, advice: String)
    /// The tensor cannot be written as a NumPy array.
    case cannotWrite(name: String, reason: String)
    /// A bound of ``Limits`` would be exceeded.
    case limitExceeded(source: String, reason: String)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .damaged(let source, let reason): "\(source): not a complete NumPy array: \(reason)"
        case .pickled(let source):
            "\(source): holds pickled Python objects, which are not read because reading them runs code; "
                + "save it again from an array with a number or text type, such as numpy.asarray(x, dtype=\"float32\")"
        case .unsupportedType(let source, let descriptor, let advice):
            "\(source): NumPy type \(descriptor) is not supported; \(advice)"
        case .cannotWrite(let name, let reason): "array \"\(name)\" cannot be written for NumPy: \(reason)"
        case .limitExceeded(let source, let reason): "\(source): \(reason)"
        }
    }
}

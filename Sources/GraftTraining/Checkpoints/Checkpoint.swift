import GraftCore
import OrderedCollections

/// The saved state of a run at one step: tensors and a JSON record of everything else.
public struct Checkpoint: Sendable {
    /// The number of optimizer steps that were taken.
    public let step: Int
    /// Everything but tensors.
    public let state: JSON
    /// The tensors by name.
    public let tensors: OrderedDictionary<String, Tensor>

    /// A state to be saved.
    public init(step: Int, state: JSON, tensors: OrderedDictionary<String, Tensor>) {
        self.step = step
        self.state = state
        self.tensors = tensors
    }
}

/// What can go wrong with checkpoints.
public enum CheckpointError: GraftError, Equatable {
    /// A checkpoint cannot be trusted.
    case damaged(path: String, reason: String)
    /// There are checkpoints, and none of them can be trusted.
    case noneUsable(folder: String, remarks: [String])

    /// The exit status of a command that this ends.
    public var exitStatus: ExitStatus { .badInput }
    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .damaged(let path, let reason): "\(path): the checkpoint cannot be used: \(reason)"
        case .noneUsable(let folder, let remarks):
            "\(folder): no checkpoint can be used: \(remarks.joined(separator: "; ")); start again without --resume"
        }
    }
}

import GraftCore

/// What can go wrong in a run.
public enum TrainingError: GraftError, Equatable {
    /// The model has no output that a loss can be put on.
    case noScores(String)
    /// The classes of the data and of the model are not the same.
    case classesDoNotFit(String)
    /// There are no samples to train on.
    case noSamples(String)
    /// The loss is not a number any more.
    case diverged(stage: String, step: Int)
    /// The run folder holds another run.
    case anotherRun(folder: String, reason: String)
    /// There is nothing to resume.
    case nothingToResume(folder: String)
    /// The run folder is in use already.
    case folderNotEmpty(folder: String)
    /// Inputs of the model that the data does not give.
    case missingInputs([String])

    /// The exit status of a command that this ends.
    public var exitStatus: ExitStatus { if case .nothingToResume = self { .missingInput } else { .badInput } }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .noScores(let reason): "the model cannot be trained as a classifier: \(reason)"
        case .classesDoNotFit(let reason): "the classes do not fit: \(reason)"
        case .noSamples(let reason): "there is nothing to train on: \(reason)"
        case .diverged(let stage, let step):
            "stage \"\(stage)\", step \(step): the loss is not a number any more; lower the rate, add warmup or set clip"
        case .anotherRun(let folder, let reason):
            "\(folder): the run there cannot be resumed: \(reason); choose another --run-dir or start without --resume"
        case .nothingToResume(let folder): "\(folder): there is no checkpoint to resume from; start without --resume"
        case .folderNotEmpty(let folder):
            "\(folder): there is a run already; use --resume to go on with it, or choose another --run-dir"
        case .missingInputs(let names):
            "the data gives nothing for the model's input\(names.count == 1 ? "" : "s") \(names.joined(separator: ", "))"
        }
    }
}

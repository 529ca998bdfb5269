/// How a command ends when an error reaches it; the codes follow sysexits(3).
public enum ExitStatus: Int32, Sendable {
    /// The answer is no: a gate (parity, retention, difference) did not hold.
    case gateFailed = 1
    /// The command line was used wrongly.
    case usage = 64
    /// The input is at fault: a damaged or unsupported file, a graph that cannot run.
    case badInput = 65
    /// A file that was named is not there.
    case missingInput = 66
    /// A defect of Graft itself.
    case software = 70
    /// An output cannot be created.
    case cannotCreate = 73
    /// Reading or writing failed.
    case ioFailure = 74
    /// The user interrupted the work; state was saved.
    case interrupted = 130
}

/// An error that a person reads: one clear message, and the exit status it leads to.
///
/// Each domain has its own type with a case for each cause; `description` says what is wrong, where, and what to do.
public protocol GraftError: Error, CustomStringConvertible {
    /// The exit status of a command that this error ends.
    var exitStatus: ExitStatus { get }
}

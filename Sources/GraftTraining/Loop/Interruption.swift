#if canImport(Glibc)
import Glibc
#endif

/// Whether the user asked the process to stop.
public enum Interruption {
    // Written by the signal handler alone and read as one machine word; a late reading only delays the stop by a step.
    private nonisolated(unsafe) static var requested: sig_atomic_t = 0

    /// Takes Ctrl-C and termination requests as a wish to stop after the current step; a second one ends the process.
    public static func install() {
        // The storage exists before a signal can come.
        requested = 0
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in Interruption.requested = 1 }
        action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND)) | SA_RESTART
        sigaction(SIGINT, &action, nil)
        sigaction(SIGTERM, &action, nil)
    }

    /// Whether a wish to stop has come.
    public static var isRequested: Bool { requested != 0 }
}

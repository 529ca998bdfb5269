#if canImport(Glibc)
import Glibc
#endif

/// Where a command talks: results on standard output, everything else on standard error.
enum Console {
    /// Whether a person watches standard error.
    static let isInteractive = isatty(STDERR_FILENO) == 1

    /// The width of the terminal; 80 where there is none.
    static var width: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 20 else { return 80 }
        return Int(size.ws_col)
    }

    /// Prints a result.
    static func output(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }

    /// Says something about the work.
    static func note(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    /// Says what went wrong.
    static func error(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    /// Writes text as it is; what cannot be written is lost, as there is nobody to tell.
    static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var offset = 0
            while offset < bytes.count {
                let sent = Glibc.write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
                if sent < 0 {
                    if errno == EINTR { continue }
                    if errno == EPIPE && descriptor == STDOUT_FILENO { exit(0) }
                    return
                }
                offset += sent
            }
        }
    }
}

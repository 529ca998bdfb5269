#if canImport(Glibc)
import Glibc
#endif

/// A line that shows how far work has come, with its rate and the time left.
///
/// Silent where nobody watches, and for the first second of work.
struct Progress {
    private let title: String
    private let unit: String
    private let total: Int
    private let start = Progress.now()
    private var lastShown = 0.0
    private var isShown = false

    /// Progress over `total` things of a unit, such as `images`.
    init(_ title: String, total: Int, unit: String) {
        self.title = title
        self.total = total
        self.unit = unit
    }

    /// Shows that `done` things are finished; at most ten times a second.
    mutating func update(_ done: Int, note: String = "") {
        let now = Self.now()
        guard Console.isInteractive, now - start > 1, now - lastShown > 0.1 else { return }
        lastShown = now
        isShown = true
        let rate = Double(done) / (now - start)
        let left = rate > 0 ? Format.duration(Double(total - done) / rate) : "?"
        let filled = total > 0 ? min(20, 20 * done / total) : 0
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 20 - filled)
        let text =
            "\(title) \(bar) \(done)/\(total) \(unit), \(Format.decimal(rate, digits: 1))/s, \(left) left \(note)"
        Console.write("\r\u{1B}[K\(text.prefix(Console.width - 1))", to: STDERR_FILENO)
    }

    /// Removes the line.
    mutating func finish() {
        if isShown { Console.write("\r\u{1B}[K", to: STDERR_FILENO) }
        isShown = false
    }

    /// Seconds on a clock that never goes back.
    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    /// Seconds that all threads of the process have run on processors.
    static func processorTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}

import CHDF5
import Glibc
import GraftCore

/// Runs the program that decodes HDF5, and takes its answer.
///
/// The process gets the open file as descriptor 3 and a pipe as descriptor 4, nothing else: no environment beyond what
/// the loader needs, no other descriptors. It is killed when it takes too long.
struct HelperProcess {
    let source: HDF5Source
    let limits: Limits

    /// The whole answer about a file.
    func answer(limit: Int) throws -> [UInt8] {
        var answer: [UInt8] = []
        try run(object: nil) { pipe in
            var capacity = 1 << 16
            while true {
                let start = answer.count
                var ended = false
                answer += try [UInt8](unsafeUninitializedCapacity: capacity) { target, count in
                    count = try pipe.read(into: UnsafeMutableRawBufferPointer(target))
                    ended = count == 0
                }
                if ended { return }
                guard answer.count <= limit else {
                    throw HDF5Error.helperFailed(
                        path: source.path,
                        reason: "its contents, without data sets, take more than the limit parse-bytes (\(limit))")
                }
                if answer.count - start == capacity { capacity = min(capacity * 2, 1 << 22) }
            }
        }
        return answer
    }

    /// The bytes of one data set; `check` sees the head of the answer first.
    func answer(object: String, head: Int, byteCount: Int, check: ([UInt8]) throws -> Void) throws -> ByteBuffer {
        let buffer = ByteBuffer(count: byteCount)
        var filled = 0
        // Whatever follows the expected bytes, also a failure in the middle of them, is seen as surplus.
        var start: [UInt8] = []
        try run(object: object) { pipe in
            while start.count < head {
                let piece = try [UInt8](unsafeUninitializedCapacity: head - start.count) { target, count in
                    count = try pipe.read(into: UnsafeMutableRawBufferPointer(target))
                }
                if piece.isEmpty { break }
                start += piece
                // Anything else is a failure, which is as long as it is.
                if start.count > manifestSignature.count,
                    start[manifestSignature.count] != ManifestTag.bytes.rawValue
                {
                    start += try pipe.rest(limit: 1 << 20)
                    break
                }
            }
            try check(start)
            while filled < byteCount {
                let count = try pipe.read(
                    into: UnsafeMutableRawBufferPointer(rebasing: buffer.mutableBytes[filled...]))
                if count == 0 { break }
                filled += count
            }
            guard filled == byteCount, try pipe.rest(limit: 1 << 20).isEmpty else {
                throw HDF5Error.damaged(path: source.path, object: object, detail: "its elements cannot be decoded")
            }
        }
        return buffer
    }

    /// Starts the process, lets `body` read its answer, and waits for its end.
    private func run(object: String?, _ body: (AnswerPipe) throws -> Void) throws {
        let program = try HelperProgram.path()
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else { throw failure("no pipe: \(FileError.systemReason())") }
        defer { close(ends[0]) }
        enlargePipe(ends[1])
        let child: pid_t
        do {
            child = try spawn(program, object: object, answer: ends[1])
            close(ends[1])
        } catch {
            close(ends[1])
            throw error
        }
        let pipe = AnswerPipe(descriptor: ends[0], seconds: limits.helperSeconds)
        let outcome = Result { try body(pipe) }
        if case .failure = outcome { kill(child, SIGKILL) }
        let status = wait(for: child)
        if case .failure(let error) = outcome {
            if error is AnswerPipe.TimedOut {
                throw HDF5Error.timedOut(path: source.path, seconds: limits.helperSeconds)
            }
            // A process that died leaves half an answer; its death is the better explanation.
            try checkSignal(status, ignoring: SIGKILL)
            throw error
        }
        try checkSignal(status, ignoring: nil)
        let code = (status >> 8) & 0xFF
        guard code == 0 else { throw failure("the helper ended with status \(code)") }
    }

    private func checkSignal(_ status: Int32, ignoring ignored: Int32?) throws {
        let signal = status & 0x7F
        guard signal != 0, signal != ignored else { return }
        if signal == SIGXCPU || signal == SIGKILL {
            throw HDF5Error.timedOut(path: source.path, seconds: limits.helperSeconds)
        }
        throw HDF5Error.decoderCrashed(path: source.path, signal: signal)
    }

    private func wait(for child: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        return status
    }

    private func spawn(_ program: String, object: String?, answer: Int32) throws -> pid_t {
        // High copies, so that putting one in its place never overwrites the other.
        let input = fcntl(source.descriptor, F_DUPFD_CLOEXEC, 16)
        let output = fcntl(answer, F_DUPFD_CLOEXEC, 16)
        defer {
            close(input)
            close(output)
        }
        guard input >= 0, output >= 0 else { throw failure("no descriptor: \(FileError.systemReason())") }
        var actions = posix_spawn_file_actions_t()
        guard posix_spawn_file_actions_init(&actions) == 0 else { throw failure("no memory") }
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (descriptor, flags) in [(Int32(0), O_RDONLY), (1, O_WRONLY), (2, O_WRONLY)] {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", flags, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, input, DescriptorDriver.descriptor)
        posix_spawn_file_actions_adddup2(&actions, output, Decoder.answerDescriptor)
        posix_spawn_file_actions_addclosefrom_np(&actions, Decoder.answerDescriptor + 1)

        var arguments = [
            program, "\(limits.helperSeconds)", "\(limits.helperBytes)", "\(limits.nestingDepth)",
            "\(limits.objectCount)", "\(limits.textBytes)", "\(limits.decodedTensorBytes)", "\(limits.expansionRatio)",
        ]
        if let object { arguments.append(object) }
        // A handler that prints a trace after a crash was seen to hang.
        var environment = ["SWIFT_BACKTRACE=enable=no"]
        if let libraries = getenv("LD_LIBRARY_PATH") {
            environment.append("LD_LIBRARY_PATH=\(String(cString: libraries))")
        }
        var child: pid_t = 0
        let code = withCStrings(arguments) { arguments in
            withCStrings(environment) { environment in
                posix_spawn(&child, program, &actions, nil, arguments, environment)
            }
        }
        guard code == 0 else { throw failure("the helper \(program) does not start: \(FileError.systemReason(code))") }
        return child
    }

    private func withCStrings<R>(_ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
        let copies = texts.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        return body(copies + [nil])
    }

    /// Lets answers come in fewer, larger pieces; `F_SETPIPE_SZ` is 1031.
    ///
    /// Where it is not allowed the pipe stays small.
    private func enlargePipe(_ descriptor: Int32) { _ = fcntl(descriptor, 1031, 1 << 20) }

    private func failure(_ reason: String) -> HDF5Error { .helperFailed(path: source.path, reason: reason) }
}

/// The reading end of the pipe, with a deadline for everything that comes through it.
struct AnswerPipe {
    /// The deadline has passed.
    struct TimedOut: Error {}

    private let descriptor: Int32
    private let deadline: ContinuousClock.Instant

    init(descriptor: Int32, seconds: Int) {
        self.descriptor = descriptor
        deadline = .now + .seconds(seconds)
    }

    /// Reads some bytes; 0 at the end.
    func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            let left = ContinuousClock.now.duration(to: deadline)
            let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000
            guard milliseconds > 0 else { throw TimedOut() }
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waiting, 1, Int32(clamping: milliseconds))
            if ready == 0 || ready < 0 && errno == EINTR { continue }
            let count = Glibc.read(descriptor, target.baseAddress, target.count)
            if count < 0 && errno == EINTR { continue }
            return max(count, 0)
        }
    }

    /// Everything up to the end, at most `limit` bytes.
    func rest(limit: Int) throws -> [UInt8] {
        var rest: [UInt8] = []
        while rest.count < limit {
            let piece = try [UInt8](unsafeUninitializedCapacity: 1 << 16) { target, count in
                count = try read(into: UnsafeMutableRawBufferPointer(target))
            }
            if piece.isEmpty { break }
            rest += piece
        }
        return rest
    }
}

/// Finds the helper program.
enum HelperProgram {
    private static let name = "graft-hdf5-reader"

    /// The path: `GRAFT_HDF5_READER` where it is set, else beside the running program.
    ///
    /// Tests run from the folder in which the package is built, so the helper is beside them as well.
    static func path() throws(HDF5Error) -> String {
        if let named = getenv("GRAFT_HDF5_READER") {
            let path = String(cString: named)
            guard access(path, X_OK) == 0 else { throw .helperMissing(searched: [path]) }
            return path
        }
        guard let own = realpath("/proc/self/exe", nil) else { throw .helperMissing(searched: ["/proc/self/exe"]) }
        defer { free(own) }
        let folder = AtomicFile.folder(of: String(cString: own))
        let path = "\(folder)/\(name)"
        guard access(path, X_OK) == 0 else { throw .helperMissing(searched: [path]) }
        return path
    }
}

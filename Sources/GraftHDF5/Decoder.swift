import CHDF5
import Glibc
import GraftCore

/// The program of the helper process: reads the HDF5 file on descriptor 3 and answers on descriptor 4.
///
/// The process gives up everything but memory, computing and these two descriptors before the library sees the first
/// byte of the file. It leaves by `_exit`, so nothing is cleaned up by code that works on damaged state.
public enum Decoder {
    /// The descriptor that the answer goes to.
    static let answerDescriptor: Int32 = 4

    /// Does what the arguments say and ends the process.
    ///
    /// Arguments: seconds, bytes of memory, depth, objects, bytes of a text, bytes of a decoded tensor, expansion ratio,
    /// and for one data set its path.
    public static func main(_ arguments: [String]) -> Never {
        let numbers = arguments.dropFirst().prefix(7).compactMap { Int($0) }
        guard numbers.count == 7 else {
            let message = Array("graft-hdf5-reader is a part of graft and is not run by hand\n".utf8)
            _ = write(STDERR_FILENO, message, message.count)
            _exit(64)
        }
        var limits = Limits()
        limits.helperSeconds = numbers[0]
        limits.helperBytes = numbers[1]
        limits.nestingDepth = numbers[2]
        limits.objectCount = numbers[3]
        limits.textBytes = numbers[4]
        limits.decodedTensorBytes = numbers[5]
        limits.expansionRatio = numbers[6]

        let writer = ManifestWriter(descriptor: answerDescriptor)
        do {
            try enterSandbox(limits)
            guard Handle.startLibrary(), let access = DescriptorDriver.accessProperties() else {
                throw DecodingFailure(.damaged, object: "/", detail: "the HDF5 library does not start")
            }
            guard let file = Handle(H5Fopen("graft", graft_h5f_read_only(), access.id), close: H5Fclose) else {
                throw DecodingFailure(.damaged, object: "/", detail: "its first block cannot be read")
            }
            let walker = Walker(writer: writer, limits: limits)
            if arguments.count > 8 {
                try walker.decode(arguments[8], in: file)
            } else {
                try walker.walk(file)
            }
            writer.flush()
            _exit(0)
        } catch let failure as DecodingFailure {
            writer.failure(failure)
            writer.flush()
            _exit(0)
        } catch {
            _exit(70)
        }
    }

    private static func enterSandbox(_ limits: Limits) throws {
        let bounds: [(resource: __rlimit_resource, bound: Int)] = [
            (RLIMIT_CPU, limits.helperSeconds), (RLIMIT_AS, limits.helperBytes), (RLIMIT_CORE, 0), (RLIMIT_FSIZE, 0),
        ]
        for (resource, bound) in bounds {
            var limit = rlimit(rlim_cur: rlim_t(max(bound, 0)), rlim_max: rlim_t(max(bound, 0)))
            guard setrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0 else {
                throw sandboxFailure("setrlimit")
            }
        }
        guard graft_sandbox_enter() == 0 else { throw sandboxFailure("prctl") }
    }

    private static func sandboxFailure(_ call: String) -> DecodingFailure {
        DecodingFailure(.sandbox, object: "/", detail: "\(call): \(String(cString: strerror(errno)))")
    }
}

/// Why decoding stopped.
struct DecodingFailure: Error {
    let cause: ManifestFailure
    let refusal: HDF5Refusal?
    let object: String
    let detail: String

    init(_ cause: ManifestFailure, object: String, detail: String) {
        self.cause = cause
        refusal = nil
        self.object = object
        self.detail = detail
    }

    init(_ refusal: HDF5Refusal, object: String) {
        cause = .refused
        self.refusal = refusal
        self.object = object
        detail = ""
    }
}

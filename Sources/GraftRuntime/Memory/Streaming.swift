import CNumerics
import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// Writing past the caches, for results that no cache holds until they are read: an ordinary store first reads the line
/// that it writes to.
enum Streaming {
    /// From so many bytes on little of a result and of what it was made of is left in the last cache.
    ///
    /// What a processor says of its last cache may be the sum of several, of which a thread has one: no more than 32 MB
    /// are counted on.
    private static let threshold: Int = {
        let bytes = sysconf(Int32(_SC_LEVEL3_CACHE_SIZE))
        return (bytes > 0 ? min(bytes, 32 << 20) : 32 << 20) / 4 * 3
    }()

    /// The numbers that are computed into a cache before they are written.
    static let block = 2048

    /// Whether a result of so many bytes is better written past the caches.
    static func isWorthwhile(_ bytes: Int) -> Bool { bytes >= threshold }

    /// Orders what the calling thread wrote past the caches before what it does later; each thread calls it at the end.
    @inline(__always)
    static func finish(_ streams: Bool) { if streams { cmovement_finish_streams() } }

    /// Copies bytes, past the caches or not.
    @inline(__always)
    static func copy(
        _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, bytes: Int, streams: Bool
    ) {
        if streams {
            cmovement_stream(source, target, bytes)
        } else {
            target.copyMemory(from: source, byteCount: bytes)
        }
    }

    /// Calls `body` with parts of `0..<count`, in parallel, and where the results of each part are to be written; they
    /// reach `target` past the caches where that is better.
    ///
    /// - Parameters:
    ///   - unit: how many results belong together: parts begin at multiples of it.
    ///   - isInPlace: whether an operand lies where the result does, so that its lines are read anyway.
    @inline(__always)
    static func forEachRange<T: BitwiseCopyable>(
        _ count: Int, into target: UnsafeMutablePointer<T>, isInPlace: Bool, unit: Int = 1, grain: Int = 8192,
        _ body: (Range<Int>, UnsafeMutablePointer<T>) -> Void
    ) {
        let (units, width) = (count / unit, MemoryLayout<T>.stride)
        let unitGrain = max(1, grain / unit)
        guard !isInPlace, isWorthwhile(count * width), unit * 2 <= block else {
            Parallel.forEachRange(units, grain: unitGrain) { range in
                let first = range.lowerBound * unit
                body(first..<(range.upperBound * unit), target + first)
            }
            return
        }
        let step = block / unit * unit
        Parallel.forEachRange(units, grain: unitGrain) { range in
            withUnsafeTemporaryAllocation(of: T.self, capacity: step) { buffer in
                guard let scratch = buffer.baseAddress else { return }
                let last = range.upperBound * unit
                var first = range.lowerBound * unit
                while first < last {
                    let end = min(last, first + step)
                    body(first..<end, scratch)
                    cmovement_stream(scratch, target + first, (end - first) * width)
                    first = end
                }
                cmovement_finish_streams()
            }
        }
    }
}

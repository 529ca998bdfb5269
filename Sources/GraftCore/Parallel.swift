import CGOMP

/// Parallel loops on libgomp's threads, the ones that oneDNN uses, so that nothing is ever oversubscribed.
public enum Parallel {
    /// The number of threads that a parallel loop uses.
    public static var threads: Int { Int(omp_get_max_threads()) }

    /// Sets the number of threads for all later loops and for oneDNN.
    public static func setThreads(_ count: Int) { omp_set_num_threads(Int32(max(1, count))) }

    /// Calls `body` with consecutive ranges that together cover `0..<count`, in parallel.
    ///
    /// The ranges depend on `count`, `grain` and the number of threads only, so a reduction that combines one
    /// result per range in order is reproducible. Loops inside a loop run on the calling thread.
    /// - Parameter grain: the least number of iterations that are worth a thread.
    @inline(never)
    public static func forEachRange(_ count: Int, grain: Int = 1, _ body: (Range<Int>) -> Void) {
        guard count > 0 else { return }
        let wanted = min(threads, (count + grain - 1) / max(grain, 1))
        if wanted <= 1 || omp_in_parallel() != 0 {
            body(0..<count)
            return
        }
        // The closure outlives GOMP_parallel, which returns only after every thread has finished its part.
        withoutActuallyEscaping(body) { body in
            var region = Region(count: count, body: body)
            withUnsafeMutablePointer(to: &region) { pointer in
                GOMP_parallel(
                    { raw in
                        let region = raw!.assumingMemoryBound(to: Region.self)
                        let part = Int(omp_get_thread_num())
                        let parts = Int(omp_get_num_threads())
                        let count = region.pointee.count
                        let range = (count * part / parts)..<(count * (part + 1) / parts)
                        if !range.isEmpty { region.pointee.body(range) }
                    }, pointer, UInt32(wanted), 0)
            }
        }
    }

    private struct Region {
        let count: Int
        let body: (Range<Int>) -> Void
    }
}

import GraftCore
import GraftData
import GraftTestSupport
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Figures for Benchmarks/images.py; run only where GRAFT_BENCHMARK is set.
@Suite(.enabled(if: getenv("GRAFT_BENCHMARK") != nil), .serialized) struct ImageSpeedTests {
    /// The processor time of this process.
    private static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    @Test(arguments: ["models/datasets/sign_language_digits/Dataset", "models/datasets/ort_animals4/images"])
    func picturesASecond(folder: String) throws {
        guard let path = Fixtures.shared(folder) else { return Fixtures.sharedIsMissing(for: "picturesASecond") }
        let contract = try PreprocessingPreset.named("torchvision").preprocessing(height: 224, width: 224)
        let clock = ContinuousClock()
        for threads in [1, 2] {
            Parallel.setThreads(threads)
            var best = 0.0
            var least = Double.infinity
            var count = 0
            var checksum = 0.0
            for _ in 0..<3 {
                let set = try ImageFolder.open(path: path, cacheBytes: 0)
                let loader = try BatchLoader(
                    set, batchSize: 32, view: SampleView(preprocessing: contract), shuffles: false, workers: 0)
                count = set.count
                checksum = 0
                let start = Self.processorSeconds()
                let duration = try clock.measure {
                    let batches = loader.batches(epoch: 0)
                    while let batch = try batches.next() {
                        checksum += Double(try batch.inputs[0].withBytes { $0.load(as: Float.self) })
                    }
                }
                best = max(best, Double(count) / (duration / .seconds(1)))
                least = min(least, (Self.processorSeconds() - start) / Double(count))
            }
            let milliseconds = (least * 100_000).rounded() / 100
            print("Graft \(folder) threads \(threads): \(Int(best)) pictures/s, \(milliseconds) ms of processor each")
            #expect(checksum.isFinite)
        }
    }
}

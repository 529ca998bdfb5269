import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// Samples that go through a model together.
public struct Batch: Sendable {
    /// The inputs in the data set's order; the first dimension is the sample.
    public let inputs: [Tensor]
    /// The labels.
    public let labels: [Int]
    /// The samples' numbers in the data set.
    public let indices: [Int]
}

/// Makes batches of a data set's samples, epoch by epoch.
///
/// The order is a pure function of (seed, epoch) and every sample one of (seed, epoch, sample), so that a run which is
/// resumed at any batch sees what it would have seen. Where there are processors besides the ones that compute,
/// batches are made ahead by background threads; otherwise between steps, on the threads of the parallel loops. Either
/// way no more threads run than there are processors, and at most `ahead` batches wait.
public struct BatchLoader: Sendable {
    /// The data set.
    public let dataSet: any DataSet
    /// The samples that take part.
    public let indices: [Int]
    /// The number of samples in a batch; the last one may be smaller.
    public let batchSize: Int
    /// How samples are seen; the epoch is set for each epoch.
    public let view: SampleView
    /// Whether the order changes with each epoch.
    public let shuffles: Bool
    /// Whether a last batch of fewer samples is left out.
    public let dropsLast: Bool
    /// The number of background threads; 0 makes batches when they are asked for.
    public let workers: Int
    /// The most batches that are made ahead.
    public let ahead: Int

    /// A loader.
    ///
    /// - Parameters:
    ///   - indices: the samples that take part; all where nil.
    ///   - workers: the number of background threads, at most 2; nil takes processors that the parallel loops leave.
    /// - Throws: ``DataSetError/badSplit(reason:)`` where there is nothing to load.
    public init(
        _ dataSet: any DataSet, indices: [Int]? = nil, batchSize: Int, view: SampleView, shuffles: Bool,
        dropsLast: Bool = false, workers: Int? = nil, ahead: Int = 3
    ) throws(DataSetError) {
        let indices = indices ?? Array(0..<dataSet.count)
        guard batchSize > 0 else { throw .badSplit(reason: "a batch needs at least one sample, not \(batchSize)") }
        guard !indices.isEmpty else { throw .badSplit(reason: "there are no samples to load") }
        guard !dropsLast || indices.count >= batchSize else {
            throw .badSplit(reason: "\(indices.count) samples do not fill one batch of \(batchSize)")
        }
        guard indices.allSatisfy({ (0..<dataSet.count).contains($0) }) else {
            throw .badSplit(reason: "a sample number is not in 0..<\(dataSet.count)")
        }
        self.dataSet = dataSet
        self.indices = indices
        self.batchSize = batchSize
        self.view = view
        self.shuffles = shuffles
        self.dropsLast = dropsLast
        self.ahead = max(1, ahead)
        let idle = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))) - Parallel.threads
        self.workers = min(2, max(0, workers ?? idle))
    }

    /// The number of batches of an epoch.
    public var batchCount: Int {
        dropsLast ? indices.count / batchSize : (indices.count + batchSize - 1) / batchSize
    }

    /// The samples of an epoch in order.
    public func order(epoch: Int) -> [Int] {
        guard shuffles else { return indices }
        var random = CounterRandom(seed: view.seed, CounterRandom.word("order"), UInt64(epoch))
        return random.permutation(indices.count).map { indices[$0] }
    }

    /// The batches of an epoch, from the one with number `first` on.
    public func batches(epoch: Int, from first: Int = 0) -> BatchSequence {
        BatchSequence(self, epoch: epoch, first: first)
    }

    /// One batch, made on the calling thread and, where `parallel`, the threads of the parallel loops.
    func batch(_ number: Int, order: [Int], epoch: Int, parallel: Bool) throws -> Batch {
        let samples = Array(order[(number * batchSize)..<min((number + 1) * batchSize, order.count)])
        var view = view
        view.epoch = epoch
        let description = dataSet.inputs(as: view)
        let buffers = description.map { ByteBuffer(count: $0.byteCount * samples.count) }
        let (dataSet, seen) = (dataSet, view)
        @Sendable func load(_ position: Int) throws {
            let targets = zip(description, buffers).map { input, buffer in
                UnsafeMutableRawBufferPointer(
                    rebasing: buffer.mutableBytes[(position * input.byteCount)..<((position + 1) * input.byteCount)])
            }
            try dataSet.load(samples[position], as: seen, into: targets)
        }
        if parallel {
            var failures = [(any Error)?](repeating: nil, count: samples.count)
            failures.withUnsafeMutableBufferPointer { failures in
                nonisolated(unsafe) let failures = failures
                Parallel.forEachRange(samples.count) { range in
                    for position in range {
                        do { try load(position) } catch { failures[position] = error }
                    }
                }
            }
            if let failure = failures.compactMap(\.self).first { throw failure }
        } else {
            for position in samples.indices { try load(position) }
        }
        let inputs = try zip(description, buffers).map {
            try Tensor($0.elementType, shape: [samples.count] + $0.shape, storage: .owned($1))
        }
        return Batch(inputs: inputs, labels: samples.map(dataSet.label(at:)), indices: samples)
    }
}

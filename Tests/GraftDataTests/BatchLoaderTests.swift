import GraftCore
import GraftData
import GraftTestSupport
import Testing

@Suite struct BatchLoaderTests {
    /// Each sample is its own number, the epoch and a random number; one sample may fail.
    private struct Numbers: DataSet {
        struct Failure: Error, Equatable {}
        var count: Int
        var failing: Int?
        var classNames: [String] { ["even", "odd"] }
        func label(at index: Int) -> Int { index % 2 }
        func name(at index: Int) -> String { "\(index)" }
        func inputs(as view: SampleView) -> [SampleInput] { [SampleInput(elementType: .float32, shape: [3])] }
        func load(_ index: Int, as view: SampleView, into targets: [UnsafeMutableRawBufferPointer]) throws {
            if index == failing { throw Failure() }
            var random = CounterRandom(seed: view.seed, UInt64(view.epoch), UInt64(index))
            let values = targets[0].bindMemory(to: Float.self)
            (values[0], values[1], values[2]) = (Float(index), Float(view.epoch), random.uniform())
        }
        func contentHash(at index: Int) throws -> ContentHash { withUnsafeBytes(of: index) { ContentHash($0) } }
    }

    private func all(_ loader: BatchLoader, epoch: Int, from first: Int = 0) throws -> [[Float]] {
        let batches = loader.batches(epoch: epoch, from: first)
        var result: [[Float]] = []
        while let batch = try batches.next() {
            let values: [Float] = try batch.inputs[0].elements()
            #expect(batch.inputs[0].shape == [batch.indices.count, 3])
            #expect(stride(from: 0, to: values.count, by: 3).map { Int(values[$0]) } == batch.indices)
            #expect(batch.labels == batch.indices.map { $0 % 2 })
            result.append(values)
        }
        #expect(try batches.next() == nil)
        return result
    }

    @Test func anyNumberOfThreadsGivesTheSameBatches() throws {
        let view = SampleView(seed: 11)
        var results: [[[Float]]] = []
        for workers in 0...2 {
            let loader = try BatchLoader(
                Numbers(count: 103), batchSize: 8, view: view, shuffles: true, workers: workers, ahead: 2)
            #expect(loader.batchCount == 13)
            results.append(try all(loader, epoch: 4))
        }
        #expect(results[0] == results[1] && results[1] == results[2])
        #expect(results[0].map(\.count) == [Int](repeating: 24, count: 12) + [21])
    }

    @Test func theOrderIsAFunctionOfSeedAndEpoch() throws {
        func loader(seed: UInt64, shuffles: Bool = true) throws -> BatchLoader {
            try BatchLoader(
                Numbers(count: 50), indices: Array(10..<40), batchSize: 7, view: SampleView(seed: seed),
                shuffles: shuffles)
        }
        let first = try loader(seed: 1)
        #expect(first.order(epoch: 0).sorted() == Array(10..<40))
        #expect(first.order(epoch: 0) != first.order(epoch: 1))
        #expect(try first.order(epoch: 1) == loader(seed: 1).order(epoch: 1))
        #expect(try first.order(epoch: 1) != loader(seed: 2).order(epoch: 1))
        #expect(try loader(seed: 1, shuffles: false).order(epoch: 3) == Array(10..<40))
    }

    @Test func aResumedEpochGoesOnWhereItStopped() throws {
        let loader = try BatchLoader(
            Numbers(count: 30), batchSize: 4, view: SampleView(seed: 2), shuffles: true, workers: 1)
        let whole = try all(loader, epoch: 3)
        for first in 0...8 { #expect(try all(loader, epoch: 3, from: first) == Array(whole.dropFirst(first))) }
    }

    @Test(arguments: [0, 1, 2]) func aSampleThatFailsFailsItsBatch(workers: Int) throws {
        let loader = try BatchLoader(
            Numbers(count: 20, failing: 9), batchSize: 4, view: SampleView(), shuffles: false, workers: workers)
        let batches = loader.batches(epoch: 0)
        #expect(try batches.next()?.indices == [0, 1, 2, 3])
        #expect(try batches.next()?.indices == [4, 5, 6, 7])
        #expect(throws: Numbers.Failure()) { try batches.next() }
    }

    @Test func anEpochCanBeLeftAtAnyTime() throws {
        let loader = try BatchLoader(
            Numbers(count: 1000), batchSize: 2, view: SampleView(), shuffles: true, workers: 2)
        for taken in 0..<20 {
            let batches = loader.batches(epoch: taken)
            for _ in 0..<taken { _ = try batches.next() }
        }
    }

    @Test func aLastSmallBatchCanBeLeftOut() throws {
        let loader = try BatchLoader(
            Numbers(count: 10), batchSize: 4, view: SampleView(), shuffles: false, dropsLast: true)
        #expect(try all(loader, epoch: 0).count == 2 && loader.batchCount == 2)
        #expect(throws: DataSetError.self) {
            try BatchLoader(Numbers(count: 3), batchSize: 4, view: SampleView(), shuffles: false, dropsLast: true)
        }
        #expect(throws: DataSetError.self) {
            try BatchLoader(Numbers(count: 3), indices: [], batchSize: 4, view: SampleView(), shuffles: false)
        }
        #expect(throws: DataSetError.self) {
            try BatchLoader(Numbers(count: 3), indices: [3], batchSize: 4, view: SampleView(), shuffles: false)
        }
    }

    @Test func augmentedPicturesDependOnEpochAndSampleOnly() throws {
        let set = try ImageFolder.open(path: Fixtures.path("digits/new-train"))
        let contract = try Preprocessing(height: 8, width: 8, scale: 1 / 255, channels: .gray)
        let pipeline = try AugmentationPipeline(json: ["shift", "rotate", "colour", "erase"])
        let view = SampleView(preprocessing: contract, augmentation: pipeline, seed: 6)
        func values(_ batchSize: Int, workers: Int, epoch: Int) throws -> [Int: [Float]] {
            let loader = try BatchLoader(set, batchSize: batchSize, view: view, shuffles: true, workers: workers)
            let batches = loader.batches(epoch: epoch)
            var result: [Int: [Float]] = [:]
            while let batch = try batches.next() {
                let all: [Float] = try batch.inputs[0].elements()
                for (position, index) in batch.indices.enumerated() {
                    result[index] = Array(all[(position * 64)..<(position * 64 + 64)])
                }
            }
            return result
        }
        let first = try values(16, workers: 0, epoch: 1)
        #expect(first.count == set.count)
        #expect(try first == values(5, workers: 2, epoch: 1))
        #expect(try first != values(16, workers: 0, epoch: 2))
    }
}

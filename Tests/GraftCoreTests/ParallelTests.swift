import GraftCore
import Testing

@Suite struct ParallelTests {
    @Test(arguments: [0, 1, 7, 1000, 100_003])
    func everyIndexIsVisitedOnce(_ count: Int) {
        let visits = ByteBuffer(count: count, zeroed: true)
        Parallel.forEachRange(count, grain: 10) { range in
            for index in range { visits.mutableBytes[index] += 1 }
        }
        #expect(visits.bytes.allSatisfy { $0 == 1 })
    }

    @Test func aLoopInsideALoopRuns() {
        let sums = ByteBuffer(count: 64, zeroed: true)
        Parallel.forEachRange(64) { outer in
            for index in outer {
                Parallel.forEachRange(3) { inner in sums.mutableBytes[index] += UInt8(inner.count) }
            }
        }
        #expect(sums.bytes.allSatisfy { $0 == 3 })
    }

    @Test func nearMissesAreSuggested() {
        #expect(Suggestion.nearest("epoch", in: ["epochs", "rate", "steps"]) == ["epochs"])
        #expect(Suggestion.nearest("zzz", in: ["epochs", "rate"]).isEmpty)
    }
}

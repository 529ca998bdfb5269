import GraftCore
import Testing

@Suite struct CounterRandomTests {
    typealias Block = (UInt32, UInt32, UInt32, UInt32)

    /// Known answers of Philox 4x32-10 from the Random123 library's `kat_vectors`.
    @Test func philoxGivesThePublishedAnswers() {
        let cases: [(counter: Block, key: (UInt32, UInt32), answer: Block)] = [
            ((0, 0, 0, 0), (0, 0), (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)),
            (
                (0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff), (0xffff_ffff, 0xffff_ffff),
                (0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)
            ),
            (
                (0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), (0xa409_3822, 0x299f_31d0),
                (0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1)
            ),
        ]
        for entry in cases {
            #expect(CounterRandom.philox(counter: entry.counter, key: entry.key) == entry.answer)
        }
    }

    @Test func theSameWordsGiveTheSameNumbersAndOthersDoNot() {
        func draws(_ generator: CounterRandom) -> [UInt64] {
            var generator = generator
            return (0..<16).map { _ in generator.next() }
        }
        #expect(draws(CounterRandom(seed: 7, 1, 2)) == draws(CounterRandom(seed: 7, 1, 2)))
        #expect(draws(CounterRandom(seed: 7, 1, 2)) != draws(CounterRandom(seed: 7, 2, 1)))
        #expect(draws(CounterRandom(seed: 7, 1)) != draws(CounterRandom(seed: 8, 1)))
    }

    @Test func gaussianNumbersHaveMeanZeroAndDeviationOne() {
        var generator = CounterRandom(seed: 1)
        let draws = (0..<20_000).map { _ in Double(generator.gaussian()) }
        let mean = draws.reduce(0, +) / Double(draws.count)
        let variance = draws.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(draws.count)
        #expect(abs(mean) < 0.03)
        #expect(abs(variance - 1) < 0.05)
    }

    @Test func aPermutationHoldsEveryIndexOnce() {
        var generator = CounterRandom(seed: 3)
        for count in [0, 1, 2, 17, 100] {
            #expect(generator.permutation(count).sorted() == Array(0..<count))
        }
    }
}

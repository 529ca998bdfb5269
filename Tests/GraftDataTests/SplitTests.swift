import GraftCore
import GraftData
import Testing

@Suite struct SplitTests {
    @Test func everyClassIsDividedAndNothingIsLost() throws {
        for trial in 0..<200 as Range<UInt64> {
            var random = CounterRandom(seed: trial)
            let labels = (0..<random.below(120)).map { _ in random.below(7) }
            let fraction = Double(random.uniform()) * 0.99
            let split = try Split.stratified(labels: labels, validation: fraction, seed: trial)
            #expect((split.training + split.validation).sorted() == Array(labels.indices))
            #expect(split.training == split.training.sorted() && split.validation == split.validation.sorted())
            #expect(try split == Split.stratified(labels: labels, validation: fraction, seed: trial))
            for label in Set(labels) {
                let count = labels.count { $0 == label }
                let held = split.validation.count { labels[$0] == label }
                if count == 1 { #expect(held == 0) } else if fraction > 0 { #expect(held >= 1 && held < count) }
                #expect(abs(Double(held) - fraction * Double(count)) <= 1)
            }
        }
    }

    @Test func theSeedDecidesAndOtherClassesDoNot() throws {
        let labels = (0..<200).map { $0 % 4 }
        let first = try Split.stratified(labels: labels, validation: 0.2, seed: 1)
        #expect(try first != Split.stratified(labels: labels, validation: 0.2, seed: 2))
        let more = labels + [Int](repeating: 9, count: 50)
        let wider = try Split.stratified(labels: more, validation: 0.2, seed: 1)
        #expect(wider.validation.filter { $0 < 200 } == first.validation)
        #expect(first.validation.count == 40)
    }

    @Test func sharesOutOfRangeAreRefused() {
        #expect(throws: DataSetError.self) { try Split.stratified(labels: [0, 1], validation: 1, seed: 0) }
        #expect(throws: DataSetError.self) { try Split.stratified(labels: [0, 1], validation: -0.1, seed: 0) }
        #expect(throws: DataSetError.self) { try Split.stratified(labels: [0, 1], validation: .nan, seed: 0) }
        #expect(throws: DataSetError.self) { try Split.shots(0, labels: [0, 1], seed: 0) }
    }

    @Test func moreShotsContainFewer() throws {
        let labels = (0..<100).map { $0 % 3 }
        var previous: Set<Int> = []
        for count in 1...40 {
            let shots = try Split.shots(count, labels: labels, seed: 4)
            for label in 0..<3 { #expect(shots.count { labels[$0] == label } == min(count, label == 0 ? 34 : 33)) }
            #expect(previous.isSubset(of: shots))
            previous = Set(shots)
        }
        let some = try Split.shots(2, labels: labels, of: [0, 1, 2, 3, 4], seed: 4)
        #expect(some == [0, 1, 2, 3, 4])
    }
}

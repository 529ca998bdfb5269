import GraftTraining
import Testing

@Suite struct EarlyStoppingTests {
    @Test func improvesOnlyStrictly() {
        var watch = EarlyStopping(StopSettings(patience: 2), lowerIsBetter: true)
        #expect(watch.observe(1) == .improved)
        #expect(watch.observe(1) == .waiting(1))
        #expect(watch.observe(0.9) == .improved)
        #expect(watch.observe(0.95) == .waiting(1))
        #expect(watch.observe(0.9) == .stop)
        #expect(watch.best == 0.9)
    }

    @Test func deltaMustBeExceeded() {
        var watch = EarlyStopping(StopSettings(patience: 3, delta: 0.125), lowerIsBetter: false)
        #expect(watch.observe(0.5) == .improved)
        #expect(watch.observe(0.625) == .waiting(1))
        #expect(watch.observe(0.75) == .improved)
    }

    @Test func notANumberNeverImproves() {
        var watch = EarlyStopping(StopSettings(patience: 1), lowerIsBetter: true)
        #expect(watch.observe(.nan) == .stop)
        #expect(watch.best == nil)
    }

    @Test func withoutPatienceItNeverStops() {
        var watch = EarlyStopping(nil, lowerIsBetter: true)
        #expect(watch.observe(1) == .improved)
        for count in 1...50 { #expect(watch.observe(2) == .waiting(count)) }
    }
}

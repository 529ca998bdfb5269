import GraftTraining
import Testing

@Suite struct ScheduleTests {
    /// The rate at a step of a stage of 100 steps with the rate 1e-3.
    private func rate(_ settings: ScheduleSettings, _ step: Int, of steps: Int = 100, epoch: Int = 10) throws -> Double
    {
        1e-3 * (try StageClock(settings, steps: steps, stepsPerEpoch: epoch)).factor(at: step)
    }

    /// Figures of `torch.optim.lr_scheduler.OneCycleLR(max_lr=1e-3, total_steps=100)`.
    @Test(arguments: [(0, 4e-5), (15, 5.45986676e-4), (29, 1e-3), (64, 5.00002e-4), (99, 4e-9)])
    func oneCycleIsThatOfPyTorch(step: Int, expected: Double) throws {
        let value = try rate(ScheduleSettings(NamedChoice("one-cycle")), step)
        #expect(abs(value - expected) <= 1e-8 * 1e-3 + 1e-9 * expected + 5e-10, "\(value)")
    }

    /// The rates that `fixtures/training/make.py` gives to PyTorch: 4 steps of warm-up, 20 in all.
    @Test func warmupThenCosine() throws {
        let settings = ScheduleSettings(NamedChoice("cosine"), warmup: .steps(4))
        let values = try (0..<20).map { try rate(settings, $0, of: 20) }
        #expect(values[0] == 2.5e-4 && values[3] == 1e-3 && values[4] == 1e-3)
        #expect(abs(values[12] - 5e-4) < 1e-12)
        #expect(abs(values[19] - 1e-3 * 0.009607359798384785) < 1e-12)
    }

    @Test func fractionOfWarmupCountsSteps() throws {
        let clock = try StageClock(
            ScheduleSettings(NamedChoice("constant"), warmup: .fraction(0.1)), steps: 40, stepsPerEpoch: 10)
        #expect(clock.warmup == 4)
        #expect((0..<6).map { clock.factor(at: $0) } == [0.25, 0.5, 0.75, 1, 1, 1])
    }

    @Test func linearFallsToItsMinimum() throws {
        let settings = ScheduleSettings(NamedChoice("linear", ["minimum": 0.2]))
        #expect(try rate(settings, 0) == 1e-3)
        #expect(abs(try rate(settings, 50) - 6e-4) < 1e-15)
        #expect(abs(try rate(settings, 100) - 2e-4) < 1e-15)
    }

    @Test func stepsDropEveryFewEpochs() throws {
        let settings = ScheduleSettings(NamedChoice("step", ["every": 2, "factor": 0.5]))
        #expect(try [0, 19, 20, 39, 40].map { try rate(settings, $0) } == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4])
    }

    @Test func aStageOfOneStepHasARate() throws {
        for type in Schedules.all {
            let clock = try StageClock(ScheduleSettings(NamedChoice(type.name)), steps: 1, stepsPerEpoch: 1)
            #expect(clock.factor(at: 0) > 0 && clock.factor(at: 0) <= 1, "\(type.name)")
        }
    }

    @Test func unknownScheduleIsRefused() {
        #expect(throws: RecipeError.self) {
            try StageClock(ScheduleSettings(NamedChoice("cosin")), steps: 1, stepsPerEpoch: 1)
        }
    }
}

/// The learning-rate factor of every step of one stage: warm-up, then the schedule.
///
/// The warm-up is linear: over W steps the factor of step s is (s + 1)/W, so that no step is taken at rate 0; the
/// schedule's own clock starts after it.
public struct StageClock: Sendable {
    /// The number of optimizer steps of the stage.
    public let steps: Int
    /// The number of warm-up steps.
    public let warmup: Int
    private let stepsPerEpoch: Int
    private let schedule: any Schedule

    /// The clock of a stage.
    ///
    /// - Throws: ``RecipeError/unknownName(_:name:known:)`` for a schedule that does not exist.
    public init(_ settings: ScheduleSettings, steps: Int, stepsPerEpoch: Int) throws(RecipeError) {
        guard let type = Schedules.named(settings.choice.name) else {
            throw .unknownName(
                RecipePlace("schedule"), name: settings.choice.name, known: Schedules.all.map { $0.name })
        }
        self.steps = max(steps, 1)
        self.stepsPerEpoch = stepsPerEpoch
        schedule = type.init(settings.choice.complete(type.options).values)
        let wanted =
            switch settings.warmup {
            case .none: 0
            case .steps(let count): count
            case .fraction(let part): Int((part * Double(steps)).rounded())
            }
        warmup = type.ownsWarmup ? 0 : min(wanted, self.steps)
    }

    /// The factor on the rates of all groups at a step, counted from 0 at the stage's start.
    public func factor(at step: Int) -> Double {
        if step < warmup { return Double(step + 1) / Double(warmup) }
        let total = max(steps - warmup, 1)
        return schedule.factor(step: min(step - warmup, total), of: total, stepsPerEpoch: stepsPerEpoch)
    }
}

import OrderedCollections

/// What a run tells while it runs.
public enum TrainingEvent: Sendable {
    /// A stage begins: its number from 0, how many there are, its name, what learns, the steps it may take.
    case stage(index: Int, of: Int, name: String, trainable: Int, steps: Int)
    /// Features of the frozen part are being computed: how many samples are done.
    case features(done: Int, of: Int)
    /// An optimizer step was taken.
    case step(StepProgress)
    /// A validation was made.
    case validation(ValidationRecord)
    /// A stage has ended: the step whose weights are kept, and whether it ended early.
    case stageEnd(name: String, keptStep: Int, endedEarly: Bool)
    /// A checkpoint was saved.
    case checkpoint(step: Int)
    /// Something that a reader should know.
    case remark(String)
}

/// Where a run stands after a step.
public struct StepProgress: Sendable {
    /// What happened.
    public var record: StepRecord
    /// The steps that were taken in the stage.
    public var stepInStage: Int
    /// The steps that the stage may take.
    public var stepsInStage: Int
    /// The samples used a second, over the last steps.
    public var samplesPerSecond: Double
    /// The seconds that the run will take from here, at the present speed and without early stops.
    public var secondsLeft: Double
}

/// How fast a run goes: an average that follows changes.
struct Pace {
    private var last: ContinuousClock.Instant?
    private(set) var secondsPerStep = 0.0

    /// Notes that a step has ended.
    mutating func tick() {
        let now = ContinuousClock.now
        if let last {
            let parts = (now - last).components
            let seconds = Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
            secondsPerStep = secondsPerStep == 0 ? seconds : 0.95 * secondsPerStep + 0.05 * seconds
        }
        last = now
    }

    /// Leaves out the time until the next step, which is spent on something else.
    mutating func pause() { last = nil }
}

/// How the learning rate of a stage changes from step to step.
///
/// A schedule is a pure function of the step and the number of steps of its stage, so a resumed run needs no clock but
/// the step. A schedule is added by a file with a type and a line in ``Schedules``.
public protocol Schedule: Sendable {
    /// The name in recipes.
    static var name: String { get }
    /// The settings.
    static var options: [NamedOption] { get }
    /// Whether the schedule rises by itself, so that a warm-up before it makes no sense.
    static var ownsWarmup: Bool { get }
    /// What it does, in a few words.
    static var remark: String { get }

    /// The schedule with its settings, by name; all are present and within their ranges.
    init(_ values: [String: Double])

    /// The factor on the stage's rate.
    ///
    /// - Parameters:
    ///   - step: the step, counted from 0 after the warm-up.
    ///   - total: the number of steps after the warm-up, at least 1.
    ///   - stepsPerEpoch: the number of steps in one pass over the data.
    func factor(step: Int, of total: Int, stepsPerEpoch: Int) -> Double
}

extension Schedule {
    /// Whether the schedule rises by itself; not unless it says so.
    public static var ownsWarmup: Bool { false }
}

/// All schedules.
public enum Schedules {
    /// The schedules; a new file of one adds its line here.
    public static let all: [any Schedule.Type] = [
        ConstantSchedule.self, CosineSchedule.self, LinearSchedule.self, OneCycleSchedule.self, StepSchedule.self,
    ]

    /// The schedule of that name.
    public static func named(_ name: String) -> (any Schedule.Type)? { all.first { $0.name == name } }
}

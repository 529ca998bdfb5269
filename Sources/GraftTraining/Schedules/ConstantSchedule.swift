/// The same rate at every step.
public struct ConstantSchedule: Schedule {
    public static let name = "constant"
    public static let options: [NamedOption] = []
    public static let remark = "the same rate at every step"

    public init(_ values: [String: Double]) {}

    public func factor(step: Int, of total: Int, stepsPerEpoch: Int) -> Double { 1 }
}

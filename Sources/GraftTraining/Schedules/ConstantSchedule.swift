/// The same rate at every step.
package struct ConstantSchedule: Schedule {
    package static let name = "constant"
    package static let options: [NamedOption] = []
    package static let remark = "the same rate at every step"

    package init(_ values: [String: Double]) {}

    package func factor(step: Int, of total: Int, stepsPerEpoch: Int) -> Double { 1 }
}

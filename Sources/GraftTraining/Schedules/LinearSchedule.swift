/// A straight line from the stage's rate down to a fraction of it.
///
/// At step s of T: m + (1 − m)·(T − s)/T.
package struct LinearSchedule: Schedule {
    package static let name = "linear"
    package static let options: [NamedOption] = [
        .number("minimum", 0, in: 0...1, "the fraction of the rate that is reached at the end")
    ]
    package static let remark = "a straight line down to the minimum"

    private let minimum: Double

    package init(_ values: [String: Double]) { minimum = values["minimum"] ?? 0 }

    package func factor(step: Int, of total: Int, stepsPerEpoch: Int) -> Double {
        minimum + (1 - minimum) * Double(total - step) / Double(total)
    }
}

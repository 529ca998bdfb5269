#if canImport(Glibc)
import Glibc
#endif

/// Half a cosine from the stage's rate down to a fraction of it.
///
/// At step s of T: m + (1 − m)·½(1 + cos(π·s/T)), as in the `transformers` library with half a cycle.
package struct CosineSchedule: Schedule {
    package static let name = "cosine"
    package static let options: [NamedOption] = [
        .number("minimum", 0, in: 0...1, "the fraction of the rate that is reached at the end")
    ]
    package static let remark = "half a cosine down to the minimum"

    private let minimum: Double

    package init(_ values: [String: Double]) { minimum = values["minimum"] ?? 0 }

    package func factor(step: Int, of total: Int, stepsPerEpoch: Int) -> Double {
        minimum + (1 - minimum) * 0.5 * (1 + cos(Double.pi * Double(step) / Double(total)))
    }
}
